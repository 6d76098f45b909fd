"""What comes into a ledger from elsewhere, and is kept as it was: ids, versions, times.

What is here already, the same in every column, stays as it is. What differs from something
with the same id, key or content is a conflict, which the caller has decided beforehand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memkit.errors import InvalidInputError
from memkit.ledger.engine.dialect import in_list, list_parameter, same, upsert
from memkit.ledger.engine.sqlite import Database
from memkit.ledger.examples.example_table import replace_synthesis
from memkit.ledger.records.record_rows import content_hash, dump_metadata
from memkit.ledger.records.where import EXPIRED
from memkit.ledger.transfer.export import (
    ITEM,
    RECORD,
    SYNTHESIS,
    TTL,
    TURN,
    VERSION,
    Entry,
    Kind,
    entry_at,
    syntheses_of,
    vectors_of,
    versions_of,
)
from memkit.ledger.transfer.import_checks import vector_bytes
from memkit.types import Example, Scope
from memkit.types.scope import contains, scope_key

OnConflict = Literal["error", "skip", "replace"]


@dataclass(frozen=True)
class _Conflicting:
    """A record whose id, key or content another one wants to have."""

    row: int
    id: str
    content_hash: str
    expired: bool


class Importer:
    """Takes checked entries in, in the order in which they left; inside one transaction.

    Args:
        database: Of the ledger.
        remove: Takes records out of the ledger, and what was trained on them out of service.
        on_conflict: What happens where something else is: raise, leave that, or replace it.
        scope: Only what is of this scope or narrower ones; None for all.

    Attributes:
        counts: How many entries of each kind were added; how many were "skipped" because they
            were here or in conflict, "replaced" what was here, or have "expired".
    """

    def __init__(
        self,
        database: Database,
        remove: Callable[[Sequence[str]], object],
        *,
        on_conflict: OnConflict,
        scope: Scope | None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._database = database
        self._remove = remove
        self._on_conflict = on_conflict
        self._scope = scope
        self._record: Entry | None = None  # whose versions are still to come
        self._versions: list[Entry] = []
        self._syntheses: list[Entry] = []
        self._expired: set[str] = set()  # ids of records that are left out
        self._instead: dict[str, int | None] = {}  # rows that stand for skipped records

    def take(self, entry: Entry) -> None:
        """Take the next entry.

        Raises:
            InvalidInputError: If it is in conflict, and ``on_conflict`` is "error"; or if it
                does not belong behind those before it.
        """
        kind = entry["kind"]
        if kind in {VERSION.name, SYNTHESIS.name}:
            (self._take_version if kind == VERSION.name else self._take_synthesis)(entry)
            return
        self.finish()
        others = {TTL.name: self._take_ttl, TURN.name: self._take_turn, ITEM.name: self._take_item}
        if kind == RECORD.name:
            self._record = entry
        elif self._scope is None or contains(entry["scope"], self._scope):
            others[kind](entry)

    def finish(self) -> None:
        """Take the last record with its versions and examples."""
        record, versions, syntheses = self._record, self._versions, self._syntheses
        self._record, self._versions, self._syntheses = None, [], []
        if record is not None and (self._scope is None or contains(record["scope"], self._scope)):
            self._take_record(record, versions, syntheses)

    def _take_version(self, entry: Entry) -> None:
        last = self._versions[-1]["version"] if self._versions else 0
        if self._record is None or not last < entry["version"] < self._record["version"]:
            raise InvalidInputError(
                f"expected versions behind their record, in order, got version {entry['version']}"
            )
        self._versions.append(entry)

    def _take_synthesis(self, entry: Entry) -> None:
        contents = [self._record, *self._versions] if self._record else []
        if entry["content_hash"] not in {_digest(content) for content in contents}:
            raise InvalidInputError(
                "expected examples behind the record that they were made of, got those of another "
                f"text, by {entry['synthesizer']!r}"
            )
        self._syntheses.append(entry)

    def _take_record(self, entry: Entry, versions: list[Entry], syntheses: list[Entry]) -> None:
        if self._is_over(entry):
            self._expired.add(entry["id"])
            return
        digest = _digest(entry)
        conflicting = self._conflicting(entry, digest)
        waiting = [record.id for record in conflicting if record.expired]
        if waiting:
            self._remove(waiting)
        conflicting = [record for record in conflicting if not record.expired]
        own = next((record.row for record in conflicting if record.id == entry["id"]), None)
        if own is not None and self._is_here(own, entry, versions):
            self._add_syntheses(entry["id"], own, syntheses)
        elif not conflicting or self._may_replace(RECORD, entry["id"]):
            turns = self._remove_others([record for record in conflicting if record.row != own])
            row = self._put(RECORD, own, entry, content_hash=digest)
            self._put_versions(row, versions, replaced=own is not None)
            self._put_syntheses(row, syntheses)
            in_rows = in_list("number")
            self._database.execute(f"UPDATE turns SET record = ? WHERE {in_rows}", row, turns)
        else:
            same = [record.row for record in conflicting if record.content_hash == digest]
            self._instead[entry["id"]] = same[0] if same else None

    def _conflicting(self, entry: Entry, digest: str) -> list[_Conflicting]:
        scope = scope_key(entry["scope"])
        rows = self._database.rows(
            f"SELECT number, id, content_hash, coalesce({EXPIRED}, FALSE) FROM records "
            "WHERE id = ? OR scope = ? AND key = ? "
            "OR scope = ? AND content_hash = ? AND coalesce(key, '') = ?",
            *(entry["id"], scope, entry["key"], scope, digest, entry["key"] or ""),
        )
        return [_Conflicting(row, id, digest, bool(over)) for row, id, digest, over in rows]

    def _is_here(self, row: int, entry: Entry, versions: list[Entry]) -> bool:
        older = versions_of(self._database, row)
        return _same(RECORD, entry, entry_at(self._database, RECORD, row)) and (
            len(older) == len(versions)
            and all(_same(VERSION, *pair) for pair in zip(versions, older, strict=True))
        )

    def _put_versions(self, row: int, versions: list[Entry], *, replaced: bool) -> None:
        for table in ("versions", "passages", "syntheses") if replaced else ():
            self._database.execute(f"DELETE FROM {table} WHERE record = ?", row)
            self._database.mark_for_scrub()
        for version in versions:
            self._put(VERSION, None, version, record=row)
        self.counts["version"] += len(versions)

    def _add_syntheses(self, id: str, row: int, syntheses: list[Entry]) -> None:
        """Take the examples of a record that is here already; other ones may be here, too."""
        present = {
            (entry["content_hash"], entry["synthesizer"]): entry["examples"]
            for entry in syntheses_of(self._database, row)
        }
        fresh, different = [], []
        for entry in syntheses:
            examples = present.get((entry["content_hash"], entry["synthesizer"]))
            if examples is None:
                fresh.append(entry)
            elif examples != entry["examples"]:
                different.append(entry)
        self._put_syntheses(row, fresh)
        if not different:
            self.counts["skipped"] += 1
        elif self._may_replace(RECORD, id):
            self._put_syntheses(row, different)

    def _put_syntheses(self, row: int, syntheses: list[Entry]) -> None:
        for entry in syntheses:
            examples = [Example(**fields) for fields in entry["examples"]]
            replace_synthesis(
                self._database, row, entry["content_hash"], entry["synthesizer"], examples
            )
        self.counts[SYNTHESIS.name] += len(syntheses)

    def _remove_others(self, others: Sequence[_Conflicting]) -> str:
        """Delete records; gives the rows of the turns that they leave behind, as JSON."""
        if not others:
            return "[]"
        turns = self._database.column(
            f"UPDATE turns SET record = NULL WHERE {in_list('record')} RETURNING number",
            list_parameter("rows", [record.row for record in others]),
        )
        self._remove([record.id for record in others])
        return json.dumps(turns)

    def _take_ttl(self, entry: Entry) -> None:
        key = scope_key(entry["scope"])
        present = self._database.value("SELECT seconds FROM ttls WHERE scope = ?", key)
        if present == entry["seconds"]:
            self.counts["skipped"] += 1
        elif present is None or self._may_replace(TTL, key):
            self._database.execute(upsert("ttls", "scope", "seconds"), key, entry["seconds"])
            self.counts[TTL.name] += present is None

    def _take_turn(self, entry: Entry) -> None:
        if self._is_over(entry):
            return
        if entry["record"] in self._expired:
            self.counts["expired"] += 1
            return
        record = self._row_of(entry)
        present = self._database.rows(
            f"SELECT number, id, {same('record', '?')} FROM turns "
            "WHERE id = ? OR scope = ? AND source = ?",
            *(record, entry["id"], scope_key(entry["scope"]), entry["source"]),
        )
        own = next((row for row, id, _ in present if id == entry["id"]), None)
        linked = any(same for _, _, same in present)
        if own is not None and linked and _same(TURN, entry, entry_at(self._database, TURN, own)):
            self.counts["skipped"] += 1
        elif not present or self._may_replace(TURN, entry["id"]):
            others = [row for row, _, _ in present if row != own]
            self._database.execute(
                f"DELETE FROM turns WHERE {in_list('number')}", list_parameter("rows", others)
            )
            self._put(TURN, own, entry, record=record)
            if present:
                self._database.mark_for_scrub()

    def _row_of(self, turn: Entry) -> int | None:
        """The row of the record that a turn belongs to."""
        id = turn["record"]
        if id is None or id in self._instead:
            return self._instead.get(id)
        row: int | None = self._database.value("SELECT number FROM records WHERE id = ?", id)
        if row is None and self._scope is None:
            raise InvalidInputError(f"turn {turn['id']!r} belongs to {id!r}, which is no record")
        return row

    def _take_item(self, entry: Entry) -> None:
        if self._is_over(entry):
            return
        row = self._database.value(
            "SELECT number FROM items WHERE namespace = ? AND key = ?",
            entry["namespace"],
            entry["key"],
        )
        if (
            row is not None
            and vectors_of(self._database, row) == entry["vectors"]
            and _same(ITEM, entry, entry_at(self._database, ITEM, row))
        ):
            self.counts["skipped"] += 1
        elif row is None or self._may_replace(ITEM, entry["key"]):
            if row is not None:
                self._database.execute("DELETE FROM item_vectors WHERE item = ?", row)
                self._database.mark_for_scrub()
            row = self._put(ITEM, row, entry)
            self._database.execute_many(
                "INSERT INTO item_vectors (item, position, vector) VALUES (?, ?, ?)",
                [(row, place, vector_bytes(v)) for place, v in enumerate(entry["vectors"])],
            )

    def _is_over(self, entry: Entry) -> bool:
        """Whether an entry has expired since it left; such entries are counted and left out."""
        over = entry["expires_at"] is not None and entry["expires_at"] <= self._database.now()
        self.counts["expired"] += over
        return over

    def _may_replace(self, kind: Kind, name: str) -> bool:
        if self._on_conflict == "error":
            raise InvalidInputError(
                f"{kind.name} {name!r} is in the memory already, or another one in its place, "
                "and it is different",
                'Choose on_conflict="skip" to keep what is here, "replace" to take what comes.',
            )
        self.counts["replaced" if self._on_conflict == "replace" else "skipped"] += 1
        return self._on_conflict == "replace"

    def _put(self, kind: Kind, row: int | None, entry: Entry, **more: Any) -> int:
        """Write a row: a new one, or in place of another."""
        values = dict(zip(kind.columns, _stored(kind, entry), strict=True)) | more
        if row is not None:
            columns = ", ".join(f"{name} = ?" for name in values)
            self._database.execute(
                f"UPDATE {kind.table} SET {columns} WHERE number = ?", *values.values(), row
            )
            return row
        if kind is not VERSION:
            self.counts[kind.name] += 1
        number = self._database.value(
            f"INSERT INTO {kind.table} ({', '.join(values)}) "
            f"VALUES ({', '.join('?' * len(values))}) RETURNING {kind.key}",
            *values.values(),
        )
        return int(number)


def _digest(entry: Entry) -> str:
    """The checksum of what a record or a version says."""
    return content_hash(entry["text"], entry["question"], entry["answer"])


def _same(kind: Kind, entry: Entry, stored: Entry) -> bool:
    """Whether an entry says what is here."""
    return _stored(kind, entry) == _stored(kind, stored)


def _stored(kind: Kind, entry: Entry) -> tuple[Any, ...]:
    """The columns of an entry, as they are stored."""
    return tuple(_column(name, entry[name]) for name in kind.columns)


def _column(name: str, value: Any) -> Any:  # noqa: ANN401 - the column decides
    if name == "scope":
        return scope_key(value)
    if name == "metadata":
        return dump_metadata(value)
    return json.dumps(value, ensure_ascii=False) if name == "value" else value
