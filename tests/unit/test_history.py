"""What is found, and in which order, depends on what a memory holds, not on how it came there."""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.memory.check import check
from memkit.rag.search import DEPTH
from memkit.routing.nearest import NearestRouter
from memkit.routing.term_weights import Vocabularies
from memkit.types import Draft, Query

ANN = {"user": "ann"}
WORDS = ("badge", "number", "gate", "Nora", "Emil", "tea", "harbour", "keys", "4471", "绿茶", "чай")
QUERIES = ("badge number of Nora", "Who has the keys to the harbour gate?", "绿茶 4471", "tea чай")

indexes = st.integers(0, 20)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)
scopes = st.sampled_from([{}, ANN])
metadata = st.fixed_dictionaries({"n": st.integers(0, 3)})
steps = st.one_of(
    st.tuples(st.just("add"), texts, scopes, metadata),
    st.tuples(st.just("fact"), st.sampled_from(WORDS), st.sampled_from(WORDS), scopes),
    st.tuples(st.just("key"), texts, st.sampled_from("xy")),
    st.tuples(st.just("turn"), texts, st.sampled_from(["Nora", "Emil"]), st.booleans()),
    st.tuples(st.just("text"), indexes, texts),
    st.tuples(st.just("metadata"), indexes, metadata),
    st.tuples(st.just("forget"), indexes),
    st.tuples(st.just("merge"), indexes, indexes),
    st.tuples(st.just("pin"), indexes),
    st.tuples(st.just("expire"), indexes),
    st.tuples(st.just("clear"), scopes),
    st.just(("sweep",)),
    st.just(("move",)),
    st.just(("reopen",)),
)


class History:
    """A memory to which one thing after the other happens."""

    def __init__(self, folder, opener):
        self.folder, self.opener = folder, opener
        self.memories = 0
        self.added = 0
        self.memory = self._new()

    def _new(self):
        self.memories += 1
        return self._open()

    def _open(self):
        return self.opener(self.folder / str(self.memories), backends=["buffer", "rag"])

    def do(self, kind, *what):
        if what and isinstance(what[0], int):
            records = everything(self.memory)
            if not records:
                return
            what = [records[w % len(records)] if isinstance(w, int) else w for w in what]
        with suppress(InvalidInputError):  # the same content twice, scopes that do not go together
            getattr(self, f"_{kind}")(*what)

    def _id(self):
        self.added += 1
        return f"r{self.added * 37 % 101}"  # in no order

    def _add(self, text, scope, metadata):
        self.memory.add(text, id=self._id(), scope=scope, metadata=metadata)

    def _fact(self, thing, name, scope):
        self.memory.add(f"The {thing} of {name} is 12.", question=f"What is the {thing} of {name}?",
                        answer="12", id=self._id(), scope=scope)  # fmt: skip

    def _key(self, text, key):
        self.memory.add(text, key=key)

    def _turn(self, text, name, remember):
        self.memory.add_turn("user", text, name=name, remember=remember)

    def _text(self, record, text):
        text = f"{text} 12" if record.answer else text
        self.memory.update(record.id, text, scope=record.scope)

    def _metadata(self, record, metadata):
        self.memory.update(record.id, metadata=metadata, scope=record.scope)

    def _forget(self, record):
        self.memory.forget(record.id, scope=record.scope)

    def _merge(self, record, other):
        if other.scope in ({}, record.scope):
            self.memory.merge([record.id, other.id], scope=record.scope)
        else:  # what is of another scope is not there
            with pytest.raises(RecordNotFoundError):
                self.memory.merge([record.id, other.id], scope=record.scope)

    def _pin(self, record):
        self.memory.retention.pin(record.id, scope=record.scope)

    def _expire(self, record):
        self.memory.retention.expire(record.id, 1e-6, scope=record.scope)

    def _clear(self, scope):
        self.memory.clear(scope)

    def _sweep(self):
        self.memory.retention.sweep()

    def _move(self):
        file = self.folder / "moved"
        self.memory.export(file)
        self.memory.close()
        self.memory = self._new()
        self.memory.import_(file)
        file.unlink()

    def _reopen(self):
        self.memory.close()
        self.memory = self._open()


def everything(memory):
    return list(memory.records(scope="all", limit=1000).records)


def written_anew(memory, fresh, order):
    """Write what a memory holds to an empty one, records in some other order."""
    records = everything(memory)
    Random(order).shuffle(records)
    fresh.add([
        Draft(r.text, r.question, r.answer, id=r.id, scope=r.scope, metadata=r.metadata, key=r.key,
              pinned=r.pinned, at=r.said_at)
        for r in records
    ])  # fmt: skip
    for scope in ({}, ANN):
        for turn in memory.turns(scope=scope):
            fresh._engine.ledger.turns.add(
                turn.role, turn.content, scope, record_id=turn.record_id, name=turn.name
            )


