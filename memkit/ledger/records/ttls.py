"""How long what is written to a scope lives, unless it says so itself."""

from __future__ import annotations

import json

from memkit.ledger.engine.sqlite import Database
from memkit.ledger.records.where import within_sql
from memkit.types import Scope
from memkit.types.scope import parse_scope_key, scope_key, visible_keys


class TtlTable:
    """Default times to live, by scope."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set(self, scope: Scope, seconds: float | None) -> None:
        """Set the default of a scope and of all that are narrower; None removes it."""
        key = scope_key(scope)
        with self._database.transaction():
            if seconds is None:
                self._database.execute("DELETE FROM ttls WHERE scope = ?", key)
            else:
                self._database.execute(
                    "INSERT INTO ttls VALUES (?, ?) "
                    "ON CONFLICT (scope) DO UPDATE SET seconds = excluded.seconds",
                    key,
                    seconds,
                )

    def of(self, scope: Scope) -> float | None:
        """Give the default that holds for a scope; None if there is none.

        The scope that has most keys decides; of several of them, the shortest time.
        """
        rows = self._database.rows(
            "SELECT scope, seconds FROM ttls WHERE scope IN (SELECT value FROM json_each(?))",
            json.dumps(visible_keys(scope)),
        )
        found = sorted((-len(parse_scope_key(key)), seconds) for key, seconds in rows)
        return found[0][1] if found else None

    def delete(self, *, within: Scope) -> int:
        """Delete the defaults of this scope and of narrower ones; returns how many."""
        condition, parameters = within_sql("ttls.scope", within)
        with self._database.transaction():
            removed = self._database.execute(f"DELETE FROM ttls WHERE {condition}", *parameters)  # noqa: S608
            if removed:
                self._database.mark_for_scrub()
        return removed
