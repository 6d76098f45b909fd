"""What every backend does; subclass it and define the fixture ``backend``."""

# ruff: noqa: S101 - these are tests

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from memkit.protocols import Backend
from memkit.types import Evidence, Query, Record


class BackendContract:
    """What every `memkit.protocols.Backend` does. Define the fixture ``backend``.

    Override `make_records` if the backend needs its records elsewhere first, `remove` if they
    have to leave that place too, `settle` if it takes more than writing until they are recalled,
    `recalled` if its evidence is of another kind.
    """

    def make_records(self, n: int) -> list[Record]:
        """``n`` records with a question each, the last two in a scope of their own."""
        return [_record(number, {"user": "u1"} if number >= n - 2 else {}) for number in range(n)]

    def remove(self, backend: Backend, ids: Sequence[str]) -> None:
        """Let the backend forget records, and whatever else has them."""
        backend.delete(ids)
        backend.scrub()

    def settle(self, backend: Backend) -> None:
        """Do what it takes after a write until records are recalled."""

    def recalled(self, evidence: Evidence) -> set[str]:
        """Ids of the records that the evidence speaks of."""
        ids = {hit.id for hit in evidence.hits}
        ids |= {turn.record_id for turn in evidence.turns if turn.record_id}
        if evidence.route:
            ids |= {fact.record_id for fact in evidence.route.support if fact.module}
        return ids

    def ask(self, backend: Backend, record: Record, scope: Mapping[str, str]) -> set[str]:
        """Ids that come up when the record's question is asked in a scope."""
        return self.recalled(backend.recall(Query(record.question or record.text, scope=scope)))

    def test_what_is_written_is_recalled(self, backend: Backend) -> None:
        """Every record comes up when its question is asked in its scope."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        for record in records:
            assert record.id in self.ask(backend, record, record.scope)

    def test_writing_twice_changes_nothing(self, backend: Backend) -> None:
        """The second time is as if it had not been."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        once = dict(backend.stats()), self.ask(backend, records[0], {})
        backend.write(records)
        self.settle(backend)
        assert (dict(backend.stats()), self.ask(backend, records[0], {})) == once

    def test_what_is_deleted_is_removed(self, backend: Backend) -> None:
        """It does not come up any more; the others still do."""
        removed, kept, *_ = records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        self.remove(backend, [removed.id])
        assert removed.id not in self.ask(backend, removed, removed.scope)
        assert kept.id in self.ask(backend, kept, kept.scope)
        self.remove(backend, [removed.id])

    def test_unknown_ids_are_no_error(self, backend: Backend) -> None:
        """There is nothing to let go of."""
        kept = self.make_records(4)[0]
        backend.write([kept])
        self.settle(backend)
        backend.delete(["no-such-id"])
        backend.delete([])
        assert kept.id in self.ask(backend, kept, kept.scope)

    def test_nothing_comes_of_nothing(self, backend: Backend) -> None:
        """An empty backend has no evidence, and writing nothing keeps it so."""
        backend.write([])
        assert self.recalled(backend.recall(Query("Which badge does worker 0 have?"))) == set()

    def test_scopes_do_not_leak(self, backend: Backend) -> None:
        """A record of a scope is unknown to another scope, and to none."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        private = records[-1]
        assert private.scope
        other = dict.fromkeys(private.scope, "someone else")
        for scope in ({}, other):
            assert private.id not in self.ask(backend, private, scope)
        assert private.id in self.ask(backend, private, {**private.scope, "session": "s7"})

    def test_stats_are_counts(self, backend: Backend) -> None:
        """Non-negative integers by name."""
        backend.write(self.make_records(4))
        for name, count in backend.stats().items():
            assert isinstance(name, str)
            assert type(count) is int
            assert count >= 0

    def test_closing_twice_changes_nothing(self, backend: Backend) -> None:
        """The second time is as if it had not been."""
        backend.write(self.make_records(4))
        backend.close()
        backend.close()


def _record(number: int, scope: Mapping[str, str]) -> Record:
    text = f"The badge number of worker {number} is {4471 + 37 * number}."
    return Record(
        id=f"record-{number}",
        text=text,
        question=f"Which badge does worker {number} have?",
        answer=str(4471 + 37 * number),
        scope=scope,
        metadata={"number": number},
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
        updated_at=datetime(2025, 1, 1, tzinfo=UTC),
        version=1,
        content_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