def shown(hits):
    return [
        (hit.id, hit.text, pytest.approx(hit.score, abs=1e-9),
         {name: pytest.approx(part, abs=1e-9) for name, part in hit.parts.items()},
         pytest.approx(hit.similarity, abs=1e-6))
        for hit in hits
    ]  # fmt: skip


def routing(memory):
    """What the router of adapters goes by."""
    ledger = memory._engine.ledger
    make_missing(ledger, TemplateSynthesizer(), everything(memory))
    router = NearestRouter(memory._engine.index, ledger)
    router.calibrate(everything(memory))
    measured = router.calibration()
    vocabulary = Vocabularies(ledger).batch()(Query("x", scope=ANN), None)
    weights = vocabulary.weights([word.lower() for word in WORDS])
    support = [
        [(fact.record_id, pytest.approx(fact.score, abs=1e-5)) for fact in route.support]
        for route in router.route([Query(query, scope=ANN) for query in QUERIES])
    ]
    numbers = {} if measured is None else {
        name: pytest.approx(getattr(measured, name), abs=1e-4)
        for name in ("mass", "named", "threshold", "false_refusal", "unstored", "passages")
    }  # fmt: skip
    return weights, support, numbers


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=4, max_size=24), order=st.integers(0, 9))
def test_the_same_content_is_found_alike_whatever_happened_before(folder, opener, history, order):
    for path in folder.iterdir():
        shutil.rmtree(path)
    past = History(folder, opener)
    for step in history:
        past.do(*step)
    past.memory.retention.sweep()
    with past.memory as memory, opener(folder / "new", backends=["buffer", "rag"]) as fresh:
        written_anew(memory, fresh, order)
        ours, theirs = memory.stats(), fresh.stats()
        assert (ours.records, ours.turns, ours.passages) == (
            theirs.records, theirs.turns, theirs.passages)  # fmt: skip
        ours, theirs = ({r.id: r.key for r in everything(m)} for m in (memory, fresh))
        assert ours == theirs
        for query in QUERIES:
            for selection in ({}, {"scope": ANN}, {"where": {"n": {"$lt": 2}}}):
                hits = memory.search(query, 50, **selection)
                assert shown(hits) == shown(fresh.search(query, 50, **selection))
            assert shown(memory.recall(query).hits) == shown(fresh.recall(query).hits)
            for budget in (512, 120, 60):  # the last of which hold few records
                ours, theirs = (m.explain(query, budget).recall for m in (memory, fresh))
                assert ours.text == theirs.text
        assert routing(memory) == routing(fresh)
    assert check(folder / str(past.memories)).sound


def test_updates_leave_the_score_of_words_as_it_was(memory):
    names = "Nora Emil Tara Owen Lena Hugo Mira Anton Ada Ben Cleo Dan".split()
    for number, name in enumerate(names):
        memory.add(f"The badge number of {name} is {number * 37}.", id=name)
    before = [(hit.id, hit.parts) for hit in memory.search("badge number of Tara", 12)]
    for round in range(3):
        for name in names:
            memory.update(name, metadata={"round": round})
        after = [(hit.id, hit.parts) for hit in memory.search("badge number of Tara", 12)]
        assert after == before


def test_of_many_that_have_the_same_words_the_same_are_found_after_an_update(memory):
    """More than a search looks at: which of them are candidates is no matter of their age."""
    texts = [f"Parcel {number} waits at the quay." for number in range(DEPTH + 50)]
    memory.add([Draft(text, id=f"p{number:03}") for number, text in enumerate(texts)])
    memory.add([f"Nobody knows where crate {number} is." for number in range(DEPTH + 100)])
    before = shown(memory.search("What waits at the quay?", 9))
    for number in range(40):
        memory.update(f"p{number:03}", metadata={"seen": True})
    assert shown(memory.search("What waits at the quay?", 9)) == before


def test_pinned_records_come_by_id_whenever_they_were_added(opener, tmp_path):
    texts = {"a": "Ann wants short answers.", "b": "Ann wants long answers."}
    recalled = []
    for order in ("ab", "ba"):
        with opener(tmp_path / order, backends=["buffer", "rag"]) as memory:
            memory.add([Draft(texts[id], id=id, pinned=True) for id in order])
            both = memory.recall("answers")
            first = memory.recall("answers", budget=both.tokens - 1)
            recalled.append((both.text, both.citations, first.text, first.citations))
    assert recalled[0] == recalled[1]
    assert recalled[0][3] == ("a",)
