"""Which record a draft is about: one of the same key, or one that says the same."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from memkit.ledger.engine.sqlite import Database
from memkit.ledger.records.record_rows import Entry
from memkit.ledger.records.where import LIVE

_COLUMNS = "records.rowid, records.id, records.scope, records.key, records.content_hash"


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
        for one in records:
            self.note(one)

    @classmethod
    def of(cls, database: Database, entries: Sequence[Entry], *, condition: str = LIVE) -> Self:
        """Look up the records that entries may be about, oldest first."""
        asked = json.dumps([[entry.scope, entry.content_hash, entry.key] for entry in entries])
        found = f"SELECT {_COLUMNS} FROM json_each(?1) AS asked "
        same_scope = "ON records.scope = json_extract(asked.value, '$[0]')"
        rows = database.rows(
            f"{found} CROSS JOIN records {same_scope} "
            f"AND records.content_hash = json_extract(asked.value, '$[1]') WHERE {condition} "
            f"UNION {found} CROSS JOIN records {same_scope} "
            f"AND records.key = json_extract(asked.value, '$[2]') WHERE {condition} "
            "ORDER BY 1",
            asked,
        )
        return cls(Stored(*row[1:]) for row in rows)

    @property
    def ids(self) -> list[str]:
        """The ids of the records."""
        return [one.id for alike in self._by_content.values() for one in alike]

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
            one for one in alike if one.key in {None, entry.question_key} and id in {None, one.id}
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
