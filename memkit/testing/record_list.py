"""Records in memory, for the tests of a backend: they need no ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import uuid4

from memkit.ledger.records.filters import parse
from memkit.protocols import Records
from memkit.testing.fakes import new_record
from memkit.types import Draft, Metadata, Record, Scope
from memkit.types.scope import contains


class RecordList(Records):
    """What a memory would hold, in the order added; `memkit.protocols.Records` reads it."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def add(self, drafts: Iterable[Draft]) -> list[Record]:
        """Store drafts as records of version 1; a draft without an id gets one."""
        records = [
            replace(
                new_record(d.id or uuid4().hex, d.text, d.question, d.answer, d.scope),
                metadata=d.metadata,
            )
            for d in drafts
        ]
        self._records |= {record.id: record for record in records}
        return records

    def delete(self, ids: Iterable[str]) -> None:
        """Remove records. Unknown ids are no error."""
        for id in ids:
            self._records.pop(id, None)

    def ids(self, *, visible_to: Scope | None = None, where: Metadata | None = None) -> list[str]:
        """See `Records.ids`."""
        accepted = None if where is None else parse(where).matches
        return [
            record.id
            for record in self.find(list(self._records), scope=visible_to)
            if accepted is None or accepted(record.metadata)
        ]

    def find(self, ids: Sequence[str], *, scope: Scope | None = None) -> list[Record]:
        """See `Records.find`."""
        records = (self._records[id] for id in ids if id in self._records)
        return [r for r in records if scope is None or contains(scope, r.scope)]
