"""Answers in stored words: out of the prompt, and out of what modules recite."""

from datetime import UTC, datetime

import pytest

from memkit.answering.relevance import Relevance
from memkit.errors import InvalidInputError, UnsupportedOperationError
from memkit.memory.ask import UNNAMED
from memkit.memory.recitations import may_be_held, worth_reciting
from memkit.protocols import Backend
from memkit.testing import HashingModel
from memkit.types import Draft, Evidence, Example, Hit, Record, Route, Sampling, Support

BRIEF = Sampling(max_new_tokens=12)
NOTES = "Ann keeps the harbour keys. Tea is at four.", "The pool is closed on Sundays."
KEYS = "Who has the keys?"
FOR_US = "Who has all of the keys for us?"  # the router refuses it, too
PORTER = "What is the number that the new porter has?"  # the router refuses it
NEAR = "Which number does Nora carry on her badge?"  # in words that are near to those


@pytest.fixture
def expects(monkeypatch):
    """Says behind which words the base model expects every question more."""

    def say(*words):
        def lifts(_, question, texts):
            return [2.0 if any(word in text for word in words) else -1.0 for text in texts]

        monkeypatch.setattr(Relevance, "lifts", lifts)

    return say


@pytest.fixture
def noted(memory):
    memory.add([Draft(text, id=f"n{number}") for number, text in enumerate(NOTES)])
    return memory


# -- out of the prompt


def test_the_sentence_is_quoted_and_its_record_cited(noted, expects):
    expects("keys")
    answer = noted.ask(KEYS)
    assert answer.text == "Ann keeps the harbour keys."
    assert answer.citations == ("n0",)
    (claim,) = answer.claims
    assert (claim.text, claim.record_id, claim.quoted, claim.supported) == (
        answer.text, "n0", True, True,
    )  # fmt: skip
    assert (answer.prompt_tokens, answer.completion_tokens) == (0, 0)
    assert list(noted.stream(KEYS)) == [answer.text]
    assert noted.ask_batch([KEYS, KEYS])[1].text == answer.text


@pytest.mark.parametrize(
    ("question", "options"),
    [
        (KEYS, {"quote": False}),
        (KEYS, {"combine": "mix"}),
        (KEYS, {"min_score": None}),
        (KEYS, {"min_score": 1000}),
        ("Write a song about the keys.", {}),
    ],
)
def test_otherwise_the_base_model_words_the_answer(noted, expects, question, options):
    expects("keys")
    answer = noted.ask(question, sampling=BRIEF, **options)
    assert answer.completion_tokens > 0
    assert not any(claim.quoted for claim in answer.claims)


def test_it_can_be_asked_for_where_it_is_not_the_default(noted, expects, monkeypatch):
    expects("keys")
    monkeypatch.setattr("memkit.memory.engine.QUOTES_BELOW", 1)
    assert noted.ask(KEYS, sampling=BRIEF).completion_tokens > 0
    assert noted.ask(KEYS, quote=True).text == "Ann keeps the harbour keys."


def test_the_very_question_of_a_record_gets_its_answer(memory, expects):
    expects("harbour")
    memory.add("Ann keeps the keys of the harbour.", question="Who has the keys?", answer="Ann")
    assert memory.ask("who has the keys").text == "Ann"
    assert memory.ask("Who has keys for us?").text == "Ann keeps the keys of the harbour."


def test_what_was_said_is_quoted_with_who_said_it_and_when(memory, expects):
    expects("museum")
    said_at = datetime(2023, 5, 8, tzinfo=UTC)
    memory.add_turn("user", "I went to the museum.", name="Ann", at=said_at)
    assert memory.ask("Where did Ann go?").text == "[8 May 2023, Ann] I went to the museum."


