"""Turns what callers hand in to be stored into drafts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types.records import Draft
from memkit.types.validate import describe, shown

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
    items: list[DraftLike]
    match value:
        case str():
            return [replace(rest, text=value)], True
        case Draft() | Mapping():
            items, single = [value], True
        case Iterable() if not isinstance(value, bytes | bytearray):
            items, single = list(_up_to_the_first_wrong(value)), False
        case _:
            raise InvalidInputError(
                "expected `text` to be a string or a list (or another iterable) of strings, "
                f"drafts or dicts, got {describe(value)}"
            )
    _refuse_without_effect(rest, items, "a draft" if single else "a list")
    if single:
        return [_draft_of(items[0], rest)], True
    return [_draft_in_list(place, item, rest) for place, item in enumerate(items)], False


def _up_to_the_first_wrong(items: Iterable[DraftLike]) -> Iterator[DraftLike]:
    """Items up to the first that is none, and one more: it is refused by its place in a list."""
    wrong = False
    for item in items:
        yield item
        if wrong:
            return
        wrong = not isinstance(item, str | Draft | Mapping)


def _refuse_without_effect(rest: Draft, items: Sequence[DraftLike], kind: str) -> None:
    # By identity: what came is not checked yet, and an array, say, has no truth.
    if not all(part is None for part in (rest.question, rest.answer, rest.id, rest.key)):
        raise InvalidInputError(
            f"`question`, `answer`, `id` and `key` belong to a single text, got {kind}",
            hint="put them into `Draft` objects: add([Draft(text, question, answer), ...])",
        )
    plain = all(_is_empty(part) for part in (rest.scope, rest.metadata))
    given = not (plain and rest.pinned is False and rest.ttl is None and rest.at is None)
    if given and any(isinstance(item, Draft | Mapping) for item in items):
        kind = "a list with drafts" if kind == "a list" else kind
        raise InvalidInputError(
            f"`scope`, `metadata`, `ttl`, `pinned` and `at` belong to plain texts, got {kind}",
            hint="put them into the drafts: Draft(text, scope={'user': 'u1'})",
        )


def _is_empty(value: object) -> bool:
    return isinstance(value, Mapping) and not value


def _draft_in_list(place: int, item: DraftLike, rest: Draft) -> Draft:
    """One draft of a list; what is in it is checked by the ledger."""
    try:
        return _draft_of(item, rest)
    except InvalidInputError as exc:
        raise InvalidInputError(f"entry {place} of the list: {exc.message}", exc.hint) from exc


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
    if values.keys() >= {"role", "content"}:
        raise InvalidInputError(
            f"expected a draft, got the message {shown(dict(values))}",
            hint="add_messages() takes messages with `role` and `content`",
        )
    unknown = [key for key in values if key not in FIELDS]
    if unknown:
        raise InvalidInputError(
            f"expected the keys of a dict to be fields of a draft, got {shown(unknown)}",
            hint=f"the fields are {known}; what else is to be stored belongs into `metadata`",
        )
    if "text" not in values:
        raise InvalidInputError(
            f"expected a dict to have the key 'text', got {shown(dict(values))}",
            hint=f"the fields of a draft are {known}",
        )
    return Draft(**values)
