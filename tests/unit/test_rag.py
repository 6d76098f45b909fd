"""The rag backend, and the score that is made of several parts."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from memkit.errors import InvalidInputError
from memkit.ledger import Passage
from memkit.rag.fusion import Ranking, Scored, add_neighbours, rank
from memkit.rag.index import FactIndex
from memkit.rag.rag_backend import RagBackend
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query


def passage(key, record_id, kind="text", start=0):
    return Passage(key, record_id, kind, start, start + 4, "text")


RANKING = Ranking(meaning=10.0, words=1.0)


def test_a_score_is_the_sum_of_its_parts():
    (one,) = rank([Scored(passage(1, "x"), 0.5, 2.0)], RANKING, {"x": {"stranger": -3.0}})
    assert one.parts == {"meaning": 5.0, "words": 2.0, "stranger": -3.0}
    assert one.score == pytest.approx(4.0)


def test_words_have_a_weight_of_their_own_in_turns():
    ranking = Ranking(meaning=10.0, words=1.0, spoken=4.0)
    turn, record = (
        Scored(passage(1, "turn"), 0.5, 2.0, spoken=True),
        Scored(passage(2, "r"), 0.5, 2.0),
    )
    ranked = rank([record, turn], ranking, {})
    assert {r.record_id: r.parts["words"] for r in ranked} == {"turn": 8.0, "r": 2.0}


def test_records_rank_by_the_best_of_their_passages():
    found = [
        Scored(passage(1, "x"), 0.9, 0.0),
        Scored(passage(2, "x", start=4), 0.8, 2.0),
        Scored(passage(3, "y"), 1.0, 0.5),
    ]
    ranked = rank(found, RANKING, {})
    # x is near in one passage and has the words in another: 9 + 2 against 10 + 0.5.
    assert [(r.record_id, r.score, r.similarity) for r in ranked] == [
        ("x", pytest.approx(11.0), 0.9),
        ("y", pytest.approx(10.5), 1.0),
    ]
    # Shown is the passage that is best by both: 8 + 2 against 9.
    assert [r.passage.key for r in ranked] == [2, 3]


def test_questions_count_but_are_not_shown():
    question = Scored(passage(1, "x", kind="question"), 0.9, 0.0)
    (alone,) = rank([question], RANKING, {})
    assert alone.passage is None
    assert alone.similarity == 0.9
    (both,) = rank([question, Scored(passage(2, "x"), 0.1, 0.0)], RANKING, {})
    assert both.passage.key == 2
    assert both.similarity == 0.9


def test_ties_go_to_the_nearer_and_then_by_id_not_by_place_in_the_index():
    found = [
        Scored(passage(1, "c"), 0.5, 0.0),
        Scored(passage(2, "b"), 0.0, 5.0),
        Scored(passage(3, "a"), 0.0, 5.0),
    ]
    assert [r.record_id for r in rank(found, RANKING, {})] == ["c", "a", "b"]


def test_words_of_neighbours_count_by_hand():
    own = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    counted = add_neighbours(own, [(0, 1), (0, 2), (1, 0)], 0.5)
    # Row 0: 1 + 0.5 and 0.5 + 0.5; row 1: 0.5 and 1; row 2 stands alone. Then 2u / (1 + u).
    np.testing.assert_allclose(counted, [[1.2, 1.0], [2 / 3, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(add_neighbours(own, [], 0.5), own)


def test_recency_halves_with_every_half_life():
    ranking = Ranking(recency=2.0, half_life=10.0)
    assert ranking.recency_bonus(0) == ranking.recency_bonus(-5) == 2.0
    assert ranking.recency_bonus(20 * 86_400) == pytest.approx(0.5)
    assert Ranking().recency_bonus(0) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"meaning": -1.0}, "`meaning` must be a number of at least 0, got -1.0"),
        ({"words": float("nan")}, "`words` must be a number"),
        ({"around": "much"}, "`around` must be a number of at least 0, got 'much'"),
        ({"reach": 1.5}, "a whole number as `reach`"),
        ({"half_life": 0.0}, "`half_life` above 0"),
    ],
)
def test_weights_are_checked(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        Ranking(**arguments)


@pytest.fixture
def rag(ledger):
    return RagBackend(ledger, FactIndex(ledger, HashingEmbedder()))


def test_write_recall_delete(rag, ledger):
    records = ledger.records.add(
        [Draft("The badge is 4471."), Draft("The archive.", question="Where?", answer="There.")]
    )
    assert rag.recall(Query("badge")).hits == ()
    rag.write(records)
    assert rag.stats() == {"passages": 3}
    evidence = rag.recall(Query("badge", k=1))
    assert [hit.record for hit in evidence.hits] == records[:1]
    assert (evidence.turns, evidence.route) == ((), None)
    rag.write(records)
    assert rag.stats() == {"passages": 3}
    ledger.records.delete([records[0].id])
    rag.delete([records[0].id, "unknown"])
    assert [hit.id for hit in rag.recall(Query("badge")).hits] == [records[1].id]


class CountingEmbedder(HashingEmbedder):
    """Notes the texts that it embeds as passages."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def encode_document(self, texts, /):
        self.texts += texts
        return super().encode_document(texts)


