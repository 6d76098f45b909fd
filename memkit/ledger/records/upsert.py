"""Which record a draft is about: one of the same key, or one that says the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from memkit.ledger.engine.dialect import THEN_JOIN, list_parameter, listed_rows
from memkit.ledger.engine.sqlite import Database
from memkit.ledger.records.record_rows import Entry
from memkit.ledger.records.where import LIVE

_COLUMNS = "records.number, records.id, records.scope, records.key, records.content_hash"


@dataclass(frozen=True)
class Stored:
    """As much of a record as it takes to tell which drafts are about it."""

    id: str
    scope: str
    key: str | None
    content_hash: str


class Known:
    """The records that some drafts may be about; kept in step while the drafts are stored."""

    def __init__(self, records: Iterable[Stored]) -> None:
        self._by_key: dict[tuple[str, str], Stored] = {}
        self._by_content: dict[tuple[str, str], list[Stored]] = {}
        for record in records:
            self.note(record)

    @classmethod
    def of(cls, database: Database, entries: Sequence[Entry], *, condition: str = LIVE) -> Self:
        """Look up the records that entries may be about, oldest first."""
        same_scope = (
            f"SELECT {_COLUMNS} FROM {listed_rows('draft', 'scope', 'content_hash', 'key')} "
            f"{THEN_JOIN} records ON records.scope = draft.scope"
        )
        drafts = [[entry.scope, entry.content_hash, entry.key] for entry in entries]
        rows = database.rows(
            f"{same_scope} AND records.content_hash = draft.content_hash WHERE {condition} "
            f"UNION {same_scope} AND records.key = draft.key WHERE {condition} ORDER BY 1",
            *[list_parameter("drafts", drafts)] * 2,
        )
        return cls(Stored(*row[1:]) for row in rows)

    @property
    def ids(self) -> list[str]:
        """The ids of the records."""
        return [record.id for alike in self._by_content.values() for record in alike]

    def match(self, entry: Entry) -> Stored | None:
        """Give the record that an entry is about; None if it is about nothing known.

        A key that was given decides; a record that says the same and has no such key counts as
        well, unless the entry is to have another id. Without a key, what says the same comes
        first, then an answer to the same question.
        """
        alike = self._by_content.get((entry.scope, entry.content_hash), [])
        named = self._by_key.get((entry.scope, entry.key)) if entry.key is not None else None
        if entry.draft.key is None:
            return alike[0] if alike else named
        id = entry.draft.id
        unnamed = [
            record
            for record in alike
            if record.key in {None, entry.question_key} and id in {None, record.id}
        ]
        return named or (unnamed[0] if unnamed else None)

    def note(self, record: Stored) -> None:
        """Take a record in."""
        if record.key is not None:
            self._by_key[record.scope, record.key] = record
        self._by_content.setdefault((record.scope, record.content_hash), []).append(record)

    def forget(self, record: Stored) -> None:
        """Let a record go that is about to change."""
        if record.key is not None:
            del self._by_key[record.scope, record.key]
        self._by_content[record.scope, record.content_hash].remove(record)
