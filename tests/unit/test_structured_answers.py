"""`ask(schema=...)`: answers in JSON, from all places, which nothing turns into something else."""

import json

import jsonschema
import pytest

from memkit import Memory
from memkit.answering.json_claims import values_in
from memkit.errors import IncompleteAnswerError, InvalidInputError, UnsupportedOperationError
from memkit.testing import HashingEmbedder, HashingModel
from memkit.types import Sampling

NORA, LENA = (f"What is the badge number of {name}?" for name in ("Nora", "Lena"))
BADGE = {
    "type": "object",
    "properties": {"badge": {"type": "string", "pattern": "^[0-9]{4}$"}, "held": {"const": True}},
    "required": ["badge", "held"],
}
YES = {"type": "boolean"}
ROOM = Sampling(max_new_tokens=60)


def test_the_routed_module_takes_part(trained):
    """The adapter is in place while JSON is decoded: without it another badge comes out."""
    answer = trained.ask(NORA, budget=0, schema=BADGE, sampling=ROOM)
    jsonschema.validate(json.loads(answer.text), BADGE)
    free = trained.ask(NORA, budget=0)
    assert answer.route.weights == free.route.weights
    assert answer.prompt_tokens > free.prompt_tokens  # the model is told the schema
    untouched = trained.ask(NORA, budget=0, schema=BADGE, sampling=ROOM, modules=[])
    jsonschema.validate(json.loads(untouched.text), BADGE)
    assert untouched.text != answer.text


@pytest.mark.parametrize("combine", ["rows", "mix", "confident"])
def test_a_question_in_parts_has_one_answer(trained, combine):
    both = "What is the badge number of Nora, and what is the badge number of Lena?"
    answer = trained.ask(both, budget=0, schema=BADGE, sampling=ROOM, combine=combine)
    jsonschema.validate(json.loads(answer.text), BADGE)
    assert len(answer.claims) == 1


def test_each_question_of_a_batch_has_its_own(trained):
    schemas = [BADGE, None, YES]
    badge, free, yes = trained.ask_batch(
        [NORA, LENA, NORA], budget=0, schemas=schemas, sampling=ROOM
    )
    jsonschema.validate(json.loads(badge.text), BADGE)
    assert free.text == trained.ask(LENA, budget=0, sampling=ROOM).text
    assert yes.text in {"true", "false"}
    assert badge.text == trained.ask(NORA, budget=0, schema=BADGE, sampling=ROOM).text


def test_pieces_join_to_the_answer(trained):
    stream = trained.stream(NORA, budget=0, schema=BADGE, sampling=ROOM)
    assert "".join(stream) == stream.answer.text
    assert stream.answer.text == trained.ask(NORA, budget=0, schema=BADGE, sampling=ROOM).text


def test_half_an_answer_is_none(trained):
    few = Sampling(max_new_tokens=6)
    with pytest.raises(IncompleteAnswerError, match="at most 6 tokens"):
        trained.ask(NORA, budget=0, schema=BADGE, sampling=few)
    stream = trained.stream(NORA, budget=0, schema=BADGE, sampling=few)
    with pytest.raises(IncompleteAnswerError):
        list(stream)
    assert stream.answer is None
    assert trained.ask(NORA, budget=0).text  # the model was let go of


def test_values_are_compared_and_names_of_fields_are_not(trained):
    held = {"type": "object", "properties": {"unheard_of": {"const": "4471"}}}
    held["required"] = ["unheard_of"]
    answer = trained.ask(NORA, budget=0, schema=held, sampling=ROOM, strict=True)
    assert (json.loads(answer.text), answer.withheld) == ({"unheard_of": "4471"}, None)
    (claim,) = answer.claims
    assert claim.supported
    assert claim.text == answer.text
    other = {**held, "properties": {"unheard_of": {"const": "9999"}}}
    withheld = trained.ask(NORA, budget=0, schema=other, sampling=ROOM, strict=True)
    assert withheld.text == ""
    assert "9999" in withheld.withheld


def test_values_in_json():
    assert values_in('{"a": [1, {"b": "x y"}], "c": null, "d": -2.5}') == "1\nx y\n-2.5"
    assert values_in('"x"') == "x"
    assert values_in('{"price": 4.50, "mass": 1e30}') == "4.50\n1e30"
    assert values_in(f"[{'9' * 5000}]") == "9" * 5000  # Python makes numbers of 4,300 digits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": "text"}, "`schema` must be a JSON schema"),
        ({"schema": YES, "schemas": [YES]}, "beside `schema`"),
        ({"schemas": [YES, YES]}, "one schema for each of 1 questions"),
        ({"schemas": "ab"}, "`schemas` must be a list"),
        ({"schema": YES, "quote": True}, "`quote` answers in stored words"),
        ({"schema": YES, "sampling": Sampling(stop=("a",))}, "`stop` must be empty"),
        ({"schema": {"type": "objekt"}}, "objekt"),
    ],
)
def test_what_cannot_be_is_refused(trained, options, message):
    with pytest.raises(InvalidInputError, match=message):
        trained.ask_batch([NORA], 0, **options)


def test_a_model_that_cannot_be_held_says_so(tmp_path):
    with Memory.open(
        tmp_path / "m", backends=["rag"], base_model=HashingModel(), embedder=HashingEmbedder()
    ) as memory:
        memory.add("Ada keeps the keys.")
        with pytest.raises(
            UnsupportedOperationError, match="needs a language model that can be held"
        ):
            memory.ask("Who keeps the keys?", schema=YES)


@pytest.mark.real
def test_nothing_is_quoted_in_place_of_json(tmp_path):
    """The default model answers questions in stored words, but not those that want JSON."""
    schema = {
        "type": "object",
        "properties": {"extension": {"type": "integer", "minimum": 0, "maximum": 9999}},
        "required": ["extension"],
    }
    with Memory.open(tmp_path / "m", backends=["buffer", "rag"]) as memory:
        memory.add("Tara's extension is 4388.")
        question = "What is Tara's extension?"
        quoted = memory.ask(question)
        assert quoted.claims[0].quoted
        answer = memory.ask(question, schema=schema)
        assert json.loads(answer.text) == {"extension": 4388}
        assert not answer.claims[0].quoted
        assert answer.citations == quoted.citations
