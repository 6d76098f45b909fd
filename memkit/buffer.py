"""The backend that keeps knowledge in the prompt: evidence is turns, and records if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.ledger import Ledger
from memkit.protocols import Query
from memkit.types import Evidence, Hit, Record, Turn
from memkit.types.validate import check_limit


class BufferBackend:
    """`memkit.protocols.Backend` over the ledger's conversation turns.

    It reads from the ledger what it contributes, so there is nothing to write, and nothing
    that could be out of step. All it remembers is which records it was told to let go of.

    Args:
        ledger: Where turns and records are.
        max_turns: Contribute at most so many turns, the newest.
        with_records: Contribute the newest records too, as they stand: for a memory without
            an index, whose knowledge can only be in the prompt.
    """

    def __init__(self, ledger: Ledger, *, max_turns: int = 50, with_records: bool = False) -> None:
        check_limit("max_turns", max_turns)
        self._ledger = ledger
        self._max_turns = max_turns
        self._with_records = with_records
        self._gone: set[str] = set()

    def write(self, records: Sequence[Record]) -> None:
        """Take back what was let go of; the records themselves are read from the ledger."""
        self._gone -= {record.id for record in records}

    def recall(self, query: Query) -> Evidence:
        """The recent turns of exactly the query's scope, and the newest records if asked for.

        Unlike records, turns of a wider scope are not shared: they are another conversation.
        """
        recent = self._ledger.turns.recent(query.scope, self._max_turns, period=query.period)
        turns = [turn for turn in reversed(recent) if turn.record_id not in self._gone]
        hits = self._newest(query, turns) if self._with_records else ()
        return Evidence(hits=hits, turns=tuple(turns))

    def delete(self, ids: Sequence[str]) -> int:
        """Leave records of the ledger, and their turns, out of the prompt from now on.

        What is deleted from the ledger is gone from here, too; this is for records that stay.
        """
        here = set(self._ledger.records.existing(ids)) - self._gone
        self._gone |= here
        return len(here)

    def stats(self) -> Mapping[str, int]:
        """How many turns the ledger holds."""
        return {"turns": self._ledger.turns.count()}

    def close(self) -> None:
        """Do nothing: the ledger is its owner's to close."""

    def _newest(self, query: Query, turns: Sequence[Turn]) -> tuple[Hit, ...]:
        """At most ``k`` whole records, newest first, without those that ``turns`` repeats."""
        left_out = self._gone | {turn.record_id for turn in turns if turn.record_id}
        ids = self._ledger.records.ids(
            visible_to=query.scope, where=query.where, period=query.period
        )
        newest = [id for id in reversed(ids) if id not in left_out][: query.k]
        records = self._ledger.records.get(newest, scope=query.scope)
        return tuple(
            Hit(record, record.text, 0, len(record.text), score=1 / place, similarity=None)
            for place, record in enumerate(records, start=1)
        )