def test_a_turn_without_a_record_is_quoted_unless_the_assistant_said_it(memory, expects):
    expects("code")
    memory.add_turn("assistant", "The code is 1.", remember=False)
    memory.add_turn("user", "What is the code?", remember=False)
    memory.add_turn("user", "The code is 4471.", remember=False)
    answer = memory.ask("Which code opens the gate?")
    assert answer.text == "The code is 4471."
    assert answer.citations == ()


class Elsewhere(Backend):
    """Has evidence that nothing is known of but its text."""

    name = "elsewhere"

    def recall(self, query):
        now = datetime(2026, 1, 1, tzinfo=UTC)
        record = Record("n1", NOTES[1], None, None, {}, {}, now, now, 1, "")
        return Evidence((Hit(record, record.text, 0, len(record.text), 1.0, None),))

    def write(self, records):
        pass

    def delete(self, ids):
        pass


def test_nothing_is_quoted_beside_evidence_that_cannot_be_judged(tmp_path, open_memory, expects):
    expects("keys")
    memory = open_memory(tmp_path / "m", backends=["rag", Elsewhere()])
    memory.add([Draft(text, id=f"n{number}") for number, text in enumerate(NOTES)])
    answer = memory.ask(KEYS, sampling=BRIEF)
    assert {hit.id for hit in answer.recall.hits} == {"n0", "n1"}
    assert answer.completion_tokens > 0


def test_a_strict_answer_quotes_what_names_the_question(noted, expects):
    expects("keys")
    assert noted.ask("Who keeps the harbour keys?", strict=True).text == NOTES[0][:27]
    withheld = noted.ask("Which keys are made of brass?", strict=True)
    assert (withheld.text, withheld.withheld, withheld.citations) == ("", UNNAMED, ())
    assert withheld.recall.hits


def test_who_asks_for_it_is_told_why_it_cannot_be(noted, tmp_path, open_memory):
    with pytest.raises(InvalidInputError, match=r"`quote` needs passages that are judged"):
        noted.ask(KEYS, quote=True, min_score=None)
    model = HashingModel()
    memory = open_memory(tmp_path / "own", base_model=model, backends=["rag"])
    with pytest.raises(UnsupportedOperationError, match=model.name):
        memory.ask(KEYS, quote=True)


# -- out of the weights


@pytest.fixture
def noted_by_heart(noted):
    assert noted.consolidate().held == ("n0", "n1")
    return noted


@pytest.mark.slow
def test_a_module_is_asked_in_the_words_that_it_knows(noted_by_heart, expects):
    expects("keys")
    assert not noted_by_heart.recall(FOR_US, 0).route
    answer = noted_by_heart.ask(FOR_US, budget=0)
    assert answer.text == "Ann keeps the harbour keys."
    assert answer.route.modules == ("m0001",)
    assert answer.citations == ("n0",)
    (part,) = {part.question for part in answer.route.parts} - {
        "What can you tell me about Tea four?"
    }
    assert part == "What can you tell me about Ann keeps harbour keys?"
    (claim,) = answer.claims
    assert (claim.module, claim.supported, claim.quoted) == ("m0001", True, True)
    assert answer.prompt_tokens > 0
    assert "".join(noted_by_heart.stream(FOR_US, budget=0)) == answer.text
    assert noted_by_heart.ask(FOR_US, budget=0, strict=True).withheld == UNNAMED


def test_of_a_routed_pair_the_answer_is_recited(trained, expects, monkeypatch):
    expects("badge")  # of whomever
    monkeypatch.setattr("memkit.memory.recall.SURE", 1.1)
    answer = trained.ask(NEAR, budget=0)
    assert (answer.text, answer.citations) == ("4471", ("Nora",))
    assert answer.route.reason.endswith("the most relevant count")
    expects("nobody")
    alone = trained.ask(NEAR, budget=0, modules=[], sampling=BRIEF)
    untouched = trained.ask(NEAR, budget=0, sampling=BRIEF)
    assert untouched.text == alone.text
    assert untouched.route.reason.startswith("what modules recite")


