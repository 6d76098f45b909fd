"""Facts at known angles vote for the modules that hold them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.rag.index import FactIndex
from memkit.routing.candidates import Candidate, CandidateSearch
from memkit.routing.nearest import NearestRouter, Voting, _vote, _weights
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query
from memkit.types.calibration import CALIBRATION, Calibration

THRESHOLD = 0.5
# Never out of date, as it has seen all changes to come.
SIMILARITY_ALONE = Calibration(0.0, 0.0, THRESHOLD, slope=10.0, changes=10**9)


class AngleEmbedder:
    """A text that ends in a number lies at that angle, in degrees."""

    name = "angles"
    dim = 2

    def encode_query(self, texts, /):
        angles = [math.radians(float(text.split()[-1])) for text in texts]
        return np.array([[math.cos(a), math.sin(a)] for a in angles], np.float32).reshape(-1, 2)

    encode_document = encode_query


class Facts:
    """A memory whose facts are angles, with a router over them."""

    def __init__(self, folder, embedder=None):
        self.ledger = Ledger.open(folder)
        self.index = FactIndex(self.ledger, embedder or AngleEmbedder())
        self.ledger.set_meta(CALIBRATION, SIMILARITY_ALONE.to_json())

    def add(self, text, *, module=None, scope=None, id=None):
        (record,) = self.ledger.records.add([Draft(text, scope=scope or {}, id=id or text)])
        self.index.write([record])
        if module is not None:
            self.place(record, module)
        return record

    def place(self, record, module):
        """Put a record into a module, beside those that it holds already."""
        names = [one.name for one in self.ledger.modules.active()]
        held = self.ledger.modules.get(module).records if module in names else ()
        records = [*self.ledger.records.get(held), record]
        self.ledger.modules.commit(
            module,
            record.scope,
            {},
            file=f"adapters/{module}-{len(records)}",
            digest="d",
            size=1,
            members=records,
            held={one.id: 1.0 for one in records},
        )

    def router(self, voting=None):
        return NearestRouter(self.index, self.ledger, voting=voting or Voting(words=0.0))

    def route(self, text, *, scope=None, voting=None, **arguments):
        query = Query(text, scope=scope or {})
        return self.router(voting).route([query], **arguments)[0]


@pytest.fixture
def facts(tmp_path):
    facts = Facts(tmp_path / "memory")
    yield facts
    facts.ledger.close()


def degrees(angle):
    return math.cos(math.radians(angle))


def test_the_module_of_the_nearest_fact_answers(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 90", module="m2")

    route = facts.route("query 10")

    assert route.weights == {"m1": 1.0}
    assert route.threshold == THRESHOLD
    assert [(fact.record_id, fact.module) for fact in route.support] == [
        ("fact 0", "m1"),
        ("fact 90", "m2"),
    ]
    assert [fact.similarity for fact in route.support] == pytest.approx(
        [degrees(10), degrees(80)], abs=1e-6
    )


def test_one_module_is_asked_the_question_as_it_is(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 90", module="m2")

    (part,) = facts.route("query 10").parts

    assert (part.question, part.module, part.record_id) == ("query 10", "m1", "fact 0")
    # 10 degrees off is 0.985, a slope of 10 makes it 1 / (1 + e^-4.85); nobody else votes.
    assert part.score == pytest.approx(1 / (1 + math.exp(-10 * (degrees(10) - 0.5))), abs=1e-5)
    assert facts.route("query 180").parts == ()


def test_votes_are_a_softmax_over_similarities(facts):
    for text, module in (("fact 0", "m1"), ("fact 20", "m2"), ("fact 30", "m2")):
        facts.add(text, module=module)

    route = facts.route("query 5", voting=Voting(modules=2, words=0.0))

    votes = {angle: math.exp(degrees(angle) / 0.05) for angle in (5, 15, 25)}
    total = sum(votes.values())
    assert route.weights == pytest.approx(
        {"m1": votes[5] / total, "m2": (votes[15] + votes[25]) / total}, abs=1e-4
    )


def test_one_module_by_default(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 1", module="m2")

    assert facts.route("query 0").weights == {"m1": 1.0}
    assert facts.route("query 0", voting=Voting(modules=2, words=0.0)).modules == ("m1", "m2")


def test_several_near_facts_outvote_the_nearest(facts):
    facts.add("fact 0", module="m1")
    for angle in (1, 2, 3):
        facts.add(f"fact {angle}", module="m2")

    assert facts.route("query 0").weights == {"m2": 1.0}
    assert facts.route("query 0", voting=Voting(facts=1, words=0.0)).weights == {"m1": 1.0}


def test_none_answers_below_the_threshold(facts):
    facts.add("fact 0", module="m1")

    assert facts.route("query 59").weights == {"m1": 1.0}  # cos 59 = 0.515
    route = facts.route("query 61")  # cos 61 = 0.485
    assert not route
    assert route.reason == "the evidence for the best fact is too weak (0.48 < 0.50)"


def test_none_answers_if_the_nearest_fact_is_not_in_the_weights(facts):
    facts.add("fact 0")
    facts.add("fact 5", module="m1")

    route = facts.route("query 1")

    assert not route
    assert route.reason == "the nearest fact is not held in weights"
    assert route.support[0].module is None


def test_an_empty_scope_has_none(facts):
    assert facts.route("query 1").reason == "this scope holds no facts"


def test_facts_of_other_scopes_never_vote(facts):
    facts.add("fact 0", module="m1", scope={"user": "u1"})
    facts.add("fact 40", module="m2", scope={"user": "u2"})
    facts.add("fact 50", module="m3")

    def support(scope):
        return [fact.record_id for fact in facts.route("query 0", scope=scope).support]

    assert facts.route("query 0", scope={"user": "u1"}).weights == {"m1": 1.0}
    assert facts.route("query 0", scope={"user": "u2"}).weights == {"m2": 1.0}
    assert facts.route("query 0").weights == {"m3": 1.0}
    assert support({"user": "u1"}) == ["fact 0", "fact 50"]
    assert support({"user": "u2", "session": "s"}) == ["fact 40", "fact 50"]
    assert support({}) == ["fact 50"]


def test_queries_of_several_scopes_are_routed_in_order(facts):
    facts.add("fact 0", module="m1", scope={"user": "u1"})
    facts.add("fact 1", module="m2")
    queries = [Query("query 0", scope=scope) for scope in ({"user": "u1"}, {}, {"user": "u1"})]

    routes = facts.router().route(queries)

    assert [route.support[0].record_id for route in routes] == ["fact 0", "fact 1", "fact 0"]


def test_pending_placements_come_first(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 60")

    assert facts.route("query 0", pending={"fact 0": "new"}).weights == {"new": 1.0}
    assert facts.route("query 60", pending={"fact 60": "new"}).weights == {"new": 1.0}
    assert facts.route("query 0").weights == {"m1": 1.0}


def test_an_updated_fact_is_no_longer_in_its_module(facts):
    record = facts.add("fact 0", module="m1")
    assert facts.route("query 0")
    updated = facts.ledger.records.update(
        record.id, text="fact 1", question=None, answer=None, metadata={}
    )
    facts.index.write([updated])

    assert facts.route("query 0").reason == "the nearest fact is not held in weights"
    facts.place(updated, "m2")
    assert facts.route("query 0").weights == {"m2": 1.0}


def test_a_forgotten_fact_takes_no_part(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 30", module="m2")
    facts.ledger.modules.drop("m1")
    assert not facts.route("query 0")

    facts.ledger.records.delete(["fact 0"])

    route = facts.route("query 0")
    assert route.weights == {"m2": 1.0}
    assert [fact.record_id for fact in route.support] == ["fact 30"]


def test_ties_go_to_the_first_name_and_stay_there(facts):
    facts.add("fact 10", module="m2")
    facts.add("fact -10", module="m1")

    assert {facts.route("query 0").modules for _ in range(5)} == {("m1",)}
    assert facts.route("query 0", voting=Voting(modules=2, words=0.0)).modules == ("m1", "m2")


def test_the_route_explains_itself(facts):
    facts.add("fact 0", module="m1")
    facts.add("fact 60")

    assert str(facts.route("query 0")) == (
        "route: m1 x 1.00\n"
        "  because the nearest facts vote for m1 (evidence 1.00 >= 0.50)\n"
        "  +1.000  fact 0  in m1\n"
        "  +0.500  fact 60  in no module"
    )
    assert str(facts.route("query 60")).startswith(
        "route: none (the base model answers untouched)\n"
        "  because the nearest fact is not held in weights\n"
    )  # fmt: skip


@pytest.mark.parametrize("field", ["facts", "modules", "parts"])
def test_votings_without_voters_or_winners_are_refused(field):
    with pytest.raises(InvalidInputError, match=f"`{field}` must be at least 1, got 0"):
        Voting(**{field: 0})


def test_words_lead_to_the_module(tmp_path):
    """With an embedder that knows words, as in use."""
    facts = Facts(tmp_path / "memory", HashingEmbedder())
    facts.add("The badge number of Nora is 4471.", module="m1")
    facts.add("The archive is on the third floor.", module="m2")

    assert facts.route("Which badge does Nora have?").weights == {"m1": 1.0}
    assert facts.route("Is the archive on this floor?").weights == {"m2": 1.0}
    assert not facts.route("Who wrote Hamlet?")
    facts.ledger.close()


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.sampled_from([None, "m1", "m2", "m3", "m4"])),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 4),
)
def test_weights_sum_to_one_and_are_at_most_so_many(facts, modules):
    ranked = sorted(facts, key=lambda fact: -fact[0])
    candidates = [
        Candidate(str(i), score, frozenset(), score) for i, (score, _) in enumerate(ranked)
    ]
    placed = {str(i): name for i, (_, name) in enumerate(ranked) if name}
    present = set(placed.values())

    votes = _vote(candidates, placed)
    weights = _weights(votes, modules)

    assert set(votes) == present
    assert list(votes.values()) == sorted(votes.values(), reverse=True)
    assert len(weights) == min(modules, len(present))
    for shares in (votes, weights):
        assert not present or sum(shares.values()) == pytest.approx(1.0)
        assert all(share > 0 for share in shares.values())


def test_a_word_that_is_no_longer_common_counts_again(tmp_path, monkeypatch):
    monkeypatch.setattr("memkit.routing.term_weights.COMMON", 1)
    facts = Facts(tmp_path / "memory", HashingEmbedder())
    facts.add("The oak is tall.", id="oak")
    facts.add("The elm is tall.", id="elm")
    facts.add("The ivy is tall.", id="ivy", scope={"user": "u1"})
    router = facts.router()

    def words():
        return router.route([Query("tall oak")])[0].support[0].words

    assert words() == words() == ("oak",)
    assert router.route([Query("tall", scope={"user": "u2"})])[0].support[0].words == ()
    facts.ledger.records.delete(["elm"])
    assert words() == ("tall", "oak")  # the one that only u1 may see does not count
    facts.ledger.close()


def test_that_there_are_many_facts_is_remembered_until_a_passage_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("memkit.routing.term_weights.COMMON", 2)
    facts = Facts(tmp_path / "memory", HashingEmbedder())
    for tree in ("oak", "elm"):
        facts.add(f"The {tree} is tall.", id=tree)
    router, counted = facts.router(), []
    count = facts.ledger.lexicon.count
    monkeypatch.setattr(
        facts.ledger.lexicon, "count", lambda **what: counted.append(what) or count(**what)
    )
    for _ in range(3):
        router.route([Query("tall oak")])
    assert len(counted) == 1
    facts.ledger.records.delete(["elm"])
    for _ in range(2):
        router.route([Query("tall oak")])
    assert len(counted) == 3  # one fact is not many: it is counted every time
    facts.ledger.close()


def test_a_long_record_is_read_once_for_all_questions(tmp_path, monkeypatch):
    """It has a word of each, and is the nearest of none."""
    facts = Facts(tmp_path / "m", HashingEmbedder(64))
    words = [f"w{number}" for number in range(30)]
    for word in words:
        facts.add(f"badge {word}", id=word)
        facts.add(f"badge {word} again", id=f"{word} again")
    facts.add(" ".join(f"filler{n} {words[n % 30]}" for n in range(3000)), id="long")
    search = CandidateSearch(facts.index, facts.ledger, facts=2, words=0.3)
    reads = []
    read = facts.ledger.passages.vectors_of
    monkeypatch.setattr(
        facts.ledger.passages, "vectors_of", lambda ids: reads.extend(ids) or read(ids)
    )

    sets = search.search([Query(f"filler{n} badge {word}") for n, word in enumerate(words)])

    assert reads.count("long") == 1
    passages = read(["long"])["long"]
    for matches in sets:
        vector = facts.index.query_vector(matches.query.text)
        similarity = {fact.record_id: fact.similarity for fact in matches.candidates}
        assert similarity["long"] == pytest.approx(float((passages @ vector).max()), abs=1e-6)
    facts.ledger.close()
