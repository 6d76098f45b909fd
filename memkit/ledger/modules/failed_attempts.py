"""Records that no module could be trained to hold, so that it is not tried in vain again."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, list_parameter
from memkit.types import Record


class FailedAttemptTable:
    """The last failed attempt at each record; it counts while text and recipe stay the same."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, records: Sequence[Record], recipe: str) -> None:
        """Note that training by a recipe failed on records as they are here, unless deleted."""
        with self._database.transaction():
            self._database.execute_many(
                "INSERT INTO failed_attempts SELECT number, ?, ? FROM records WHERE id = ? "
                "ON CONFLICT (record) DO UPDATE "
                "SET content_hash = excluded.content_hash, recipe = excluded.recipe",
                [(record.content_hash, recipe, record.id) for record in records],
            )

    def recipes(self, record_ids: Sequence[str]) -> dict[str, str]:
        """Map those of the records that failed as they are now to the recipe that failed."""
        rows = self._database.rows(
            "SELECT records.id, attempt.recipe FROM records JOIN failed_attempts AS attempt "
            "ON records.number = attempt.record AND records.content_hash = attempt.content_hash "
            f"WHERE {in_list('records.id')}",
            list_parameter("record_ids", record_ids),
        )
        return dict(rows)
