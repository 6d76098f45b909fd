"""Helps to find what was meant: ids by their first characters, and why nothing was found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memkit.cli.parameters import Fields
from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.types import AnyScope, Scope
from memkit.types.validate import read_json
from memkit.types.value import shortened

if TYPE_CHECKING:
    from memkit import Memory

SHORTEST = 6  # characters of an id
_NAMED = 5  # records in an error


def whole_id(memory: Memory, id: str, scope: AnyScope) -> str:
    """The id that begins with some characters; an id that is whole stays, also an unknown one.

    Args:
        memory: Open.
        id: Of a record or a turn, or at least `SHORTEST` characters of a record's.
        scope: What is seen.

    Raises:
        InvalidInputError: If several records begin so; the hint lists the first of them.
    """
    if len(id) < SHORTEST:
        return id
    try:
        memory.get(id, scope=scope)
    except RecordNotFoundError:
        found = memory.get_by_prefix(id, scope=scope, limit=_NAMED + 1)
        if len(found) > 1:
            named = "; ".join(f"{r.id} {shortened(r.text, 40)}" for r in found[:_NAMED])
            count, more = (f"more than {_NAMED}", "; …") if found[_NAMED:] else (len(found), "")
            raise InvalidInputError(
                f"expected the beginning of one record's id, {count} begin with {id!r}",
                hint=f"give more of it: {named}{more}",
            ) from None
        return found[0].id if found else id
    return id


def why_nothing(memory: Memory, where: Sequence[Fields] | None, scope: AnyScope) -> Iterator[str]:
    """Notes on filters that would find something if a value were no text, as 2021 is."""
    for part in where or ():
        for key, value in part.values.items():
            other = _not_a_text(value)
            if other is not None and memory.count(scope=scope, where={key: other}):
                yield f"{key} is no text here: --where {key}:={value} finds it"


def unused_scope(memory: Memory, scope: Scope) -> Iterator[str]:
    """A note on a scope that has no records of its own, such as a misspelled one."""
    if scope and not memory.count(scope=scope):
        yield f"{fields_shown(scope)} has no records of its own; this is what everybody may see"


def fields_shown(fields: Mapping[str, object]) -> str:
    """Keys with their values, in a line."""
    return ", ".join(f"{key}={value}" for key, value in fields.items())


def _not_a_text(value: object) -> Any:  # noqa: ANN401 - a number or a boolean, else None
    """What a text would be as JSON, if that is a number or a boolean."""
    if not isinstance(value, str):
        return None
    try:
        other = read_json(value)
    except ValueError:
        return None
    return other if isinstance(other, bool | int | float) else None
