"""What comes into a ledger from elsewhere, and is kept as it was: ids, versions, times.

What is here already, the same in every column, stays as it is. What differs from something
with the same id, key or content is a conflict, which the caller has decided beforehand. With a
scope, what is outside of it is in conflict with nothing, and stays as it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from memkit.errors import InvalidInputError
from memkit.ledger.engine import dialect
from memkit.ledger.engine.checksums import amended, with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, in_numbers, list_parameter, same
from memkit.ledger.examples.example_table import replace_synthesis
from memkit.ledger.records.question_key import is_made, marked_key
from memkit.ledger.records.ttls import write_ttl
from memkit.ledger.records.where import EXPIRED, LIVE
from memkit.ledger.transfer.columns import digest_of, is_here, stored_values, write_row
from memkit.ledger.transfer.export import (
    ITEM,
    RECORD,
    SYNTHESIS,
    TTL,
    TURN,
    VERSION,
    Entry,
    Kind,
    syntheses_of,
    vectors_of,
)
from memkit.ledger.transfer.import_checks import vector_bytes
from memkit.ledger.transfer.scoped_ids import ScopedIds
from memkit.types import Example, Scope
from memkit.types.scope import contains, scope_key
from memkit.types.validate import shown

OnConflict = Literal["error", "skip", "replace"]


@dataclass(frozen=True)
class _Conflicting:
    """A record whose id, key or content another one wants to have."""

    row: int
    id: str
    scope: str
    content_hash: str
    expires_at: float | None
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
        line: Number of the line that was looked at last, for messages.
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
        self.line = 0
        self._database = database
        self._remove = remove
        self._on_conflict = on_conflict
        self._scope = scope
        self._record_ids = ScopedIds(database, "records", scope)
        self._turn_ids = ScopedIds(database, "turns", scope)
        self._record: Entry | None = None  # whose versions are still to come
        self._record_line = 0
        self._versions: list[Entry] = []
        self._syntheses: list[Entry] = []
        self._expired: set[str] = set()  # ids of records that are left out
        self._instead: dict[str, int | None] = {}  # rows that stand for skipped records

    @property
    def renamed(self) -> dict[str, str]:
        """Ids that are in use outside of the scope, and what their entries have instead."""
        return self._record_ids.renamed | self._turn_ids.renamed

    def take(self, entry: Entry, line: int) -> None:
        """Take the next entry, from a line of the file.

        Raises:
            InvalidInputError: If it is in conflict, and ``on_conflict`` is "error"; or if it
                does not belong behind those before it.
        """
        kind = entry["kind"]
        if kind in {VERSION.name, SYNTHESIS.name}:
            self.line = line
            (self._take_version if kind == VERSION.name else self._take_synthesis)(entry)
            return
        self.finish()
        self.line = line
        others = {TTL.name: self._take_ttl, TURN.name: self._take_turn, ITEM.name: self._take_item}
        if kind == RECORD.name:
            self._record, self._record_line = entry, line
        elif self._scope is None or contains(entry["scope"], self._scope):
            others[kind](entry)

    def finish(self) -> None:
        """Take the last record with its versions and examples."""
        record, versions, syntheses = self._record, self._versions, self._syntheses
        self._record, self._versions, self._syntheses = None, [], []
        if record is not None and (self._scope is None or contains(record["scope"], self._scope)):
            self.line = self._record_line
            self._take_record(record, versions, syntheses)

    def records_of(self, ids: Sequence[str]) -> list[str]:
        """Give what stands here, in the scope, for the records of the file that a module has.

        Raises:
            InvalidInputError: If they are of several scopes; a module is of one.
        """
        renamed = self._record_ids.renamed
        taken = [renamed.get(id, id) for id in ids if id not in self._instead]
        rows = self._database.rows(
            f"SELECT id, scope FROM records WHERE {LIVE} AND {in_list('id')}",
            list_parameter("ids", taken),
        )
        own = {id: key for id, key in rows if self._scope is None or contains(key, self._scope)}
        if len(set(own.values())) > 1:
            raise InvalidInputError(
                f"expected the records of a module to be of one scope, got {sorted(own)[:3]} of "
                f"{sorted(set(own.values()))[:3]}"
            )
        return [id for id in taken if id in own]

    def _take_version(self, entry: Entry) -> None:
        last = self._versions[-1]["version"] if self._versions else 0
        if self._record is None or not last < entry["version"] < self._record["version"]:
            raise InvalidInputError(
                f"expected versions behind their record, in order, got version {entry['version']}"
            )
        self._versions.append(entry)

    def _take_synthesis(self, entry: Entry) -> None:
        contents = [self._record, *self._versions] if self._record else []
        if entry["content_hash"] not in {digest_of(content) for content in contents}:
            raise InvalidInputError(
                "expected examples behind the record that they were made of, got those of another "
                f"text, by {entry['synthesizer']!r}"
            )
        self._syntheses.append(entry)

    def _take_record(self, entry: Entry, versions: list[Entry], syntheses: list[Entry]) -> None:
        if self._is_over(entry):
            self._expired.add(entry["id"])
            return
        scope, digest, name = scope_key(entry["scope"]), digest_of(entry), entry["id"]
        entry = entry | {"id": self._record_ids.of(name, scope)}
        entry = entry | {"key": self._key_of(entry, name)}
        conflicting = self._conflicting(entry, scope, digest)
        waiting = [record.id for record in conflicting if record.expired]
        if waiting:
            self._remove(waiting)
        conflicting = [record for record in conflicting if not record.expired]
        own = next((record for record in conflicting if record.id == entry["id"]), None)
        if own is not None and is_here(self._database, RECORD, entry, own.row, versions):
            self._add_syntheses(entry["id"], own.row, syntheses)
        elif not conflicting or self._may_replace(RECORD, name):
            # A record that is for others from now on goes with all that was made of it, above
            # all the modules that know it, and comes anew.
            kept = own.row if own is not None and own.scope == scope else None
            leaving = [record for record in conflicting if record.row != kept]
            turns = self._remove_others(leaving)
            row = self._put(RECORD, kept, entry, content_hash=digest)
            self._put_versions(row, versions, replaced=kept is not None)
            self._put_syntheses(row, syntheses)
            self._hand_over(turns, row, scope, own)
        else:
            same = [record.row for record in conflicting if record.content_hash == digest]
            self._instead[name] = same[0] if same else None

    def _conflicting(self, entry: Entry, scope: str, digest: str) -> list[_Conflicting]:
        rows = self._database.rows(
            "SELECT number, id, scope, content_hash, expires_at, coalesce("
            f"{EXPIRED}, FALSE) FROM records WHERE id = ? OR scope = ? AND key = ? "
            "OR scope = ? AND content_hash = ? AND coalesce(key, '') = ?",
            *(entry["id"], scope, entry["key"], scope, digest, entry["key"] or ""),
        )
        return [
            _Conflicting(row, id, scope, digest, ends, bool(over))
            for row, id, scope, digest, ends, over in rows
        ]

    def _key_of(self, entry: Entry, name: str) -> str | None:
        """The key, as it is stored here, of a record that has another id in the file."""
        key, question, id = entry["key"], entry["question"], entry["id"]
        if key == marked_key(question, name):
            key = marked_key(question, id)
        sql = "SELECT key FROM records WHERE id = ?"
        here: str | None = self._database.value(sql, id) or key
        # Marked or not tells who came first, here or there: that is no difference.
        return here if all(is_made(each, question, id) for each in (here, key)) else key

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
        theirs = list_parameter("rows", [record.row for record in others])
        with amended(self._database, "turns", in_numbers("record"), theirs) as turns:
            self._database.execute(
                f"UPDATE turns SET record = NULL WHERE {in_numbers('record')}", theirs
            )
        self._remove([record.id for record in others])
        return json.dumps(turns)

    def _hand_over(self, turns: str, row: int, scope: str, former: _Conflicting | None) -> None:
        """Give turns to a record of their scope; others live as long as their own would have."""
        in_rows = in_numbers("number")
        with amended(self._database, "turns", in_rows, turns):
            self._database.execute(
                f"UPDATE turns SET record = ? WHERE {in_rows} AND scope = ?", row, turns, scope
            )
            if former is not None:
                self._database.execute(
                    f"UPDATE turns SET expires_at = coalesce(expires_at, ?) WHERE {in_rows} "
                    "AND record IS NULL",
                    *(former.expires_at, turns),
                )

    def _take_ttl(self, entry: Entry) -> None:
        key = scope_key(entry["scope"])
        present = self._database.value("SELECT seconds FROM ttls WHERE scope = ?", key)
        if present == entry["seconds"]:
            self.counts["skipped"] += 1
        elif (present is None and not self._holds(entry["scope"])) or self._may_replace(TTL, key):
            write_ttl(self._database, key, entry["seconds"])
            self.counts[TTL.name] += present is None

    def _holds(self, scope: Scope) -> bool:
        """Whether there is anything of a scope: what it has no time to live for lives for good."""
        for kind in (RECORD, TURN, ITEM):
            condition, parameters = dialect.within_scope(f"{kind.table}.scope", scope)
            sql = f"SELECT 1 FROM {kind.table} WHERE {condition} LIMIT 1"
            if self._database.value(sql, *parameters) is not None:
                return True
        return False

    def _take_turn(self, entry: Entry) -> None:
        if self._is_over(entry):
            return
        if entry["record"] in self._expired:
            self.counts["expired"] += 1
            return
        scope, name = scope_key(entry["scope"]), entry["id"]
        entry = entry | {"id": self._turn_ids.of(name, scope)}
        record = self._row_of(entry, scope)
        present = self._database.rows(
            f"SELECT number, id, {same('record', '?')} FROM turns "
            "WHERE id = ? OR scope = ? AND source = ?",
            *(record, entry["id"], scope, entry["source"]),
        )
        own = next((row for row, id, _ in present if id == entry["id"]), None)
        linked = any(same for _, _, same in present)
        if own is not None and linked and is_here(self._database, TURN, entry, own):
            self.counts["skipped"] += 1
        elif not present or self._may_replace(TURN, name):
            others = [row for row, _, _ in present if row != own]
            self._database.execute(
                f"DELETE FROM turns WHERE {in_numbers('number')}", list_parameter("rows", others)
            )
            self._put(TURN, own, entry, record=record)
            if present:
                self._database.mark_for_scrub()

    def _row_of(self, turn: Entry, scope: str) -> int | None:
        """The row of the record that a turn belongs to; both are of one scope."""
        id = turn["record"]
        if id is None or (id in self._instead and self._instead[id] is None):
            return None
        row = self._instead.get(id) or self._database.value(
            "SELECT number FROM records WHERE id = ?", self._record_ids.renamed.get(id, id)
        )
        owner = self._database.value("SELECT scope FROM records WHERE number = ?", row)
        if owner != scope:
            raise InvalidInputError(
                f"`record` of turn {turn['id']!r} must be a record of the turn's scope, "
                f"got {shown(id)}"
            )
        return row

    def _take_item(self, entry: Entry) -> None:
        if self._is_over(entry):
            return
        row, scope = self._database.row(
            "SELECT number, scope FROM items WHERE namespace = ? AND key = ?",
            entry["namespace"],
            entry["key"],
        ) or (None, "{}")
        if (
            row is not None
            and vectors_of(self._database, row) == entry["vectors"]
            and is_here(self._database, ITEM, entry, row)
        ):
            self.counts["skipped"] += 1
        elif row is None or self._may_replace_item(entry, scope):
            if row is not None:
                self._database.execute("DELETE FROM item_vectors WHERE item = ?", row)
                self._database.mark_for_scrub()
            row = self._put(ITEM, row, entry)
            self._database.execute_many(
                "INSERT INTO item_vectors (item, position, vector, checksum) VALUES (?, ?, ?, ?)",
                [
                    with_checksum("item_vectors", row, place, vector_bytes(vector))
                    for place, vector in enumerate(entry["vectors"])
                ],
            )

    def _may_replace_item(self, entry: Entry, scope: str) -> bool:
        """As `_may_replace`; never one of another scope: all scopes share the addresses."""
        foreign = self._scope is not None and not contains(scope, self._scope)
        if foreign and self._on_conflict != "skip":
            raise InvalidInputError(
                f"the address of item {entry['key']!r} in {entry['namespace']!r} is in use outside "
                f"of `scope` {dict(self._scope or {})!r}",
                "Items are told apart by namespace and key alone: give each tenant a namespace, or "
                'choose on_conflict="skip" to leave out what comes.',
            )
        return self._may_replace(ITEM, entry["key"])

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
        values = dict(zip(kind.columns, stored_values(kind, entry), strict=True)) | more
        if row is None and kind is not VERSION:
            self.counts[kind.name] += 1
        return write_row(self._database, kind, row, values)
