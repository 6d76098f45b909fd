"""Answers that are held to a schema: whatever a model would say, they fit it, or are an error."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from types import SimpleNamespace

import jsonschema
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memkit.errors import (
    IncompatibleModelError,
    IncompleteAnswerError,
    InvalidInputError,
    MissingDependencyError,
)
from memkit.memory.schemas import constraint_of
from memkit.models.constrained import KEPT, Constraints
from memkit.testing import tiny_gpt2, tiny_llama
from memkit.types import Constraint, Sampling

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "extension": {"type": "integer", "minimum": 1000, "maximum": 9999},
        "office": {"enum": ["north", "south"]},
    },
    "required": ["name", "extension", "office"],
}
WARM = Sampling(max_new_tokens=400, temperature=1.0)


@pytest.fixture(scope="module")
def model():
    model = tiny_llama(seed=2)
    model.context = None  # 512 tokens, which some of the answers would not leave room for
    return model


def bound(model, schema, question="Who is it?"):
    return replace(model.prompt(question), constraint=constraint_of(schema))


def said(model, schema, sampling=WARM):
    return model.generate([bound(model, schema)], sampling)[0].text


# -- what is generated fits

SCALARS = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.tuples(st.integers(-99, 99), st.integers(0, 99)).map(
        lambda ends: {"type": "integer", "minimum": ends[0], "maximum": ends[0] + ends[1]}
    ),
    st.tuples(st.integers(0, 2), st.integers(0, 3)).map(
        lambda ends: {"type": "string", "minLength": ends[0], "maxLength": sum(ends)}
    ),
    st.sampled_from(["^[a-c]{1,3}$", "^x?y$"]).map(lambda p: {"type": "string", "pattern": p}),
    st.lists(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
        min_size=1,
        max_size=3,
    ).map(lambda values: {"enum": values}),
)


def objects(inner):
    names = st.dictionaries(st.text("abé ", min_size=1, max_size=3), inner, max_size=3)
    return names.flatmap(
        lambda properties: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(properties),
                "required": st.lists(st.sampled_from(sorted(properties)), unique=True)
                if properties
                else st.just([]),
            }
        )
    )


SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        objects(inner),
        st.builds(
            lambda items, most: {"type": "array", "items": items, "maxItems": most},
            inner,
            st.integers(0, 2),
        ),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
    ),
    max_leaves=4,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SCHEMAS, min_size=1, max_size=4), st.integers(0, 2**16))
def test_every_row_fits_its_own_schema(model, schemas, seed):
    answers = model.generate([bound(model, schema) for schema in schemas], replace(WARM, seed=seed))
    for schema, answer in zip(schemas, answers, strict=True):
        validator = jsonschema.Draft202012Validator(schema)
        validator.check_schema(schema)
        validator.validate(json.loads(answer.text))


def test_a_free_row_is_what_it_is_alone(model):
    free, short = model.prompt("Who is it?"), Sampling(max_new_tokens=12)
    (alone,) = model.generate([free], short)
    rows = model.generate([bound(model, {"type": "boolean"}), free], short)
    assert rows[0].text in {"true", "false"}
    assert rows[1] == alone


def test_pieces_join_to_the_whole(model):
    prompt = bound(model, PERSON)
    (answer,) = model.generate([prompt], WARM)
    assert "".join(model.stream(prompt, WARM)) == answer.text
    jsonschema.validate(json.loads(answer.text), PERSON)


def test_the_likeliest_allowed_token_is_taken(model):
    """A greedy answer is the likeliest of what is allowed, also if the model wants another."""
    prompt = bound(model, {"enum": ["north", "south"]})
    (answer,) = model.generate([prompt])
    with torch.no_grad():
        for place, token in enumerate(answer.ids):
            before = model.decode(answer.ids[:place])
            rest = [f'"{word}"' for word in ("north", "south")]
            rest = [word.removeprefix(before) for word in rest if word.startswith(before)]
            texts = {id: model.decode([id]) for id in range(len(model.tokenizer))}
            allowed = [
                i
                for i, text in texts.items()
                if text and any(word.startswith(text) for word in rest)
            ]
            ids = torch.tensor([prompt.prefix + prompt.question + answer.ids[:place]])
            scores = model.model(ids).logits[0, -1]
            if len(rest) > 1:  # else one text is left, and it is spelled as it is tokenized
                assert token == max(allowed, key=scores.tolist().__getitem__)
    assert json.loads(answer.text) in {"north", "south"}


def test_a_model_without_a_template_is_held_as_well():
    model = tiny_gpt2()
    jsonschema.validate(json.loads(said(model, PERSON, replace(WARM, max_new_tokens=200))), PERSON)


def test_texts_of_special_tokens_stay_text(model):
    """A string may spell a special token; the token itself never comes."""
    word = "<|im_end|>"
    (answer,) = model.generate([bound(model, {"const": word})], Sampling(max_new_tokens=40))
    assert json.loads(answer.text) == word
    assert model.tokenizer.convert_tokens_to_ids(word) not in answer.ids[:-1]


def test_objects_get_no_unnamed_fields_unless_their_schema_speaks_of_them():
    def closed(schema):
        return json.loads(constraint_of(schema).schema) != schema

    named = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert closed(named)
    assert closed({"type": "array", "items": named})
    assert closed({"$defs": {"x": named}, "$ref": "#/$defs/x"})
    assert not closed({"type": "object"})
    assert not closed({**named, "additionalProperties": {"type": "string"}})
    assert not closed({**named, "required": ["b"]})
    assert not closed({**named, "patternProperties": {"^b": {}}})
    assert not closed({"allOf": [named, {"properties": {"b": {}}, "required": ["b"]}]})
    assert not closed({"enum": [{"properties": {"a": 1}}]})  # a value, no schema


# -- what is no answer is an error


@pytest.mark.parametrize("tokens", [1, 5, 17])
def test_half_an_answer_is_an_error(model, tokens):
    prompt, few = bound(model, PERSON), Sampling(max_new_tokens=tokens)
    message = rf"at most {tokens} tokens .*beginning of one: '\{{"
    with pytest.raises(IncompleteAnswerError, match=message) as cut:
        model.generate([prompt], few)
    assert "more tokens" in cut.value.hint
    pieces = model.stream(prompt, few)
    with pytest.raises(IncompleteAnswerError):
        list(pieces)


def test_a_number_that_may_go_on_is_half_an_answer(model):
    with pytest.raises(IncompleteAnswerError):
        model.generate([bound(model, {"type": "integer", "minimum": 10**6})], Sampling(7))


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"x-guidance": {"lenient": True}, "not": {"type": "string"}}, "not"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf"),
        ({"$ref": "#/$defs/gone"}, "gone"),
        ({"enum": []}, "empty"),
        (reduce(lambda inner, _: {"items": inner}, range(300), {"type": "string"}), "recursion"),
    ],
)
def test_a_schema_that_decoding_cannot_see_to_is_refused(model, schema, named):
    with pytest.raises(InvalidInputError, match=named):
        model.generate([bound(model, schema)])


def test_a_schema_is_a_mapping_or_a_class_that_has_one():
    class Person:
        @classmethod
        def model_json_schema(cls):
            return {"type": "integer"}

    assert constraint_of(None) is None
    assert constraint_of(Person) == Constraint('{"type": "integer"}')
    for wrong in ("a text", 3, int, ["a"]):
        with pytest.raises(InvalidInputError, match="`schema` must be a JSON schema or a class"):
            constraint_of(wrong)
    with pytest.raises(InvalidInputError, match="`schema` must be JSON"):
        constraint_of({"const": {1, 2}})


def test_a_stop_text_would_cut_an_answer(model):
    with pytest.raises(InvalidInputError, match="`stop` must be empty"):
        model.generate([bound(model, PERSON)], Sampling(stop=("}",)))


def test_a_tokenizer_of_an_unknown_kind_is_named(model):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    )
    constraints = Constraints(words, name="wordy", stop_ids=[0])
    with pytest.raises(IncompatibleModelError, match="wordy"):
        constraints.keeper(Constraint("{}"))


def test_the_missing_library_is_named(monkeypatch):
    model = tiny_llama()
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingDependencyError, match=r"memkit-sdk\[structured\]"):
        model.generate([bound(model, PERSON)])


def test_compiled_schemas_are_bounded(model):
    for number in range(2 * KEPT):
        model.constraints.keeper(Constraint(json.dumps({"const": number})))
    assert model.constraints._compiled.cache_info().currsize == KEPT


@pytest.mark.slow
def test_threads_share_compiled_schemas(monkeypatch):
    """While more schemas are in use than are kept, one thread lets go of what another asks for."""
    matcher = SimpleNamespace(is_stopped=lambda: False)
    matcher.deep_copy = lambda: matcher
    monkeypatch.setattr("memkit.models.constrained.KEPT", 2)
    monkeypatch.setattr(Constraints, "_compile", lambda *_: matcher)
    constraints = Constraints(None, name="shared", stop_ids=[1])
    wanted = 5000 * [Constraint(json.dumps({"const": number})) for number in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            works = [pool.submit(lambda: list(map(constraints.keeper, wanted))) for _ in range(4)]
            assert all(len(work.result()) == len(wanted) for work in works)
    finally:
        sys.setswitchinterval(interval)
