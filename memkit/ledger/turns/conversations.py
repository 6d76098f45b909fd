"""Who said what, and what was said around it: the ledger's turns as retrieval sees them."""

# ruff: noqa: S608 - only constants are formatted into the SQL; what users say is a parameter

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from memkit.ledger.engine.sqlite import Database, json_list
from memkit.ledger.records.where import AT, LIVE
from memkit.types import Scope
from memkit.types.scope import visible_keys


@dataclass(frozen=True)
class SpokenLine:
    """The turn that a record was said in; the latest, if it was said more than once.

    Attributes:
        speaker: The name of who said it, or None.
        asks: Whether it ends with a question mark.
        around: Keys of the text passages of the turns before and after it.
    """

    speaker: str | None
    asks: bool
    around: tuple[int, ...]


class Conversations:
    """Turns and their neighbours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def exist(self) -> bool:
        """Whether there is any turn at all."""
        return self._database.value("SELECT 1 FROM turns LIMIT 1") is not None

    def speakers(self, *, visible_to: Scope) -> list[str]:
        """List the names of those who speak in the conversations that a query may see."""
        # Jumps from name to name through the index, however many turns each has.
        return self._database.column(
            "WITH RECURSIVE found (scope, name) AS ("
            "SELECT value, (SELECT min(name) FROM turns WHERE scope = value) FROM json_each(?) "
            "UNION ALL SELECT scope, (SELECT min(turns.name) FROM turns "
            "WHERE turns.scope = found.scope AND turns.name > found.name) "
            "FROM found WHERE name IS NOT NULL) "
            "SELECT DISTINCT name FROM found WHERE name IS NOT NULL ORDER BY name",
            json.dumps(visible_keys(visible_to)),
        )

    def said(self, record_ids: Sequence[str], *, reach: int) -> dict[str, SpokenLine]:
        """Find the turns of those records that were said.

        Args:
            record_ids: Any records.
            reach: So many remembered turns before and after belong to what is around.
        """
        chosen = json_list("record_ids", record_ids)
        turns = self._database.rows(
            "SELECT records.id, max(turns.rowid), turns.name, rtrim(turns.content) LIKE '%?' "
            "FROM records JOIN turns ON turns.record = records.rowid "
            "WHERE records.id IN (SELECT value FROM json_each(?)) GROUP BY records.rowid",
            chosen,
        )
        around: dict[int, list[int]] = {turn: [] for _, turn, _, _ in turns}
        for turn, key in self._around(list(around), reach) if reach and around else ():
            around[turn].append(key)
        return {
            id: SpokenLine(name, bool(asks), tuple(around[turn])) for id, turn, name, asks in turns
        }

    def days(self, record_ids: Sequence[str]) -> dict[str, date]:
        """On which day (UTC) records were said; without those of which nothing says that."""
        rows = self._database.rows(
            f"SELECT records.id, {AT} FROM records "
            "WHERE records.id IN (SELECT value FROM json_each(?)) AND (said_at IS NOT NULL "
            "OR EXISTS (SELECT 1 FROM turns WHERE turns.record = records.rowid))",
            json_list("record_ids", record_ids),
        )
        return {id: datetime.fromtimestamp(at, UTC).date() for id, at in rows}

    def _around(self, turns: Sequence[int], reach: int) -> list[tuple[int, int]]:
        """Pairs of a turn and a passage of a turn near it in the same conversation."""
        near = " UNION ALL ".join(
            "SELECT rowid FROM (SELECT rowid FROM turns WHERE turns.scope = centre.scope "
            f"AND turns.rowid {side} centre.rowid AND turns.record IS NOT NULL "
            f"ORDER BY turns.rowid {order} LIMIT ?2)"
            for side, order in (("<", "DESC"), (">", "ASC"))
        )
        rows = self._database.rows(
            "SELECT centre.rowid, passages.key FROM turns AS centre "
            f"CROSS JOIN turns AS other ON other.rowid IN ({near}) "
            "CROSS JOIN records ON records.rowid = other.record "
            "CROSS JOIN passages ON passages.record = records.rowid "
            "WHERE centre.rowid IN (SELECT value FROM json_each(?1)) "
            f"AND passages.kind = 'text' AND {LIVE}",
            json_list("turns", turns),
            reach,
        )
        return [(turn, key) for turn, key in rows]
