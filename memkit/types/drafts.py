"""Turns what callers hand in to be stored into drafts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types.records import Draft

DraftLike = str | Draft | Mapping[str, Any]

FIELDS = tuple(field.name for field in fields(Draft))


def drafts_of(value: DraftLike | Iterable[DraftLike], rest: Draft) -> tuple[list[Draft], bool]:
    """Make drafts of whatever `Memory.add` accepts.

    Args:
        value: A text, a draft, a dict of a draft's fields, or any iterable of these.
        rest: What was given beside it. It completes plain texts, while drafts and dicts stay as
            they are; its ``text`` is not read.

    Returns:
        The drafts in order, and whether ``value`` was a single one.

    Raises:
        InvalidInputError: If ``value`` is something else, if a dict has unknown keys or no text,
            or if a part of ``rest`` would have no effect: above all a scope, without which a
            draft is shared with everybody.
    """
    single = isinstance(value, str | Draft | Mapping)
    items = _items(value)
    if not isinstance(value, str):
        kind = "a draft" if single else "a list"
        _refuse_what_belongs_to_a_text(rest, kind)
        if any(isinstance(item, Draft | Mapping) for item in items):
            _refuse_what_belongs_to_texts(rest, kind if single else "a list with drafts")
    return [_draft_of(item, rest) for item in items], single


def _items(value: DraftLike | Iterable[DraftLike]) -> list[DraftLike]:
    match value:
        case str() | Draft() | Mapping():
            return [value]
        case Iterable() if not isinstance(value, bytes | bytearray):
            return list(value)
        case _:
            raise InvalidInputError(
                "expected `text` to be a string or a list (or another iterable) of strings, "
                f"drafts or dicts, got {value!r}"
            )


def _refuse_what_belongs_to_a_text(rest: Draft, kind: str) -> None:
    if any(part is not None for part in (rest.question, rest.answer, rest.id, rest.key)):
        raise InvalidInputError(
            f"`question`, `answer`, `id` and `key` belong to a single text, got {kind}",
            hint="put them into `Draft` objects: add([Draft(text, question, answer), ...])",
        )


def _refuse_what_belongs_to_texts(rest: Draft, kind: str) -> None:
    times = rest.ttl is not None or rest.at is not None
    if rest.scope or rest.metadata or rest.pinned or times:
        raise InvalidInputError(
            f"`scope`, `metadata`, `ttl`, `pinned` and `at` belong to plain texts, got {kind}",
            hint="put them into the drafts: Draft(text, scope={'user': 'u1'})",
        )


def _draft_of(item: DraftLike, rest: Draft) -> Draft:
    """One draft; an item that is no text is refused where drafts are validated."""
    match item:
        case Draft():
            return item
        case Mapping():
            return _draft_of_fields(item)
        case _:
            return replace(rest, text=item)


def _draft_of_fields(values: Mapping[str, Any]) -> Draft:
    known = ", ".join(FIELDS)
    unknown = [key for key in values if key not in FIELDS]
    if unknown:
        raise InvalidInputError(
            f"expected the keys of a dict to be fields of a draft, got {unknown}",
            hint=f"the fields are {known}; what else is to be stored belongs into `metadata`",
        )
    if "text" not in values:
        raise InvalidInputError(
            f"expected a dict to have the key 'text', got {dict(values)!r}",
            hint=f"the fields of a draft are {known}",
        )
    return Draft(**values)
