"""Entries from elsewhere, checked as if a user had written them."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from collections.abc import Callable

from memkit.errors import InvalidInputError
from memkit.ledger.transfer.export import (
    EXAMPLE_FIELDS,
    ITEM,
    RECORD,
    SYNTHESIS,
    TTL,
    TURN,
    VERSION,
    Entry,
    Kind,
)
from memkit.ledger.turns.turn_table import check_turn
from memkit.types.scope import scope_key
from memkit.types.validate import (
    MAX_ID_CHARACTERS,
    check_characters,
    check_content,
    check_metadata,
    check_text,
    ttl_seconds,
)

_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since 1970: the years 1 to 9999

Check = Callable[[Entry], object]


def check_entry(entry: Entry) -> None:
    """Check an entry by itself: every column is there, and holds what could be added.

    Raises:
        InvalidInputError: If not.
    """
    if entry.get("kind") not in _CHECKS:
        raise InvalidInputError(f"expected one of {sorted(_CHECKS)}, got {entry.get('kind')!r}")
    kind, more, check = _CHECKS[entry["kind"]]
    expected = {"kind", *kind.columns, *more}
    if entry.keys() != expected:
        raise InvalidInputError(
            f"expected a {kind.name} to have {sorted(expected)}, it lacks "
            f"{sorted(expected - entry.keys())} and has also {sorted(entry.keys() - expected)}"
        )
    check(entry)


def _ttl(entry: Entry) -> None:
    scope_key(entry["scope"])
    ttl_seconds(entry["seconds"])


def _record(entry: Entry) -> None:
    check_text("id", entry["id"], longest=MAX_ID_CHARACTERS)
    if entry["key"] is not None:
        check_text("key", entry["key"], longest=MAX_ID_CHARACTERS)
    scope_key(entry["scope"])
    _content(entry)
    for name in ("created_at", "updated_at"):
        _time(name, entry[name])
    for name in ("expires_at", "said_at"):
        _time_or_none(name, entry[name])
    if not isinstance(entry["pinned"], bool):
        raise InvalidInputError(f"`pinned` must be true or false, got {entry['pinned']!r}")
    if entry["pinned"] and entry["expires_at"] is not None:
        raise InvalidInputError("what is pinned does not expire, got `pinned` and `expires_at`")


def _version(entry: Entry) -> None:
    _content(entry)
    _time("created_at", entry["created_at"])
    _time_or_none("said_at", entry["said_at"])


def _synthesis(entry: Entry) -> None:
    for name in ("content_hash", "synthesizer"):
        check_text(name, entry[name])
    if not isinstance(entry["examples"], list):
        raise InvalidInputError(f"`examples` must be a list, got {entry['examples']!r}")
    for example in entry["examples"]:
        if not isinstance(example, dict) or example.keys() != set(EXAMPLE_FIELDS):
            raise InvalidInputError(
                f"expected an example to have {sorted(EXAMPLE_FIELDS)}, got {example!r:.200}"
            )
        for name in ("question", "answer", "origin"):
            check_text(name, example[name])
        if not isinstance(example["held_out"], bool):
            raise InvalidInputError(
                f"`held_out` must be true or false, got {example['held_out']!r}"
            )


def _turn(entry: Entry) -> None:
    check_text("id", entry["id"], longest=MAX_ID_CHARACTERS)
    scope_key(entry["scope"])
    check_turn(entry["role"], entry["content"])
    for name in ("created_at", "added_at"):
        _time(name, entry[name])
    _time_or_none("expires_at", entry["expires_at"])
    for name in ("name", "source", "record"):
        if entry[name] is not None:
            check_text(name, entry[name])


def _item(entry: Entry) -> None:
    scope_key(entry["scope"])
    for name in ("namespace", "key"):
        if not isinstance(entry[name], str):
            raise InvalidInputError(f"`{name}` must be a string, got {entry[name]!r}")
        check_characters(name, entry[name])
    if not isinstance(entry["value"], dict):
        raise InvalidInputError(f"`value` must be a JSON object, got {entry['value']!r}")
    check_characters("value", json.dumps(entry["value"], ensure_ascii=False))
    for name in ("created_at", "updated_at"):
        _time(name, entry[name])
    _time_or_none("expires_at", entry["expires_at"])
    if entry["ttl"] is not None:
        ttl_seconds(entry["ttl"])
    if not isinstance(entry["vectors"], list):
        raise InvalidInputError(f"`vectors` must be a list, got {entry['vectors']!r}")
    for vector in entry["vectors"]:
        vector_bytes(vector)


def vector_bytes(text: object) -> bytes:
    """Read a vector: little-endian float32 in base 64.

    Raises:
        InvalidInputError: If it is none, or not finite.
    """
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidInputError(f"a vector is not base 64: {exc}") from exc
    if not data or len(data) % 4:
        raise InvalidInputError(f"expected vectors of 4 bytes for each value, got {len(data)}")
    if not all(math.isfinite(value) for (value,) in struct.iter_unpack("<f", data)):
        raise InvalidInputError("expected finite vectors, got NaN or infinity")
    return data


def _content(entry: Entry) -> None:
    check_content(entry["text"], entry["question"], entry["answer"])
    check_metadata(entry["metadata"])
    number = entry["version"]
    if type(number) is not int or not 1 <= number < 2**31:
        raise InvalidInputError(f"`version` must be an integer of at least 1, got {number!r}")


def _time(name: str, value: object) -> None:
    if type(value) not in {int, float} or not _FIRST <= value <= _LAST:  # type: ignore[operator]
        raise InvalidInputError(f"`{name}` must be seconds since 1970, got {value!r}")


def _time_or_none(name: str, value: object) -> None:
    if value is not None:
        _time(name, value)


_CHECKS: dict[str, tuple[Kind, tuple[str, ...], Check]] = {
    kind.name: (kind, more, check)
    for kind, more, check in (
        (TTL, (), _ttl),
        (RECORD, (), _record),
        (VERSION, (), _version),
        (SYNTHESIS, ("examples",), _synthesis),
        (TURN, ("record",), _turn),
        (ITEM, ("vectors",), _item),
    )
}
