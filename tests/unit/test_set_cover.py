"""Questions made to need one, two or three facts."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memkit.evals.data.phone_book import drafts_of, invented
from memkit.ledger import Ledger
from memkit.lora.consolidation.examples import make_missing
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.rag.index import FactIndex
from memkit.routing.nearest import NearestRouter, Voting
from memkit.testing import HashingEmbedder
from memkit.types import Draft, Query

ENTRIES = invented(60)
PAIRS = (
    "What are the phone numbers of {} and of {}?",
    "Give me {}'s phone number and {}'s",
    "phone {}, {}",
    "Does {} or {} have the lower number?",
)
TRIPLES = (
    "What are the phone numbers of {}, {} and {}?",
    "phone numbers: {}; {}; {}",
    "Call {}, then {}, then {}. Which numbers are those?",
)


class Book:
    """A phone book, one entry in four to each of four modules."""

    def __init__(self, folder, drafts):
        self.ledger = Ledger.open(folder)
        index = FactIndex(self.ledger, HashingEmbedder(512))
        self.records = self.ledger.records.add(drafts)
        index.write(self.records)
        self.placed = {r.id: f"m{i % 4}" for i, r in enumerate(self.records)}
        self.index = index
        self.router = NearestRouter(index, self.ledger)
        make_missing(self.ledger, TemplateSynthesizer(), self.records)
        self.router.calibrate(self.records)

    def route(self, text, scope=None, **voting):
        query = Query(text, scope=scope or {})
        router = self.router
        if voting:
            router = NearestRouter(self.index, self.ledger, voting=Voting(**voting))
        return router.route([query], pending=self.placed)[0]

    def asked(self, text):
        return [part.record_id for part in self.route(text).parts]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    book = Book(tmp_path_factory.mktemp("book") / "m", drafts_of(ENTRIES))
    yield book
    book.ledger.close()


def some(number, seed):
    return random.Random(seed).sample(range(len(ENTRIES)), number)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(PAIRS))
def test_two_facts(book, seed, form):
    chosen = some(2, seed)

    route = book.route(form.format(*(ENTRIES[k].name for k in chosen)))

    assert [part.record_id for part in route.parts] == [book.records[k].id for k in chosen]
    assert [part.question for part in route.parts] == [ENTRIES[k].question for k in chosen]
    assert sum(route.weights.values()) == pytest.approx(1.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(TRIPLES))
@example(1316, TRIPLES[0])  # two of the three share a name
@example(146, TRIPLES[0])  # the second shares its first name with one, its last name with the other
def test_three_facts(book, seed, form):
    chosen = some(3, seed)

    assert book.asked(form.format(*(ENTRIES[k].name for k in chosen))) == [
        book.records[k].id for k in chosen
    ]


def test_a_name_that_is_said_twice_counts_for_two(book):
    """The first, third and any other fact of this name share a word."""
    names = [entry.name for entry in ENTRIES]
    first = next(n for n in names if sum(o.split()[0] == n.split()[0] for o in names) > 1)
    one, other = [n for n in names if n.split()[0] == first.split()[0]][:2]
    third = next(n for n in names if not set(n.split()) & {*one.split(), *other.split()})

    asked = book.asked(TRIPLES[0].format(one, third, other))

    assert asked == [book.records[names.index(name)].id for name in (one, third, other)]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(ENTRIES) - 1), st.sampled_from(("{q}", "Do you have {n}'s number?")))
def test_one_fact(book, number, form):
    entry = ENTRIES[number]

    (part,) = book.route(form.format(q=entry.question, n=entry.name)).parts

    assert part.record_id == book.records[number].id
    assert part.question == form.format(q=entry.question, n=entry.name)


def test_the_caller_may_want_one_part_only(book):
    question = PAIRS[0].format(ENTRIES[0].name, ENTRIES[1].name)

    assert len(book.route(question, parts=1).weights) == 1


def test_two_questions_about_one_subject(tmp_path):
    facts = [
        Draft(f"The {thing} of {name} is {number}.", f"What is the {thing} of {name}?", str(number))
        for number, (thing, name) in enumerate(
            (thing, name)
            for thing in ("extension", "badge", "desk", "locker")
            for name in ("Nora Feldt", "Emil Roth", "Tara Berg")
        )
    ]
    book = Book(tmp_path / "m", facts)

    both = book.route("What are the extension and the badge of Nora Feldt?")
    crossed = book.route("What is the badge of Emil Roth, and what is the desk of Tara Berg?")

    assert {p.question for p in both.parts} == {facts[0].question, facts[3].question}
    assert [p.question for p in crossed.parts] == [facts[4].question, facts[8].question]
    book.ledger.close()


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_facts_of_other_scopes_change_nothing(tmp_path_factory, seed):
    """Neither which facts are seen, nor how much a word tells."""
    mine = [
        Draft(d.text, d.question, d.answer, {"user": "u1"}, id=f"mine{k}")
        for k, d in enumerate(drafts_of(ENTRIES[:12]))
    ]
    theirs = [
        Draft(d.text, d.question, d.answer, {"user": "u2"})
        for d in drafts_of(random.Random(seed).sample(ENTRIES, 20))
    ]
    alone = Book(tmp_path_factory.mktemp("alone") / "m", mine)
    shared = Book(tmp_path_factory.mktemp("shared") / "m", [*mine, *theirs])
    for question in (ENTRIES[3].question, PAIRS[0].format(ENTRIES[1].name, ENTRIES[50].name)):
        ours, beside = (
            book.router._search.search([Query(question, scope={"user": "u1"})])[0]
            for book in (alone, shared)
        )
        assert ours.candidates == beside.candidates
        assert ours.weights == beside.weights
    alone.ledger.close()
    shared.ledger.close()


def reads(book, question):
    """What one route reads on a warm memory; looks at the change counter are no reads."""
    statements = []
    connection = book.ledger._database._connection
    book.route("warm up, please: " + question)
    connection.set_trace_callback(statements.append)
    try:
        route = book.route(question)
    finally:
        connection.set_trace_callback(None)
    return [text for text in statements if text.startswith("SELECT")], route


def test_a_route_reads_as_little_for_many_words_and_facts_as_for_few(book):
    """Passages, words, number of facts, vectors, placements; words of questions twice at most."""
    one, route = reads(book, ENTRIES[0].question)
    assert len(route.parts) == 1
    three, route = reads(book, TRIPLES[2].format(*(entry.name for entry in ENTRIES[:3])))
    assert len(route.parts) == 3

    assert len(one) <= 5
    assert len(three) <= 7
