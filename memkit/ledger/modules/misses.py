"""Records that training could not make any module hold, so that it is not tried in vain again."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine.sqlite import Database, json_list
from memkit.types import Record


class MissTable:
    """The last failed attempt at each record; it counts while text and recipe stay the same."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, records: Sequence[Record], recipe: str) -> None:
        """Note that training has failed on records as they are here; deleted ones are left out.

        Args:
            records: As they were trained.
            recipe: Identifies how they were trained.
        """
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO misses SELECT rowid, ?, ? FROM records WHERE id = ? "
                "ON CONFLICT (record) DO UPDATE "
                "SET content_hash = excluded.content_hash, recipe = excluded.recipe",
                [(record.content_hash, recipe, record.id) for record in records],
            )

    def recipes(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map those of the records that failed as they are now to the recipe that failed."""
        rows = self._database.rows(
            "SELECT records.id, misses.recipe FROM records JOIN misses "
            "ON records.rowid = misses.record AND records.content_hash = misses.content_hash "
            "WHERE records.id IN (SELECT value FROM json_each(?))",
            json_list("record_ids", record_ids),
        )
        return dict(rows)
