from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.types.scope import contains, parse_scope_key, scope_key, visible_keys
from memkit.types.validate import MAX_KEYS, normal_form

WORDS = (
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
    )
    .map(normal_form)
    .filter(str.strip)
)
SCOPES = st.dictionaries(WORDS, WORDS, max_size=MAX_KEYS)
# Few keys and values, so that scopes have something in common.
SMALL_SCOPES = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"))


def test_a_scope_key_is_sorted_compact_json_with_characters_as_they_are():
    assert scope_key({"user": "u1", "session": "s7"}) == '{"session":"s7","user":"u1"}'
    assert scope_key({"名": "愛"}) == '{"名":"愛"}'
    assert scope_key({}) == "{}"


@given(SCOPES)
def test_a_scope_key_is_read_back_as_it_was(scope):
    assert parse_scope_key(scope_key(scope)) == scope
    assert scope_key(dict(reversed(scope.items()))) == scope_key(scope)


def test_a_query_sees_the_subsets_of_its_scope():
    assert visible_keys({"a": "1", "b": "2"}) == [
        "{}",
        '{"a":"1"}',
        '{"b":"2"}',
        '{"a":"1","b":"2"}',
    ]
    assert visible_keys({}) == ["{}"]
    assert len(set(visible_keys({str(n): "x" for n in range(MAX_KEYS)}))) == 64


@given(SMALL_SCOPES, SMALL_SCOPES)
def test_visible_means_every_key_of_the_record_is_in_the_query(record, query):
    visible = all(key in query and query[key] == value for key, value in record.items())
    assert (scope_key(record) in visible_keys(query)) == visible
    assert contains(query, record) == visible
    assert contains(scope_key(query), record) == visible


@given(SCOPES, st.data())
def test_visibility_holds_for_odd_strings(query, data):
    keys = data.draw(st.sets(st.sampled_from(sorted(query)))) if query else set()
    record = {key: query[key] for key in keys}
    assert scope_key(record) in visible_keys(query)
    record |= data.draw(st.dictionaries(WORDS, WORDS, max_size=2))
    if len(record) > MAX_KEYS:
        return
    assert (scope_key(record) in visible_keys(query)) == (record.items() <= query.items())


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        (None, "`scope` must be a mapping, got None"),
        ("user", "`scope` must be a mapping, got the string 'user'"),
        ({"user": 7}, "non-empty strings, got 'user': 7"),
        ({7: "u1"}, "non-empty strings, got 7: 'u1'"),
        ({"user": ""}, "non-empty strings, got 'user': ''"),
        ({" ": "u1"}, "non-empty strings, got ' ': 'u1'"),
        ({"user": None}, "non-empty strings, got 'user': None"),
        ({"user": "a\0b"}, "`scope` must not contain NUL characters, found one at position 1"),
        ({"user": "\ud800"}, "`scope` must be valid Unicode"),
        ({str(n): "x" for n in range(7)}, "at most 6 keys, got 7"),
    ],
)
def test_malformed_scopes_are_refused(scope, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        scope_key(scope)
    assert caught.value.hint


def test_a_scope_key_is_json():
    assert json.loads(scope_key({"a": 'say "hi"', "b": "\\"})) == {"a": 'say "hi"', "b": "\\"}
