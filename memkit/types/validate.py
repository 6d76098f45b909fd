"""Checks of arguments, before anything is stored; each raises `InvalidInputError`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

from memkit.errors import InvalidInputError
from memkit.types.records import Draft, Period
from memkit.types.value import shortened

MAX_CHARACTERS = 2_000_000
MAX_DEPTH = 32
MAX_ID_CHARACTERS = 256
MAX_TTL = 1000 * 365.25 * 86_400  # seconds; 1,000 years

_INT64 = range(-(2**63), 2**63)


# What stands for a value where verbs take a string: ids of records, names of modules.
_HANDLES = ("record_id", "id", "name")


def describe(value: object) -> str:
    """Say in a few words what came instead of what was expected."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str):
        return f"the string {shortened(repr(value), 80)}"
    return f"{type(value).__name__}: {shortened(repr(value), 80)}"


def check_id(name: str, value: object) -> None:
    """Check that an id of a record, or the name of a module, is a string."""
    if not isinstance(value, str):
        raise InvalidInputError(
            f"`{name}` must be a string, got {describe(value)}", _handle_of(value)
        )


def check_ids(name: str, values: object, *, single: bool = False) -> None:
    """Check that ids are a list, or another collection, of strings.

    Args:
        name: Of the argument.
        values: What came.
        single: Whether a single string would do as well, for the message.
    """
    expected = "a string or a list of strings" if single else "a list of strings"
    if isinstance(values, str):
        raise InvalidInputError(
            f"`{name}` must be {expected}, got {describe(values)}", "Put it into a list."
        )
    if isinstance(values, bytes | Mapping) or not isinstance(values, Collection):
        raise InvalidInputError(
            f"`{name}` must be {expected}, got {describe(values)}", _handle_of(values)
        )
    for value in values:
        if name == "ids":
            check_id("id", value)  # most often it was given alone
        elif not isinstance(value, str):
            raise InvalidInputError(
                f"`{name}` must be {expected}, got a list with {describe(value)}",
                _handle_of(value),
            )


def _handle_of(value: object) -> str:
    """Hint for a value that was given where its id or name was expected."""
    handles = [handle for handle in _HANDLES if isinstance(getattr(value, handle, None), str)]
    return f"Give its `.{handles[0]}`." if handles else ""


def check_path(name: str, value: object) -> Path:
    """Check that a value is a path, and give it as one."""
    if isinstance(value, str):
        check_text(name, value)
    elif not isinstance(value, Path):
        raise InvalidInputError(f"`{name}` must be a string or a path, got {describe(value)}")
    return Path(value)


def check_part(name: str, value: object, kind: type, expected: str, hint: str = "") -> None:
    """Check that a part that the caller hands over is an instance of what it has to be."""
    if not isinstance(value, kind):
        refuse_part(name, value, expected, hint)


def check_methods(name: str, value: object, methods: Iterable[str], expected: str) -> None:
    """Check that a part that the caller hands over has what its protocol asks for."""
    missing = [method for method in methods if not hasattr(value, method)]
    if isinstance(value, type) or missing:
        refuse_part(name, value, expected, f"It has no `{'`, no `'.join(missing)}`.")


def refuse_part(name: str, value: object, expected: str, hint: str = "") -> NoReturn:
    """Refuse a part that is not what was expected; a class is most often meant as an instance."""
    if isinstance(value, type):
        hint = f"Give an instance of it: {value.__name__}(...)."
    raise InvalidInputError(f"`{name}` must be {expected}, got {describe(value)}", hint)


def check_result(part: str, value: object, kind: type, expected: str) -> None:
    """Check what a part of the caller's own has returned."""
    if not isinstance(value, kind):
        raise InvalidInputError(f"{part} must return {expected}, got {describe(value)}")


def check_results(part: str, values: object, kind: type, expected: str) -> None:
    """Check what a part of the caller's own has returned: a list of values of one kind."""
    if not isinstance(values, list | tuple):
        raise InvalidInputError(f"{part} must return {expected}, got {describe(values)}")
    for value in values:
        if not isinstance(value, kind):
            raise InvalidInputError(
                f"{part} must return {expected}, got a list with {describe(value)}"
            )


def validate_draft(draft: Draft) -> None:
    """Check a draft, except for its scope, which `memkit.types.scope.scope_key` checks."""
    check_content(draft.text, draft.question, draft.answer)
    check_metadata(draft.metadata)
    for name, value in (("id", draft.id), ("key", draft.key)):
        if value is not None:
            check_text(name, value, longest=MAX_ID_CHARACTERS)
    if draft.at is not None:
        check_time("at", draft.at)
    if draft.ttl is not None:
        ttl_seconds(draft.ttl)
        if draft.pinned:
            raise InvalidInputError(
                f"what is pinned does not expire, got `pinned` and `ttl` {draft.ttl!r}",
                "Give one of the two.",
            )


