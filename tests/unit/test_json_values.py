"""Which Python values are JSON, as metadata, and what they become."""

import enum
import http
import math
import re
import unicodedata
from collections import OrderedDict, UserString
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memkit.errors import InvalidInputError
from memkit.types.validate import check_metadata, check_object, check_scalar


class Colour(enum.StrEnum):
    RED = "red"


class Older(str, enum.Enum):  # noqa: UP042 - as it was written before `StrEnum`
    RED = "red"


class Number(int):
    """Compares like nothing else, and calls itself something else."""

    def __eq__(self, other):
        return False

    def __repr__(self):
        return "a number"

    __hash__ = int.__hash__


class Share(float):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (http.HTTPStatus.OK, 200),
        (enum.IntFlag("Bits", "A B")(3), 3),
        (Number(7), 7),
        (Share(0.25), 0.25),
        (Colour.RED, "red"),
        (Older.RED, "red"),
        (np.str_("red"), "red"),
        (np.bool_(True), True),
        (np.int64(-5), -5),
        (np.uint8(255), 255),
        (np.float64(0.1), 0.1),
        (np.float32(0.1), 0.10000000149011612),
        (np.float16(0.5), 0.5),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        ("e\u0301", "\u00e9"),
    ],
)
def test_what_is_the_same_in_json_becomes_the_plain_value(value, plain):
    checked = check_scalar("value", value)
    assert checked == plain
    assert type(checked) is type(plain)
    assert check_metadata({"a": {"b": [value]}}) == {"a": {"b": [plain]}}


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (math.nan, "as a string"),
        (-math.inf, "as a string"),
        (Share("inf"), "as a string"),
        (2**63, "as a string"),
        (Number(-(2**63) - 1), "as a string"),
        (10**4000, "as a string"),
        (np.uint64(2**63), ""),
        (np.float32("nan"), ""),
        (np.longdouble(1), "as_integer|float"),
        (np.complex64(1), ""),
        (np.timedelta64(5, "ns"), ""),
        (np.datetime64("2025-01-01"), ""),
        (np.array([1, 2]), "tolist"),
        (Decimal("0.5"), r"float\(value\)"),
        (Fraction(1, 2), r"float\(value\)"),
        (datetime(2025, 1, 1, tzinfo=UTC), "isoformat"),
        (date(2025, 1, 1), "isoformat"),
        (timedelta(1), "total_seconds"),
        (Path("a"), r"str\(value\)"),
        (b"bytes", "decode"),
        (UUID(int=1), ""),
        (UserString("a"), ""),
        (enum.Enum("Plain", "A").A, ""),
        ({1, 2}, ""),
        (object(), ""),
        ((n for n in "a"), ""),
        (int, ""),
    ],
)
def test_what_is_no_json_is_refused_with_a_way_out(value, hint):
    with pytest.raises(InvalidInputError, match=r"`metadata\.a` must be a JSON value") as caught:
        check_metadata({"a": value})
    assert "JSON has strings, finite numbers" in caught.value.hint
    assert re.search(hint, caught.value.hint)
    with pytest.raises(InvalidInputError):
        check_scalar("value", value)


def test_mappings_and_tuples_become_dicts_and_lists():
    value = {"a": OrderedDict(b=(1, MappingProxyType({"c": ()})))}
    checked = check_metadata(MappingProxyType(value))
    assert checked == {"a": {"b": [1, {"c": []}]}}
    assert type(checked["a"]) is dict
    assert type(checked["a"]["b"][1]) is dict


def test_what_holds_itself_is_refused():
    circle = []
    circle.append(circle)
    with pytest.raises(InvalidInputError, match="`metadata` must be at most 32 levels deep"):
        check_metadata({"a": circle})


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"\u00e9": 1, "e\u0301": 2}, "must differ in Unicode normal form C, got 'é' twice"),
        ({"a.b": 1, "a": {"b": 2}}, "must have one value for 'a.b', got several"),
        ({"a": {"b.c": 1}, "a.b": {"c": 1}}, "must have one value for 'a.b.c', got several"),
        ({"k" * 257: 1}, "must have at most 256 characters, got 257"),
        ({"a": {5: 1}}, "keys of `metadata.a` must be strings, got int: 5"),
        ({"a": "\0"}, "`metadata.a` must not contain NUL"),
        ({"a": {"\ud800": 1}}, "`metadata.a` must be valid Unicode"),
    ],
)
def test_keys_and_texts_that_are_refused(metadata, message):
    with pytest.raises(InvalidInputError, match=message):
        check_metadata(metadata)


def test_full_stops_are_fine_where_they_mean_one_thing():
    metadata = {"user.email": "x", "user": {"name": "y", "a.b": [{"c.d": 1, "c": {"d": 1}}]}}
    assert check_metadata(metadata) == metadata
    assert check_object("value", {"a.b": 1, "a": {"b": 2}}) == {"a.b": 1, "a": {"b": 2}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), VALUES, max_size=3))
def test_what_passes_is_in_normal_form_and_passes_again(metadata):
    try:
        checked = check_metadata(metadata)
    except InvalidInputError:
        return
    assert check_metadata(checked) == checked
    assert repr(checked) == unicodedata.normalize("NFC", repr(checked))
