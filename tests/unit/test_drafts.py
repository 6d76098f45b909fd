"""What `Memory.add` accepts, as drafts."""

from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from memkit.errors import InvalidInputError
from memkit.types import Draft
from memkit.types.drafts import drafts_of

BARE = Draft("")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_text_is_completed_by_what_was_given_beside_it():
    beside = ("Who?", "Ann", {"user": "u1"}, {"a": 1}, "id", "key", 5, False, MARCH)
    assert drafts_of("Ann did it.", Draft("", *beside)) == ([Draft("Ann did it.", *beside)], True)


@pytest.mark.parametrize(
    "value",
    [
        Draft("a", "q", "a", {"user": "u1"}),
        {"text": "a", "question": "q", "answer": "a", "scope": {"user": "u1"}},
        MappingProxyType(
            {"text": "a", "question": "q", "answer": "a", "scope": {"user": "u1"}, "id": None}
        ),
    ],
    ids=["draft", "dict", "mapping"],
)
def test_a_single_draft_or_dict_stays_as_it_is(value):
    assert drafts_of(value, BARE) == ([Draft("a", "q", "a", {"user": "u1"})], True)


@pytest.mark.parametrize("kind", [list, tuple, iter, lambda items: (item for item in items)])
def test_any_iterable_gives_a_list(kind):
    items = ["a", Draft("b", id="b"), {"text": "c", "pinned": True}]
    assert drafts_of(kind(items), BARE) == (
        [Draft("a"), Draft("b", id="b"), Draft("c", pinned=True)],
        False,
    )


def test_plain_texts_in_a_list_share_what_was_given_beside_it():
    rest = Draft("", scope={"user": "u1"}, ttl=5)
    drafts = [Draft("a", scope={"user": "u1"}, ttl=5), Draft("b", scope={"user": "u1"}, ttl=5)]
    assert drafts_of({"a": 0, "b": 1}.keys(), rest) == (drafts, False)


def test_an_empty_list_is_no_draft():
    assert drafts_of([], Draft("", scope={"user": "u1"})) == ([], False)


@pytest.mark.parametrize("beside", [{"question": "q"}, {"answer": "a"}, {"id": "x"}, {"key": "k"}])
@pytest.mark.parametrize(
    ("value", "got"), [(["a"], "a list"), (Draft("a"), "a draft"), ({"text": "a"}, "a draft")]
)
def test_what_belongs_to_a_single_text_is_refused_beside_others(value, got, beside):
    with pytest.raises(InvalidInputError, match=f"belong to a single text, got {got}") as caught:
        drafts_of(value, Draft("", **beside))
    assert "Draft" in caught.value.hint


@pytest.mark.parametrize(
    "beside",
    [{"scope": {"u": "1"}}, {"metadata": {"a": 1}}, {"ttl": 5}, {"pinned": True}, {"at": MARCH}],
    ids=lambda beside: next(iter(beside)),
)
@pytest.mark.parametrize(
    ("value", "got"),
    [
        ([Draft("a")], "a list with drafts"),
        (["a", {"text": "b"}], "a list with drafts"),
        (Draft("a"), "a draft"),
        ({"text": "a"}, "a draft"),
    ],
)
def test_what_would_have_no_effect_on_drafts_is_refused(value, got, beside):
    with pytest.raises(InvalidInputError, match=f"belong to plain texts, got {got}\n"):
        drafts_of(value, Draft("", **beside))


def test_unknown_keys_are_named_beside_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"got \['txt', 7\]") as caught:
        drafts_of([{"text": "a", "txt": "b", 7: 8}], BARE)
    known = "text, question, answer, scope, metadata, id, key, ttl, pinned, at"
    assert known in caught.value.hint


def test_a_dict_without_text_is_refused():
    with pytest.raises(InvalidInputError, match=r"the key 'text', got \{'question': 'q'\}"):
        drafts_of({"question": "q"}, BARE)


@pytest.mark.parametrize("value", [None, 7, b"bytes", bytearray(b"bytes")])
def test_what_is_neither_text_nor_iterable_is_refused(value):
    with pytest.raises(InvalidInputError, match="expected `text` to be a string or a list"):
        drafts_of(value, BARE)
