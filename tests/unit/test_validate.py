from __future__ import annotations

import math

import pytest

from memkit.errors import InvalidInputError
from memkit.types import Draft
from memkit.types.validate import validate_draft


@pytest.mark.parametrize(
    "text",
    [
        "x",
        " padded ",
        "👩‍👩‍👧‍👦",
        "שלום עולם",
        "e\u0301",
        "\ufeffmark",
        "\x01\x7f\u200b",
        "a" * 2_000_000,
    ],
    ids=["short", "padded", "emoji", "rtl", "combining", "bom", "controls", "longest"],
)
def test_odd_texts_are_fine(text):
    validate_draft(Draft(text=text, question=text, answer=text, metadata={"k": text}))


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (Draft(text=""), "`text` must not be empty or blank, got ''"),
        (Draft(text=" \n\t\u2003"), "`text` must not be empty or blank"),
        (Draft(text=None), "`text` must be a string, got None"),
        (Draft(text=b"bytes"), "`text` must be a string, got bytes"),
        (Draft(text="a" * 2_000_001), "at most 2,000,000 characters, got 2,000,001"),
        (Draft(text="abc\0def"), "NUL characters, found one at position 3"),
        (Draft(text="ab\udc80"), r"lone surrogate '\\udc80' at position 2"),
        (Draft(text="t", question="q"), "`question` was given without `answer`"),
        (Draft(text="t", answer="a"), "`answer` was given without `question`"),
        (Draft(text="t", question=" ", answer="a"), "`question` must not be empty"),
        (Draft(text="t", question="q", answer=""), "`answer` must not be empty"),
        (Draft(text="t", question="q", answer="\0"), "`answer` must not contain NUL"),
        (Draft(text="t", id=""), "`id` must not be empty"),
        (Draft(text="t", id=7), "`id` must be a string, got int: 7"),
        (Draft(text="t", id="x" * 257), "`id` must have at most 256 characters"),
        (Draft(text="t", metadata=[1]), r"`metadata` must be a mapping, got list: \[1\]"),
        (Draft(text="t", metadata={1: 2}), "keys of `metadata` must be strings, got int: 1"),
        (Draft(text="t", metadata={"a": {"b": {3: 1}}}), "keys of `metadata.a.b` must be strings"),
        (Draft(text="t", metadata={"a": math.nan}), "`metadata.a` must be a JSON value, got float"),
        (Draft(text="t", metadata={"a": [math.inf]}), r"`metadata.a\[0\]` must be a JSON value"),
        (Draft(text="t", metadata={"a": 2**63}), "`metadata.a` must be a JSON value, got int"),
        (Draft(text="t", metadata={"a": {1, 2}}), "`metadata.a` must be a JSON value, got set"),
        (Draft(text="t", metadata={"a": b""}), "`metadata.a` must be a JSON value, got bytes"),
        (Draft(text="t", metadata={"a": "\0"}), "`metadata.a` must not contain NUL"),
        (Draft(text="t", metadata={"\ud800": 1}), "`metadata` must be valid Unicode"),
    ],
)
def test_what_cannot_be_stored_is_refused(draft, message):
    with pytest.raises(InvalidInputError, match=message):
        validate_draft(draft)


def test_metadata_that_is_too_deep_is_refused():
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"a": deep}
    with pytest.raises(InvalidInputError, match="at most 32 levels deep"):
        validate_draft(Draft(text="t", metadata=deep))
