"""Checksums of rows: whether what is read is what was written.

A row's checksum covers all that the row says and that cannot be made again. Of a record that is
everything but text, question and answer: those have a checksum of their own, `content_hash`, which
modules go by as well. Tables without one hold what is worked out from others (passages, placements,
failed attempts), what is only on its way (jobs, erasures), or weights, whose digest is in
`module_versions`. It guards against damage, and not against somebody who writes to the file
and computes checksums, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from memkit.errors import CorruptFileError
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import in_list, in_numbers, list_parameter


@dataclass(frozen=True)
class Checked:
    """A table whose rows have a checksum, in the column ``checksum``."""

    what: str  # a row is, for messages
    name: str  # the column that names it, for messages
    key: tuple[str, ...]  # tells the rows apart
    columns: tuple[str, ...]  # that the checksum is of, in order


_AS_JSON = json.JSONEncoder(ensure_ascii=False, default=repr).encode
_SAID = ("text", "question", "answer", "metadata", "created_at", "said_at")
CHECKED = {
    "records": Checked(
        "record",
        "id",
        ("number",),
        (
            *("id", "scope", "metadata", "created_at", "updated_at"),
            *("version", "key", "expires_at", "pinned", "said_at"),
        ),
    ),
    "versions": Checked("version", "version", ("record", "version"), ("record", "version", *_SAID)),
    "turns": Checked(
        "turn",
        "id",
        ("number",),
        (
            *("id", "scope", "role", "content", "name", "created_at", "added_at"),
            *("record", "expires_at", "source"),
        ),
    ),
    "items": Checked(
        "item",
        "key",
        ("number",),
        ("namespace", "key", "scope", "value", "created_at", "updated_at", "ttl", "expires_at"),
    ),
    "item_vectors": Checked(
        "vector of an item", "item", ("item", "position"), ("item", "position", "vector")
    ),
    "vectors": Checked("vector", "passage", ("passage",), ("passage", "vector")),
    "examples": Checked(
        "example",
        "synthesis",
        ("synthesis", "position"),
        ("synthesis", "position", "question", "answer", "held_out", "origin"),
    ),
    "syntheses": Checked(
        "synthesis", "number", ("number",), ("number", "record", "content_hash", "synthesizer")
    ),
    "modules": Checked("module", "name", ("name",), ("name", "versions", "active")),
    # Not the file, which moves; weights that are not those of the digest are noticed.
    "module_versions": Checked(
        "version of a module",
        "module",
        ("module", "version"),
        ("module", "version", "scope", "manifest", "digest", "size", "created_at"),
    ),
    "members": Checked(
        "member",
        "record",
        ("module", "version", "record"),
        ("module", "version", "record", "position", "content_hash", "recall"),
    ),
    "meta": Checked("setting", "name", ("name",), ("name", "value")),
    "ttls": Checked("time to live", "scope", ("scope",), ("scope", "seconds")),
    "events": Checked("event", "seq", ("seq",), ("seq", "kind", "detail", "created_at")),
}


def checksum(values: Iterable[object]) -> str:
    """The checksum of the values of a row's columns: 128 bits of BLAKE2b, as hexadecimal digits."""
    # As JSON, so that no two rows give the same bytes.
    return hashlib.blake2b(_AS_JSON(list(map(_plain, values))).encode(), digest_size=16).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, bool):  # which a database may have no type for
        return int(value)
    return value.hex() if isinstance(value, bytes) else value


def with_checksum(table: str, *values: object) -> tuple[object, ...]:
    """The values of the columns that a row's checksum is of, and that, to be stored."""
    assert len(values) == len(CHECKED[table].columns)  # noqa: S101 - of a statement of ours
    return *values, checksum(values)


def checked_columns(table: str, named: str | None = None) -> str:
    """The columns that `verify` wants, and the checksum behind them, to be selected.

    In a statement, the table may be ``named`` otherwise.
    """
    return ", ".join(f"{named or table}.{name}" for name in (*CHECKED[table].columns, "checksum"))


def verify(table: str, values: Sequence[object]) -> None:
    """Check that the `checked_columns` of a row are as they were written.

    Raises:
        CorruptFileError: If they have another checksum.
    """
    if not is_intact(values):
        checked = CHECKED[table]
        name = values[checked.columns.index(checked.name)]
        raise CorruptFileError(
            f"expected {checked.what} {name!r:.60} as it was stored, its row in {table!r} has "
            "another checksum",
            _REMEDIES.get(table, _REMEDY),
        )


_REMEDY = "Restore a backup, or `forget` it; `memkit check` lists all such rows."
_REMEDIES = {
    "meta": "`memkit check --repair` removes it, and makes anew what was made with it.",
    "examples": "`memkit check --repair` removes it; consolidate() makes such examples again.",
    "syntheses": "`memkit check --repair` removes it; consolidate() makes such examples again.",
    **dict.fromkeys(
        ("modules", "module_versions", "members"),
        "`memkit check --repair` drops the module; consolidate() trains its records again.",
    ),
    "ttls": "Set it again with `retention.set_ttl`.",
    "events": "`memkit check --repair` removes it from the log.",
    "item_vectors": "Write the item again.",
}


def is_intact(values: Sequence[object]) -> bool:
    """Whether the `checked_columns` of a row are as they were written."""
    *columns, stored = values
    return checksum(columns) == stored


def stamp(database: Database, table: str, condition: str, *parameters: object) -> None:
    """Give rows the checksum of what they say; runs in the transaction that has written them."""
    checked = CHECKED[table]
    rows = database.rows(
        f"SELECT {', '.join(checked.key + checked.columns)} FROM {table} WHERE {condition}",
        *parameters,
    )
    width = len(checked.key)
    database.execute_many(
        f"UPDATE {table} SET checksum = ? WHERE {' AND '.join(f'{k} = ?' for k in checked.key)}",
        [(checksum(row[width:]), *row[:width]) for row in rows],
    )


@contextmanager
def amended(
    database: Database, table: str, condition: str, *parameters: object
) -> Iterator[list[Any]]:
    """Let a block change some columns of rows, keys of which it gets; runs in a transaction.

    What is damaged is not made to look right.

    Raises:
        CorruptFileError: If one of them is not as it was written.
    """
    rows = _keyed(database, table, condition, *parameters)
    for _, *values in rows:
        verify(table, values)
    keys = [key for key, *_ in rows]
    yield keys
    _stamp_all(database, table, keys)


@contextmanager
def mended(database: Database, table: str, condition: str, *parameters: object) -> Iterator[None]:
    """As `amended`, for repairs: those that are damaged stay so, unless the block restores them."""
    rows = _keyed(database, table, condition, *parameters)
    intact = [key for key, *values in rows if is_intact(values)]
    yield
    _stamp_all(database, table, intact)


def _keyed(database: Database, table: str, condition: str, *parameters: object) -> list[Row]:
    """Key and checked columns of rows, of a table whose key is one column."""
    [key] = CHECKED[table].key
    return database.rows(
        f"SELECT {key}, {checked_columns(table)} FROM {table} WHERE {condition}", *parameters
    )


def _stamp_all(database: Database, table: str, keys: Sequence[Any]) -> None:
    [key] = CHECKED[table].key
    among = in_numbers(key) if key == "number" else in_list(key)
    stamp(database, table, among, list_parameter("rows", keys))
