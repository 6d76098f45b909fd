"""The backend that keeps knowledge in the prompt: evidence is turns, and records if asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.protocols import Query
from memkit.types import Evidence, Hit, Record, Turn


class BufferBackend:
    """`memkit.protocols.Backend` over the ledger's conversation turns.

    It has no state of its own: it reads from the ledger what it contributes, so it is in step
    with it by construction.

    Args:
        ledger: Where turns and records are.
        max_turns: Contribute at most so many turns, the newest.
        with_records: Contribute the newest records too, as they stand: for a memory without
            an index, whose knowledge can only be in the prompt.
    """

    def __init__(self, ledger: Ledger, *, max_turns: int = 50, with_records: bool = False) -> None:
        if not isinstance(max_turns, int) or isinstance(max_turns, bool) or max_turns < 1:
            raise InvalidInputError(
                f"expected `max_turns` to be a positive integer, got {max_turns!r}"
            )
        self._ledger = ledger
        self._max_turns = max_turns
        self._with_records = with_records

    def write(self, records: Sequence[Record]) -> None:
        """Do nothing: the records are in the ledger, and that is where `recall` reads."""

    def recall(self, query: Query) -> Evidence:
        """The recent turns of exactly the query's scope, and the newest records if asked for.

        Unlike records, turns of a wider scope are not shared: they are another conversation.
        """
        turns = self._ledger.turns.recent(query.scope, self._max_turns)[::-1]
        hits = self._newest(query, turns) if self._with_records else ()
        return Evidence(hits=hits, turns=tuple(turns))

    def delete(self, ids: Sequence[str]) -> int:  # noqa: ARG002 - the contract's signature
        """Do nothing and return 0: turns leave the ledger together with their records."""
        return 0

    def stats(self) -> Mapping[str, int]:
        """How many turns the ledger holds."""
        return {"turns": self._ledger.turns.count()}

    def close(self) -> None:
        """Do nothing: the ledger is its owner's to close."""

    def _newest(self, query: Query, turns: Sequence[Turn]) -> tuple[Hit, ...]:
        """At most ``k`` whole records, newest first, without those that ``turns`` repeats."""
        spoken = {turn.record_id for turn in turns}
        ids = self._ledger.records.ids(visible_to=query.scope, where=query.where)
        newest = [id for id in reversed(ids) if id not in spoken][: query.k]
        records = self._ledger.records.get(newest, scope=query.scope)
        return tuple(
            Hit(record, record.text, 0, len(record.text), score=1 / place, similarity=None)
            for place, record in enumerate(records, start=1)
        )
