"""Records and their versions."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from memkit.errors import InvalidInputError, RecordNotFoundError
from memkit.ledger.database import Database, Row, json_list
from memkit.ledger.identifiers import new_id
from memkit.ledger.selection import check_limit, select_sql
from memkit.scope import canonical, parse, visible_keys
from memkit.types import Draft, Metadata, Page, Record, Scope, Version
from memkit.validate import check_content, check_metadata, validate_draft

COLUMNS = """
    records.id, records.text, records.question, records.answer, records.scope,
    records.metadata, records.created_at, records.updated_at, records.version,
    records.content_hash
"""


@dataclass(frozen=True)
class _Entry:
    """A checked draft, as it would be stored."""

    draft: Draft
    scope: str
    metadata: str
    content_hash: str

    @property
    def identity(self) -> tuple[str, str]:
        return self.scope, self.content_hash


class RecordTable:
    """What is known, verbatim.

    Within a scope no two records have the same text, question and answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def find_duplicates(self, drafts: Sequence[Draft]) -> list[Record | None]:
        """Give the stored record of the same scope and content for each draft, or None.

        Raises:
            InvalidInputError: If a draft cannot be stored.
        """
        entries = [_entry(draft) for draft in drafts]
        known = self._by_identity(entries)
        return [known.get(entry.identity) for entry in entries]

    def add(self, drafts: Sequence[Draft]) -> list[Record]:
        """Store drafts; all of them or, if one is invalid, none.

        A draft whose content is already there in the same scope, or earlier in the list,
        gives the record that is there, unchanged.

        Returns:
            One record per draft, in order.

        Raises:
            InvalidInputError: If a draft cannot be stored, or its id is taken by other content.
        """
        entries = [_entry(draft) for draft in drafts]
        with self._database.transaction():
            known = self._by_identity(entries)
            fresh: dict[tuple[str, str], _Entry] = {}
            for entry in entries:
                if entry.identity not in known:
                    fresh.setdefault(entry.identity, entry)
            self._refuse_taken_ids(fresh.values())
            self._insert(fresh.values())
            known |= self._by_identity(fresh.values())
        return [known[entry.identity] for entry in entries]

    def get(self, ids: Sequence[str], *, scope: Scope | None = None) -> list[Record]:
        """Give records in the order asked.

        Args:
            ids: May repeat.
            scope: The scope of the query that wants to see them; None sees everything.

        Raises:
            RecordNotFoundError: If one is missing or not visible; which of the two is not told.
        """
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE id IN (SELECT value FROM json_each(?))",
            json_list("ids", ids),
        )
        keys = None if scope is None else set(visible_keys(scope))
        found = {row[0]: row for row in rows if keys is None or row[4] in keys}
        missing = [id for id in ids if id not in found]
        if missing:
            raise RecordNotFoundError(
                f"no record has the id {missing[0]!r}"
                + (f" (nor {len(missing) - 1} more of those asked for)" if missing[1:] else ""),
                "Check the id and the scope; a forgotten record is gone for good.",
            )
        return [record_of(found[id]) for id in ids]

    def update(
        self,
        id: str,
        *,
        text: str,
        question: str | None,
        answer: str | None,
        metadata: Metadata,
    ) -> Record:
        """Write a new version of a record; the older one stays in its history.

        Its passages are deleted. If nothing differs, nothing changes.

        Raises:
            RecordNotFoundError: If there is no such record.
            InvalidInputError: If the content cannot be stored, or another record of the scope
                has it already.
        """
        check_content(text, question, answer)
        check_metadata(metadata)
        content_hash, stored = _hash(text, question, answer), _dump(metadata)
        with self._database.transaction():
            record = self.get([id])[0]
            if (content_hash, stored) == (record.content_hash, _dump(record.metadata)):
                return record
            self._refuse_twin(record, content_hash)
            self._archive(id)
            self._database.execute(
                "UPDATE records SET text = ?, question = ?, answer = ?, metadata = ?, "
                "content_hash = ?, updated_at = ?, version = version + 1 WHERE id = ?",
                text,
                question,
                answer,
                stored,
                content_hash,
                time.time(),
                id,
            )
            return self.get([id])[0]

    def history(self, id: str) -> list[Version]:
        """List the versions of a record, oldest first, the current one last.

        Raises:
            RecordNotFoundError: If there is no such record.
        """
        columns = "version, text, question, answer, metadata"
        rows = self._database.rows(
            f"SELECT {columns}, created_at FROM versions "
            "WHERE record = (SELECT rowid FROM records WHERE id = ?1) "
            f"UNION ALL SELECT {columns}, updated_at FROM records WHERE id = ?1 ORDER BY version",
            id,
        )
        if not rows:
            raise RecordNotFoundError(f"no record has the id {id!r}")
        return [_version(id, row) for row in rows]

    def delete(self, ids: Sequence[str]) -> tuple[int, int, int]:
        """Delete records with all that hangs on them; unknown ids are ignored.

        What remains of them in the file's free space goes with `Ledger.scrub`.

        Returns:
            How many records, versions (the current ones included) and turns are gone.
        """
        wanted = json_list("ids", ids)
        chosen = "SELECT rowid FROM records WHERE id IN (SELECT value FROM json_each(?))"
        with self._database.transaction():
            older, turns = self._database.rows(
                f"SELECT (SELECT count(*) FROM versions WHERE record IN ({chosen})), "
                f"(SELECT count(*) FROM turns WHERE record IN ({chosen}))",
                wanted,
                wanted,
            )[0]
            records = self._database.execute(
                "DELETE FROM records WHERE id IN (SELECT value FROM json_each(?))", wanted
            )
            if records:
                self._database.mark_for_scrub()
        return records, records + older, turns

    def page(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Page:
        """List records in the order they were added.

        Args:
            visible_to: Only what a query of this scope sees; None for all.
            within: Only this scope and narrower ones; None for all.
            where: Metadata filter; None for all.
            after: `Page.next` of the page before.
            limit: At most this many.

        Raises:
            InvalidInputError: If the filter, cursor or limit is malformed.
        """
        check_limit("limit", limit)
        condition, parameters = select_sql(visible_to=visible_to, within=within, where=where)
        rows = self._database.rows(
            f"SELECT {COLUMNS}, records.rowid FROM records "
            f"WHERE {condition} AND records.rowid > ? ORDER BY records.rowid LIMIT ?",
            *parameters,
            _cursor(after),
            limit + 1,
        )
        more = len(rows) > limit
        rows = rows[:limit]
        return Page(tuple(map(record_of, rows)), str(rows[-1][-1]) if more else None)

    def ids(
        self,
        *,
        visible_to: Scope | None = None,
        within: Scope | None = None,
        where: Metadata | None = None,
    ) -> list[str]:
        """List ids in the order the records were added; arguments as for `page`."""
        condition, parameters = select_sql(visible_to=visible_to, within=within, where=where)
        return self._database.column(
            f"SELECT records.id FROM records WHERE {condition} ORDER BY records.rowid", *parameters
        )

    def existing(self, ids: Iterable[str]) -> list[str]:
        """List those of the ids that records have."""
        return self._database.column(
            "SELECT id FROM records WHERE id IN (SELECT value FROM json_each(?))",
            json_list("ids", ids),
        )

    def has_text(self, text: str) -> bool:
        """Tell whether any record, version or turn contains a text, or the schema does."""
        said = "instr(text, ?1) OR instr(question, ?1) OR instr(answer, ?1) OR instr(metadata, ?1)"
        found = self._database.value(
            f"SELECT 1 FROM records WHERE {said} OR instr(scope, ?1) OR instr(id, ?1) "
            f"UNION ALL SELECT 1 FROM versions WHERE {said} "
            "UNION ALL SELECT 1 FROM turns WHERE instr(content, ?1) "
            "UNION ALL SELECT 1 FROM sqlite_master WHERE instr(sql, ?1) LIMIT 1",
            text,
        )
        return found is not None

    def count(self) -> int:
        """Count all records."""
        return int(self._database.value("SELECT count(*) FROM records"))

    def count_versions(self) -> int:
        """Count all versions of all records, the current ones included."""
        return self.count() + int(self._database.value("SELECT count(*) FROM versions"))

    def unindexed(self, limit: int) -> list[Record]:
        """List records that have no passage yet, oldest first."""
        check_limit("limit", limit)
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM records WHERE NOT EXISTS "
            "(SELECT 1 FROM passages WHERE passages.record = records.rowid) "
            "ORDER BY records.rowid LIMIT ?",
            limit,
        )
        return [record_of(row) for row in rows]

    def _by_identity(self, entries: Iterable[_Entry]) -> dict[tuple[str, str], Record]:
        pairs = json.dumps([entry.identity for entry in entries])
        rows = self._database.rows(
            f"SELECT {COLUMNS} FROM json_each(?) AS asked CROSS JOIN records "
            "ON records.scope = json_extract(asked.value, '$[0]') "
            "AND records.content_hash = json_extract(asked.value, '$[1]')",
            pairs,
        )
        return {(row[4], row[9]): record_of(row) for row in rows}

    def _refuse_taken_ids(self, entries: Iterable[_Entry]) -> None:
        wanted = [entry.draft.id for entry in entries if entry.draft.id is not None]
        taken = set(self.existing(wanted))
        for id in wanted:
            if id in taken:
                raise InvalidInputError(
                    f"`id` {id!r} belongs to a record with other content or another scope",
                    "To change a record, use update().",
                )
            taken.add(id)

    def _insert(self, entries: Iterable[_Entry]) -> None:
        now = time.time()
        self._database.execute_many(
            "INSERT INTO records (id, scope, text, question, answer, metadata, created_at, "
            "updated_at, version, content_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
            [
                (
                    entry.draft.id or new_id(),
                    entry.scope,
                    entry.draft.text,
                    entry.draft.question,
                    entry.draft.answer,
                    entry.metadata,
                    now,
                    now,
                    entry.content_hash,
                )
                for entry in entries
            ],
        )

    def _refuse_twin(self, record: Record, content_hash: str) -> None:
        twin = self._database.value(
            "SELECT id FROM records WHERE scope = ? AND content_hash = ? AND id <> ?",
            canonical(record.scope),
            content_hash,
            record.id,
        )
        if twin is not None:
            raise InvalidInputError(
                f"record {record.id!r} would become identical to record {twin!r} of its scope",
                "Forget one of the two.",
            )

    def _archive(self, id: str) -> None:
        """Copy the current version into the history and delete its passages."""
        self._database.execute(
            "INSERT INTO versions (record, version, text, question, answer, metadata, created_at)"
            " SELECT rowid, version, text, question, answer, metadata, updated_at"
            " FROM records WHERE id = ?",
            id,
        )
        self._database.execute(
            "DELETE FROM passages WHERE record = (SELECT rowid FROM records WHERE id = ?)", id
        )


