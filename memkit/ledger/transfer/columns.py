"""Entries of a file beside the columns that they become."""

from __future__ import annotations

import json
from typing import Any

from memkit.errors import CorruptFileError
from memkit.ledger.engine.checksums import CHECKED, stamp
from memkit.ledger.engine.database import Database
from memkit.ledger.records.record_rows import content_hash, dump_metadata
from memkit.ledger.transfer.export import RECORD, VERSION, Entry, Kind, entry_at, versions_of
from memkit.types.scope import scope_key


def digest_of(entry: Entry) -> str:
    """The checksum of what a record or a version says."""
    return content_hash(entry["text"], entry["question"], entry["answer"])


def is_here(
    database: Database, kind: Kind, entry: Entry, row: int, versions: list[Entry] | None = None
) -> bool:
    """Whether a row says what an entry does, and a record's history what its versions do.

    What is damaged says nothing: an import can put it right.
    """
    try:
        here = entry_at(database, kind, row)
        older = versions_of(database, row) if kind is RECORD else []
    except CorruptFileError:
        return False
    came = versions or []
    return (
        same_entry(kind, entry, here)
        and len(came) == len(older)
        and all(same_entry(VERSION, *pair) for pair in zip(came, older, strict=True))
    )


def write_row(database: Database, kind: Kind, row: int | None, values: dict[str, Any]) -> int:
    """Write a row: a new one, or in place of another; returns its key."""
    if row is not None:
        columns = ", ".join(f"{name} = ?" for name in values)
        database.execute(
            f"UPDATE {kind.table} SET {columns} WHERE number = ?", *values.values(), row
        )
    else:
        row = int(
            database.value(
                f"INSERT INTO {kind.table} ({', '.join(values)}) "
                f"VALUES ({', '.join('?' * len(values))}) RETURNING {kind.key}",
                *values.values(),
            )
        )
    if kind is VERSION:
        stamp(database, kind.table, "record = ? AND version = ?", values["record"], row)
    elif kind.table in CHECKED:
        stamp(database, kind.table, f"{kind.key} = ?", row)
    return row


def same_entry(kind: Kind, entry: Entry, stored: Entry) -> bool:
    """Whether an entry says what is here."""
    return stored_values(kind, entry) == stored_values(kind, stored)


def stored_values(kind: Kind, entry: Entry) -> tuple[Any, ...]:
    """The columns of an entry, as they are stored."""
    return tuple(_column(name, entry[name]) for name in kind.columns)


def _column(name: str, value: Any) -> Any:  # noqa: ANN401 - the column decides
    if name == "scope":
        return scope_key(value)
    if name == "metadata":
        return dump_metadata(value)
    return json.dumps(value, ensure_ascii=False) if name == "value" else value