@pytest.fixture
def counting(ledger):
    embedder = CountingEmbedder()
    return RagBackend(ledger, FactIndex(ledger, embedder)), embedder


BADGE = Draft("The badge is 4471.", question="Which badge?", answer="4471")


def test_what_was_prepared_is_not_embedded_while_writing(counting, ledger):
    rag, embedder = counting
    rag.prepare([BADGE])
    assert sorted(embedder.texts) == [BADGE.text, BADGE.question]
    with ledger.transaction():
        rag.write(ledger.records.add([BADGE]))
    assert len(embedder.texts) == 2
    assert rag.recall(Query("badge", k=1)).hits[0].text == BADGE.text


def test_what_was_not_prepared_is_embedded_while_writing(counting, ledger):
    rag, embedder = counting
    late = Draft("The archive is on the third floor.")
    rag.prepare([BADGE])
    with ledger.transaction():
        rag.write(ledger.records.add([late, BADGE]))
    assert embedder.texts.count(late.text) == 1
    assert rag.stats() == {"passages": 3}


def test_known_records_that_were_deleted_since_are_indexed_all_the_same(rag, ledger):
    (record,) = ledger.records.add([BADGE])
    rag.write([record])
    rag.prepare([BADGE])
    ledger.records.delete([record.id])
    with ledger.transaction():
        (again,) = ledger.records.add([BADGE])
        rag.write([again])
    assert [hit.id for hit in rag.recall(Query("badge")).hits] == [again.id]


def test_a_new_version_is_indexed_in_place_of_the_old_one(counting, ledger):
    rag, embedder = counting
    (record,) = ledger.records.add([BADGE])
    rag.write([record])
    new = Draft("The badge is lost.")
    rag.prepare([new])
    embedder.texts.clear()
    with ledger.transaction():
        rag.write(
            [
                ledger.records.update(
                    record.id, text=new.text, question=None, answer=None, metadata={}
                )
            ]
        )
    assert embedder.texts == []
    assert [hit.text for hit in rag.recall(Query("badge")).hits] == [new.text]


def test_what_a_failed_write_has_prepared_does_not_pile_up(rag, ledger):
    for number in range(5):
        rag.prepare([Draft(f"Never stored {number}.")])
    assert len(rag._prepared.passages) == 1
    rag.scrub()
    assert rag._prepared.passages == {}


def test_threads_prepare_and_write_side_by_side(counting, ledger):
    rag, embedder = counting
    ready = threading.Barrier(4)

    def work(number):
        drafts = [Draft(f"Thread {number} wrote {n}.") for n in range(20)]
        rag.prepare(drafts)
        ready.wait(30)
        with ledger.transaction():
            rag.write(ledger.records.add(drafts))
        assert rag._prepared.passages == {}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert rag.stats() == {"passages": 80}
    assert len(embedder.texts) == 80


def test_opening_indexes_what_has_no_passages(rag, ledger):
    records = ledger.records.add([BADGE, Draft("The archive.")])
    rag.write(records[:1])
    rag.sync(ledger.records)
    assert rag.stats() == {"passages": 3}
    assert rag.recall(Query("archive", k=1)).hits[0].record == records[1]


def test_close_writes_the_index_once_and_may_be_repeated(rag, ledger):
    rag.write(ledger.records.add([Draft("The badge is 4471.")]))
    rag.close()
    assert (ledger.directory / "index" / "dense.faiss").exists()
    rag.close()


@pytest.mark.real
def test_other_words_for_the_same_thing(ledger, minilm):
    rag = RagBackend(ledger, FactIndex(ledger, minilm))
    texts = [
        "The night porter's badge number is 4471.",
        "Deliveries are unloaded at dock three.",
        "Ms Okafor is in charge of salaries.",
    ]
    records = ledger.records.add([Draft(text) for text in texts])
    rag.write(records)
    for question, record in zip(
        ["What does the ID of the night guard say?", "Where do trucks stop?", "Who pays me?"],
        records,
        strict=True,
    ):
        assert rag.recall(Query(question, k=1)).hits[0].record == record


@pytest.mark.real
def test_a_code_alone_finds_its_ticket(open_memory, tmp_path, minilm):
    """Vectors of codes are much alike: what tells them apart is the word."""
    codes = [f"{'ABKTX'[n % 5]}{'CDMQ'[n % 4]}-{1000 + 37 * n}" for n in range(100)]
    things = "printer", "router", "boiler"
    drafts = [Draft(f"Ticket {code}: the {things[n % 3]} of Nora is broken.", id=code)
              for n, code in enumerate(codes)]  # fmt: skip
    first = {}
    for ranking in (Ranking(), Ranking(words=0.0)):
        directory = tmp_path / str(ranking.words)
        memory = open_memory(directory, backends=["rag"], embedder=minilm, ranking=ranking)
        memory.add(drafts)
        first[ranking.words] = [memory.search(code, 1)[0].id for code in codes]
    assert first[Ranking().words] == codes != first[0.0]