def record_of(row: Row) -> Record:
    """Make a record from a row that starts with `COLUMNS`."""
    id, text, question, answer, scope, metadata, created_at, updated_at, version, digest = row[:10]
    return Record(
        id=id,
        text=text,
        question=question,
        answer=answer,
        scope=parse(scope),
        metadata=json.loads(metadata),
        created_at=datetime.fromtimestamp(created_at, UTC),
        updated_at=datetime.fromtimestamp(updated_at, UTC),
        version=version,
        content_hash=digest,
    )


def _version(id: str, row: Row) -> Version:
    number, text, question, answer, metadata, created_at = row
    at = datetime.fromtimestamp(created_at, UTC)
    return Version(id, number, text, question, answer, json.loads(metadata), at)


def _entry(draft: Draft) -> _Entry:
    validate_draft(draft)
    return _Entry(
        draft=draft,
        scope=canonical(draft.scope),
        metadata=_dump(draft.metadata),
        content_hash=_hash(draft.text, draft.question, draft.answer),
    )


def _hash(text: str, question: str | None, answer: str | None) -> str:
    # As JSON, so that no two different triples give the same bytes.
    content = json.dumps([text, question, answer], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def _dump(metadata: Metadata) -> str:
    # Sorted, so that equal metadata gives equal text; `default` takes mappings that are no dict.
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True, default=dict)


def _cursor(after: str | None) -> int:
    if after is None:
        return 0
    if not isinstance(after, str) or not after.isdecimal():
        raise InvalidInputError(
            f"`after` must be the `next` of a page, got {after!r}", "Start without `after`."
        )
    return min(int(after), 2**63 - 1)
