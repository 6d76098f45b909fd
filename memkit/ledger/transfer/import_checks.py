"""Entries from elsewhere, checked as if a user had written them."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from memkit.errors import InvalidInputError
from memkit.ledger.items import check_address
from memkit.ledger.records.question_key import is_made
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
    check_content,
    check_metadata,
    check_object,
    check_text,
    describe,
    shown,
    ttl_seconds,
)

_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since 1970: the years 1 to 9999
_OPTIONAL = {"expires_at", "said_at"}  # times that may be None
_TIMES = {"created_at", "updated_at", "added_at", *_OPTIONAL}
_FLAGS = {"pinned", "held_out"}
_ROUNDING = 1e-3  # that the length of a unit vector of float32 may be off by


def check_entry(entry: Entry) -> None:
    """Check an entry by itself: every column is there, and holds what could be added.

    Raises:
        InvalidInputError: If not.
    """
    if not isinstance(entry.get("kind"), str) or entry["kind"] not in _KINDS:
        raise InvalidInputError(
            f"`kind` must be one of {sorted(_KINDS)}, got {describe(entry.get('kind'))}"
        )
    kind, more, check = _KINDS[entry["kind"]]
    expected = {"kind", *kind.columns, *more}
    if entry.keys() != expected:
        raise InvalidInputError(
            f"expected a {kind.name} to have {sorted(expected)}, it lacks "
            f"{sorted(expected - entry.keys())} and has also {sorted(entry.keys() - expected)}"
        )
    _check_columns(entry)
    check(entry)


def _check_columns(entry: Entry) -> None:
    """What is the same in entries of every kind."""
    for name in _TIMES & entry.keys():
        value = entry[name]
        if value is None and name in _OPTIONAL:
            continue
        if type(value) not in {int, float} or not _FIRST <= value <= _LAST:
            raise InvalidInputError(f"`{name}` must be seconds since 1970, got {describe(value)}")
    for name in _FLAGS & entry.keys():
        if not isinstance(entry[name], bool):
            raise InvalidInputError(f"`{name}` must be true or false, got {describe(entry[name])}")
    if "scope" in entry:
        scope_key(entry["scope"])
    if "id" in entry:
        check_text("id", entry["id"], longest=MAX_ID_CHARACTERS)


def _ttl(entry: Entry) -> None:
    ttl_seconds(entry["seconds"])


def _record(entry: Entry) -> None:
    _version(entry)
    if entry["key"] is not None and not is_made(entry["key"], entry["question"], entry["id"]):
        check_text("key", entry["key"], longest=MAX_ID_CHARACTERS)
    if entry["key"] is None and entry["question"] is not None:
        # By the key another answer to the question takes its place.
        raise InvalidInputError(
            f"`key` must be a string, as the record has the question {entry['question']!r:.80}, "
            "got None"
        )
    if entry["pinned"] and entry["expires_at"] is not None:
        raise InvalidInputError("what is pinned does not expire, got `pinned` and `expires_at`")


def _version(entry: Entry) -> None:
    check_content(entry["text"], entry["question"], entry["answer"])
    check_metadata(entry["metadata"])
    number = entry["version"]
    if type(number) is not int or not 1 <= number < 2**31:
        raise InvalidInputError(
            f"`version` must be an integer of at least 1, got {describe(number)}"
        )


def _synthesis(entry: Entry) -> None:
    _check_texts(entry, "content_hash", "synthesizer")
    for example in _list(entry, "examples"):
        if not isinstance(example, dict) or example.keys() != set(EXAMPLE_FIELDS):
            raise InvalidInputError(
                f"expected an example to have {sorted(EXAMPLE_FIELDS)}, got {describe(example)}"
            )
        _check_texts(example, "question", "answer", "origin")
        _check_columns(example)


def _turn(entry: Entry) -> None:
    check_turn(entry["role"], entry["content"])
    _check_texts(entry, *(name for name in ("name", "source") if entry[name] is not None))
    if entry["record"] is not None:
        check_text("record", entry["record"], longest=MAX_ID_CHARACTERS)


def _item(entry: Entry) -> None:
    check_text("namespace", entry["namespace"])
    check_address((entry["namespace"].split("."), entry["key"]))
    check_object("value", entry["value"])
    if entry["ttl"] is not None:
        ttl_seconds(entry["ttl"])
    if (entry["ttl"] is None) != (entry["expires_at"] is None):
        raise InvalidInputError(
            "`ttl` and `expires_at` must both be given or both be null, got "
            f"{shown(entry['ttl'])} and {shown(entry['expires_at'])}"
        )
    _check_vectors([vector_bytes(vector) for vector in _list(entry, "vectors")])


def _check_vectors(vectors: Sequence[bytes]) -> None:
    """Check that vectors are as `ItemTable.write` stores them: of one length, and unit or zero."""
    if len({len(vector) for vector in vectors}) > 1:
        sizes = sorted({len(vector) // 4 for vector in vectors})
        raise InvalidInputError(f"`vectors` must be of one length, got {sizes}")
    for vector in vectors:
        norm = math.hypot(*(value for (value,) in struct.iter_unpack("<f", vector)))
        if norm and abs(norm - 1) > _ROUNDING:
            raise InvalidInputError(f"`vectors` must be of length 1 or zeros, got length {norm:g}")


def _check_texts(entry: Entry, *names: str) -> None:
    for name in names:
        check_text(name, entry[name])


def _list(entry: Entry, name: str) -> list[Any]:
    value = entry[name]
    if not isinstance(value, list):
        raise InvalidInputError(f"`{name}` must be a list, got {describe(value)}")
    return value


def vector_bytes(text: object) -> bytes:
    """Read a vector: finite little-endian float32 in base 64."""
    try:
        data = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidInputError(f"a vector is not base 64: {exc}") from exc
    if not data or len(data) % 4:
        raise InvalidInputError(f"expected vectors of 4 bytes for each value, got {len(data)}")
    if not all(math.isfinite(value) for (value,) in struct.iter_unpack("<f", data)):
        raise InvalidInputError("expected finite vectors, got NaN or infinity")
    return data


_KINDS: dict[str, tuple[Kind, tuple[str, ...], Callable[[Entry], object]]] = {
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
