"""Tests that every backend passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.protocols import Backend
from memkit.testing.fakes import new_record
from memkit.types import Evidence, Query, Record


class BackendContract:
    """What every `memkit.protocols.Backend` does. Define the fixture ``backend``.

    Override `make_records` if the backend needs its records elsewhere first, `remove` if they
    have to leave that place too, `settle` if it takes more than writing until they are recalled,
    `recalled` if its evidence is of another kind.
    """

    def make_records(self, n: int) -> list[Record]:
        """``n`` records with a question each, the last two in a scope of their own."""
        return [
            new_record(
                f"record-{number}",
                f"The badge number of worker {number} is {4471 + 37 * number}.",
                f"Which badge does worker {number} have?",
                str(4471 + 37 * number),
                scope={"user": "u1"} if number >= n - 2 else {},
            )
            for number in range(n)
        ]

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

    def written(self, backend: Backend) -> list[Record]:
        """Four records that were written and have settled."""
        records = self.make_records(4)
        backend.write(records)
        self.settle(backend)
        return records

    def ask(self, backend: Backend, record: Record, scope: Mapping[str, str]) -> set[str]:
        """Ids that come up when the record's question is asked in a scope."""
        return self.recalled(backend.recall(Query(record.question or record.text, scope=scope)))

    def test_what_is_written_is_recalled(self, backend: Backend) -> None:
        for record in self.written(backend):
            assert record.id in self.ask(backend, record, record.scope)

    def test_writing_twice_changes_nothing(self, backend: Backend) -> None:
        records = self.written(backend)
        once = dict(backend.stats()), self.ask(backend, records[0], {})
        backend.write(records)
        self.settle(backend)
        assert (dict(backend.stats()), self.ask(backend, records[0], {})) == once

    def test_what_is_deleted_is_removed(self, backend: Backend) -> None:
        removed, other, *_ = self.written(backend)
        self.remove(backend, [removed.id])
        assert removed.id not in self.ask(backend, removed, removed.scope)
        assert other.id in self.ask(backend, other, other.scope)
        self.remove(backend, [removed.id])

    def test_unknown_ids_are_no_error(self, backend: Backend) -> None:
        record, *_ = self.written(backend)
        backend.delete(["no-such-id"])
        backend.delete([])
        assert record.id in self.ask(backend, record, record.scope)

    def test_nothing_comes_of_nothing(self, backend: Backend) -> None:
        """An empty backend has no evidence, and writing nothing keeps it so."""
        backend.write([])
        assert self.recalled(backend.recall(Query("Which badge does worker 0 have?"))) == set()

    def test_scopes_do_not_leak(self, backend: Backend) -> None:
        """A record of a scope is unknown to another scope, and to none."""
        private = self.written(backend)[-1]
        assert private.scope
        for scope in ({}, dict.fromkeys(private.scope, "someone else")):
            assert private.id not in self.ask(backend, private, scope)
        assert private.id in self.ask(backend, private, {**private.scope, "session": "s7"})

    def test_stats_are_counts(self, backend: Backend) -> None:
        backend.write(self.make_records(4))
        for name, count in backend.stats().items():
            assert isinstance(name, str)
            assert type(count) is int
            assert count >= 0

    def test_closing_twice_changes_nothing(self, backend: Backend) -> None:
        backend.write(self.make_records(4))
        backend.close()
        backend.close()
