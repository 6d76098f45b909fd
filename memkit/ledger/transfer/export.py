"""What leaves a ledger: everything that is not derived, as JSON values, one after the other.

Times are seconds since 1970, as they are stored: what is read back is the same to the last bit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memkit.ledger.engine.checksums import CHECKED, checked_columns, verify
from memkit.ledger.engine.database import Database, Row
from memkit.ledger.engine.dialect import NOW, Condition, within_scope
from memkit.ledger.records.record_rows import check_content
from memkit.ledger.records.where import LIVE
from memkit.types import Scope

JSON = frozenset({"scope", "metadata", "value"})  # columns that hold it, as text

_LIVES_ON = f"({{0}}.expires_at IS NULL OR {{0}}.expires_at > {NOW})"

Entry = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of entry: a row of a table."""

    name: str  # what its entries say that they are
    table: str
    columns: tuple[str, ...]  # that travel; others are derived, or mean nothing elsewhere
    key: str = "number"  # by which they are in order
    live: str = "TRUE"  # which of them are there for the user

    @property
    def sources(self) -> str:
        """The table, and the records that rows of it belong to."""
        if self.name not in {"turn", "version", "synthesis"}:
            return self.table
        return f"{self.table} LEFT JOIN records ON records.number = {self.table}.record"


TTL = Kind("ttl", "ttls", ("scope", "seconds"), key="scope")
RECORD = Kind(
    "record",
    "records",
    (
        *("id", "scope", "text", "question", "answer", "metadata", "created_at", "updated_at"),
        *("version", "key", "expires_at", "pinned", "said_at"),
    ),
    live=LIVE,
)
VERSION = Kind(
    "version",
    "versions",
    ("version", "text", "question", "answer", "metadata", "created_at", "said_at"),
    key="version",
)
# What a synthesizer made of a record: its entries have a list of "examples", too.
SYNTHESIS = Kind("synthesis", "syntheses", ("content_hash", "synthesizer"), key="number")
EXAMPLE_FIELDS = ("question", "answer", "held_out", "origin")
TURN = Kind(
    "turn",
    "turns",
    ("id", "scope", "role", "content", "name", "created_at", "expires_at", "source", "added_at"),
    live=f"{_LIVES_ON.format('turns')} AND {LIVE}",
)
ITEM = Kind(
    "item",
    "items",
    ("namespace", "key", "scope", "value", "created_at", "updated_at", "ttl", "expires_at"),
    live=_LIVES_ON.format("items"),
)


@dataclass(frozen=True)
class Exporter:
    """What leaves a ledger, in a snapshot: what is of a scope and of narrower ones, or all."""

    database: Database
    scope: Scope | None

    def counts(self) -> dict[str, int]:
        """How many entries of each kind there are."""
        counts = {}
        for kind in (TTL, RECORD, VERSION, SYNTHESIS, TURN, ITEM):
            condition, parameters = self._condition(
                RECORD if kind in {VERSION, SYNTHESIS} else kind
            )
            counts[kind.name] = self.database.count(kind.sources, condition, *parameters)
        return counts

    def entries(self) -> Iterator[Entry]:
        """Everything, in the order in which it was added.

        A record's versions follow it, and then the examples that were made of it.
        """
        for _, row in self._rows(TTL):
            yield _entry(TTL, row)
        for number, row in self._rows(RECORD, "records.content_hash"):
            record = _entry(RECORD, row)
            content = (record["text"], record["question"], record["answer"])
            check_content(record["id"], content, row[len(RECORD.columns)])
            yield record
            if record["version"] > 1:
                yield from versions_of(self.database, number)
            yield from syntheses_of(self.database, number)
        for _, row in self._rows(TURN, "records.id"):
            yield {**_entry(TURN, row), "record": row[len(TURN.columns)]}
        for number, row in self._rows(ITEM):
            yield {**_entry(ITEM, row), "vectors": vectors_of(self.database, number)}

    def _condition(self, kind: Kind) -> Condition:
        if self.scope is None:
            return kind.live, []
        sql, parameters = within_scope(f"{kind.table}.scope", self.scope)
        return f"{kind.live} AND {sql}", parameters

    def _rows(self, kind: Kind, *more: str) -> Iterator[tuple[Any, Row]]:
        """Keys, and columns as they were written."""
        condition, parameters = self._condition(kind)
        key, columns = f"{kind.table}.{kind.key}", (f"{kind.table}.{name}" for name in kind.columns)
        first = "" if kind.key == "scope" else 0
        checked = [checked_columns(kind.table)] if kind.table in CHECKED else []
        selected = [*columns, *more, *checked]
        width = len(kind.columns) + len(more)
        for number, *row in self.database.pages(
            key, selected, kind.sources, condition, *parameters, after=first
        ):
            if checked:
                verify(kind.table, row[width:])
            yield number, tuple(row[:width])


def versions_of(database: Database, record: int) -> list[Entry]:
    """The older versions of a record, oldest first, as they were written."""
    width = len(VERSION.columns)
    rows = database.rows(
        f"SELECT {', '.join(VERSION.columns)}, {checked_columns('versions')} FROM versions "
        "WHERE record = ? ORDER BY version",
        record,
    )
    for row in rows:
        verify("versions", row[width:])
    return [_entry(VERSION, row[:width]) for row in rows]


def syntheses_of(database: Database, record: int) -> list[Entry]:
    """What synthesizers made of any content of a record, in the order in which they did."""
    rows = database.rows(
        f"SELECT {checked_columns('syntheses')}, {checked_columns('examples')} "
        "FROM syntheses LEFT JOIN examples ON synthesis = syntheses.number "
        "WHERE record = ? ORDER BY syntheses.number, position",
        record,
    )
    syntheses: dict[int, Entry] = {}
    for row in rows:
        (number, _, *said, _), made = row[:5], row[5:]
        if number not in syntheses:
            verify("syntheses", row[:5])
            syntheses[number] = {**_entry(SYNTHESIS, tuple(said)), "examples": []}
        if made[0] is not None:  # a synthesis without examples has one row of NULLs
            verify("examples", made)
            example = dict(zip(EXAMPLE_FIELDS, made[2:-1], strict=True))
            syntheses[number]["examples"].append({**example, "held_out": bool(example["held_out"])})
    return [*syntheses.values()]


def vectors_of(database: Database, item: int) -> list[str]:
    """The vectors of an item: little-endian float32 in base 64."""
    vectors = database.column(
        "SELECT vector FROM item_vectors WHERE item = ? ORDER BY position", item
    )
    return [base64.b64encode(vector).decode() for vector in vectors]


def entry_at(database: Database, kind: Kind, row: int) -> Entry:
    """One row, as it would leave the ledger.

    Raises:
        CorruptFileError: If it is not as it was written.
    """
    columns = f"{', '.join(kind.columns)}, {checked_columns(kind.table)}"
    [values] = database.rows(f"SELECT {columns} FROM {kind.table} WHERE number = ?", row)
    width = len(kind.columns)
    verify(kind.table, values[width:])
    return _entry(kind, values[:width])


def _entry(kind: Kind, row: Row) -> Entry:
    values = {
        name: json.loads(value) if name in JSON else value
        for name, value in zip(kind.columns, row, strict=False)
    }
    if kind is RECORD:
        values["pinned"] = bool(values["pinned"])
    return {"kind": kind.name, **values}
