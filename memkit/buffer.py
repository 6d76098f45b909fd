"""The backend that keeps knowledge in the prompt: evidence is turns, and records if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.ledger import Ledger
from memkit.protocols import Backend
from memkit.types import Evidence, Hit, Query, Record, Turn
from memkit.types.validate import check_limit


class BufferBackend(Backend):
    """Conversation turns, read from the ledger: there is nothing to write or to delete.

    Args:
        ledger: Where turns and records are.
        max_turns: Contribute at most so many turns, the newest.
        with_records: Contribute the newest records too, as they stand: for a memory without
            an index, whose knowledge can only be in the prompt.
    """

    name = "buffer"

    def __init__(self, ledger: Ledger, *, max_turns: int = 50, with_records: bool = False) -> None:
        check_limit("max_turns", max_turns)
        self._ledger = ledger
        self._max_turns = max_turns
        self._with_records = with_records

    def write(self, records: Sequence[Record]) -> None:
        """Do nothing: what is recalled is read from the ledger."""

    def recall(self, query: Query) -> Evidence:
        """The recent turns of exactly the query's scope, and the newest records if asked for.

        Unlike records, turns of a wider scope are not shared: they are another conversation.
        """
        recent = self._ledger.turns.recent(query.scope, self._max_turns, period=query.period)
        turns = recent[::-1]
        hits = self._newest(query, turns) if self._with_records else ()
        return Evidence(hits=hits, turns=tuple(turns))

    def delete(self, ids: Sequence[str]) -> None:
        """Do nothing: what leaves the ledger is not read any more."""

    def stats(self) -> Mapping[str, int]:
        """How many turns the ledger holds."""
        return {"turns": self._ledger.turns.count()}

    def _newest(self, query: Query, turns: Sequence[Turn]) -> tuple[Hit, ...]:
        """At most ``k`` whole records, newest first, without those that ``turns`` repeats.

        A record that was corrected says something else than the turn that it was made of.
        """
        spoken = {(turn.record_id, turn.content) for turn in turns}
        ids = self._ledger.records.ids(
            visible_to=query.scope, where=query.where, period=query.period
        )
        # Of those that turns repeat, not more can be left out than there are.
        newest = ids[::-1][: query.k + len(spoken)]
        records = self._ledger.records.find(newest, scope=query.scope)
        others = [record for record in records if (record.id, record.text) not in spoken]
        return tuple(
            Hit(record, record.text, 0, len(record.text), score=1 / place, similarity=None)
            for place, record in enumerate(others[: query.k], start=1)
        )