def ttl_seconds(ttl: object) -> float:
    """Give a time to live, a number of seconds or a timedelta, in seconds."""
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidInputError(f"`ttl` must be seconds or a timedelta, got {ttl!r}")
    if not 0 < seconds <= MAX_TTL:  # NaN is neither
        raise InvalidInputError(
            f"`ttl` must be above 0 and at most 1,000 years, got {ttl!r}",
            "None is for what never expires; forget() erases at once.",
        )
    return float(seconds)


def check_time(name: str, value: object) -> None:
    """Check that a value is a datetime with a time zone."""
    if not isinstance(value, datetime):
        raise InvalidInputError(f"`{name}` must be a datetime, got {value!r}")
    if value.utcoffset() is None:
        raise InvalidInputError(
            f"`{name}` must have a time zone, got the naive {value!r}",
            "For example datetime.now(UTC), or value.astimezone() if it is local time.",
        )


def check_period(period: Period) -> None:
    """Check that the bounds of a period have time zones, and that it ends after it begins."""
    for name in ("since", "until", "as_of"):
        if (value := getattr(period, name)) is not None:
            check_time(name, value)
    if period.since and period.until and period.since > period.until:
        raise InvalidInputError(
            f"`since` must not be later than `until`, got {period.since!r} and {period.until!r}"
        )


def check_content(text: object, question: object, answer: object) -> None:
    """Check the texts of a record; question and answer come together or not at all."""
    check_text("text", text)
    if (question is None) != (answer is None):
        given, missing = ("answer", "question") if question is None else ("question", "answer")
        raise InvalidInputError(
            f"`{given}` was given without `{missing}`",
            "Give both or neither: one is asked, the other is what should be recalled.",
        )
    if question is not None:
        check_text("question", question)
        check_text("answer", answer)


def check_text(name: str, text: object, *, longest: int = MAX_CHARACTERS) -> None:
    """Check that a text is not blank, has at most ``longest`` characters, and can be stored."""
    if not isinstance(text, str):
        raise InvalidInputError(f"`{name}` must be a string, got {type(text).__name__}: {text!r}")
    if not text.strip():
        raise InvalidInputError(f"`{name}` must not be empty or blank, got {text[:20]!r}")
    if len(text) > longest:
        raise InvalidInputError(
            f"`{name}` must have at most {longest:,} characters, got {len(text):,}",
            "Split it into several records." if longest == MAX_CHARACTERS else "",
        )
    check_characters(name, text)


def check_characters(name: str, text: str) -> None:
    """Check that a string is the same after it was written as UTF-8 and read back."""
    nul = text.find("\0")
    if nul >= 0:
        raise InvalidInputError(
            f"`{name}` must not contain NUL characters, found one at position {nul}",
            "Remove it; a text with NULs is most often binary data or a wrong decoding.",
        )
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidInputError(
            f"`{name}` must be valid Unicode, found the lone surrogate "
            f"{text[exc.start]!r} at position {exc.start}",
            "Decode the source with the right encoding, or with errors='replace'.",
        ) from exc


def check_metadata(metadata: object) -> None:
    """Check that metadata is a JSON object that can be stored without loss."""
    if not isinstance(metadata, Mapping):
        raise InvalidInputError(f"`metadata` must be a mapping, got {metadata!r}")
    _check_value("metadata", metadata, depth=0)


def _check_value(name: str, value: object, *, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"`metadata` must be at most {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for key, child in value.items():
            if not isinstance(key, str):
                raise InvalidInputError(f"keys of `{name}` must be strings, got {key!r}")
            check_characters(name, key)
            _check_value(f"{name}.{key}", child, depth=depth + 1)
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            _check_value(f"{name}[{index}]", child, depth=depth + 1)
    elif isinstance(value, str):
        check_characters(name, value)
    elif not _is_json_scalar(value):
        raise InvalidInputError(
            f"`{name}` must be a JSON value, got {type(value).__name__}: {value!r}",
            "JSON has strings, finite numbers (integers of at most 64 bits), booleans, null, "
            "lists and objects.",
        )


def _is_json_scalar(value: object) -> bool:
    match value:
        case None | bool():
            return True
        case int():
            return value in _INT64
        case _:
            return isinstance(value, float) and math.isfinite(value)


def check_limit(name: str, value: object, *, least: int = 1) -> None:
    """Check that a number of things is an integer of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidInputError(f"`{name}` must be an integer of at least {least}, got {value!r}")


def check_number(name: str, value: object) -> None:
    """Check that a value is a number; its range is for the caller to check."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidInputError(f"`{name}` must be a number, got {describe(value)}")