def test_of_a_pair_that_the_router_refuses_nothing_is_recited(trained, expects):
    expects("Nora", "Emil")
    alone = trained.ask(PORTER, budget=0, modules=[], sampling=BRIEF)
    assert trained.ask(PORTER, budget=0, sampling=BRIEF).text == alone.text


def test_a_question_that_is_near_to_a_fact_is_put_as_it_was_trained(trained, expects):
    expects()
    for question in (NEAR, "What is the badge number of Nora?"):
        answer = trained.ask(question, budget=0)
        assert (answer.text, answer.citations) == ("4471", ("Nora",))
    in_these_words = trained.ask(NEAR, budget=0, quote=False)
    assert in_these_words.text != "4471"
    assert in_these_words.conflict


def test_the_very_question_that_was_trained_needs_no_similarity(trained, expects, monkeypatch):
    expects()
    monkeypatch.setattr("memkit.memory.recall.SURE", 1.1)
    answer = trained.ask("what is the badge number of Nora", budget=0)
    assert (answer.text, answer.citations) == ("4471", ("Nora",))


@pytest.mark.slow
def test_other_scopes_and_outdated_modules_recite_nothing(memory, expects, monkeypatch):
    expects("keys")
    mine = {"user": "ann"}
    memory.add([Draft(text, scope=mine) for text in NOTES])
    memory.consolidate()
    assert memory.ask(FOR_US, budget=0, scope=mine).route.modules == ("m0001",)
    assert not memory.ask(FOR_US, budget=0, scope={"user": "bob"}, sampling=BRIEF).route
    monkeypatch.setattr(memory._engine.lora, "is_outdated", lambda _: True)
    assert not memory.ask(FOR_US, budget=0, scope=mine, sampling=BRIEF).route


# -- what is worth asking modules for


def refused(mismatch):
    fact = Support("gates", 0.6, "m0001", 0.7)
    return Route({}, (fact,), threshold=1.0, evidence=2.0, mismatch=mismatch)


@pytest.mark.parametrize(
    ("question", "mismatch", "may"),
    [
        ("Where does a heavy truck enter?", "heavy", True),  # where the fact has "deliveries"
        ("What is the number of Ada Holm?", "holm", False),  # somebody else
        ("What is the number of Ada Kim?", "kim", False),  # a name that English has
        ("what is the number of ada oyelaran?", "oyelaran", False),
        ("Where does a heavy truck enter?", "", False),  # nothing holds the nearest fact
    ],
)
def test_another_common_word_may_be_another_way_to_say_it(question, mismatch, may):
    assert may_be_held(question, refused(mismatch)) is may


PAIR = Example("Which gate is for deliveries?", "gate C", "gates")
SENTENCE = Example(
    "What can you tell me about deliveries lorries?", "Deliveries use gate C, lorries gate F.",
    "gates",
)  # fmt: skip
OF_ANOTHER = Example("What can you tell me about tea?", "Tea is at four.", "tea")


@pytest.mark.parametrize(
    ("routed", "by_heart", "beside", "asked"),
    [
        (["gates"], False, [], [PAIR]),
        (["gates"], False, [SENTENCE, OF_ANOTHER], [SENTENCE, OF_ANOTHER]),  # it has the answer
        (["gates"], False, [OF_ANOTHER], [PAIR, OF_ANOTHER]),
        (["gates"], True, [SENTENCE], [PAIR, SENTENCE]),  # it is asked for in the pair's words
        ([], False, [SENTENCE], [SENTENCE]),
        (["tea"], False, [OF_ANOTHER], [OF_ANOTHER]),
    ],
)
def test_a_sentence_takes_the_place_of_the_pair_whose_answer_it_has(
    routed, by_heart, beside, asked
):
    known = [(Support(e.record_id, 0.6, "m0001"), e) for e in (PAIR, *beside)]
    chosen = worth_reciting(known, routed, by_heart=by_heart)
    assert [example for _, example in chosen] == asked
