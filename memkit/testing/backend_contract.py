"""Tests that every backend passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from memkit.protocols import Backend
from memkit.testing.record_list import RecordList
from memkit.types import Draft, Evidence, Query, Record, Scope
from memkit.types.scope import contains


class BackendContract:
    """What every `memkit.protocols.Backend` does. Define the fixture ``backend``: a new one.

    The suite stands for the memory: it holds the records, gives them to the backend with `sync`,
    and calls `prepare` before `write`. Hooks to override:

    - `make_draft`, if the backend finds records by something else than their words,
    - `make_recallable`, if it takes more than writing until they are recalled,
    - `recalled`, if the evidence is of another kind,
    - `make_records` and `remove`, if records are also elsewhere.
    """

    @cached_property
    def records(self) -> RecordList:
        """What the memory holds; the fixture may set another store with the same methods."""
        return RecordList()

    def make_draft(self, number: int, scope: Scope) -> Draft:
        """A draft of its own for each number, with a question that the backend finds it by."""
        answer = str(4471 + 37 * number)
        return Draft(
            f"The badge number of worker {number} is {answer}.",
            f"Which badge does worker {number} have?",
            answer,
            scope,
            {"number": number},
            id=f"record-{number}",
        )

    def make_records(self, drafts: Sequence[Draft]) -> list[Record]:
        """Let the memory hold drafts as records, before they are written to the backend."""
        return self.records.add(drafts)

    def make_recallable(self, backend: Backend) -> None:
        """Do what it takes after a write until records are recalled."""

    def remove(self, backend: Backend, ids: Sequence[str]) -> None:
        """Let the backend forget records, then the memory."""
        backend.delete(ids)
        self.records.delete(ids)
        backend.scrub()

    def recalled(self, evidence: Evidence) -> set[str]:
        """Ids of the records that the evidence speaks of."""
        ids = {hit.id for hit in evidence.hits}
        ids |= {turn.record_id for turn in evidence.turns if turn.record_id}
        if evidence.route:
            ids |= {fact.record_id for fact in evidence.route.support if fact.module}
        return ids

    def drafts(self) -> list[Draft]:
        """Four drafts, the last two of a scope of their own."""
        return [self.make_draft(n, {"user": "u1"} if n >= 2 else {}) for n in range(4)]

    def written(self, backend: Backend) -> list[Record]:
        """Records of `drafts` in a backend that has just been opened, ready to be recalled."""
        backend.sync(self.records)
        drafts = self.drafts()
        backend.prepare(drafts)
        records = self.make_records(drafts)
        backend.write(records)
        self.make_recallable(backend)
        return records

    def ask(self, backend: Backend, record: Record | Draft, scope: Mapping[str, str]) -> set[str]:
        """Ids that the memory would show when the record's question is asked in a scope.

        Like the memory, it leaves out hits that the scope may not see. Turns and routes it takes
        as they are.
        """
        evidence = backend.recall(Query(record.question or record.text, scope=scope))
        hits = tuple(hit for hit in evidence.hits if contains(scope, hit.record.scope))
        return self.recalled(replace(evidence, hits=hits))

    def test_what_is_written_is_recalled(self, backend: Backend) -> None:
        for record in self.written(backend):
            assert record.id in self.ask(backend, record, record.scope)

    def test_what_the_memory_held_before_is_recalled(self, backend: Backend) -> None:
        """`sync` takes in what was never written here; repeating it changes nothing."""
        records = self.make_records(self.drafts())
        for _ in range(2):
            backend.sync(self.records)
            self.make_recallable(backend)
            for record in records:
                assert record.id in self.ask(backend, record, record.scope)

    def test_writing_twice_changes_nothing(self, backend: Backend) -> None:
        records = self.written(backend)
        once = dict(backend.stats()), self.ask(backend, records[0], {})
        backend.write(records)
        self.make_recallable(backend)
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
        backend.sync(self.records)
        backend.prepare([])
        backend.write([])
        assert self.ask(backend, self.make_draft(0, {}), {}) == set()

    def test_scopes_do_not_leak(self, backend: Backend) -> None:
        """A record of a scope is unknown to another scope, and to none; narrower ones see it."""
        private = self.written(backend)[-1]
        assert private.scope
        for scope in ({}, dict.fromkeys(private.scope, "someone else")):
            assert private.id not in self.ask(backend, private, scope)
        assert private.id in self.ask(backend, private, {**private.scope, "session": "s7"})

    def test_stats_are_counts(self, backend: Backend) -> None:
        self.written(backend)
        for name, count in backend.stats().items():
            assert isinstance(name, str)
            assert type(count) is int
            assert count >= 0

    def test_closing_twice_changes_nothing(self, backend: Backend) -> None:
        self.written(backend)
        backend.close()
        backend.close()
