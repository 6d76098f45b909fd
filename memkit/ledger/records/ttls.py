"""How long what is written to a scope lives, unless it says so itself."""

from __future__ import annotations

from memkit.ledger.engine.checksums import checked_columns, verify, with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, list_parameter, within_scope
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
                write_ttl(self._database, key, seconds)

    def of(self, scope: Scope) -> float | None:
        """Give the default of a scope, or None: of most keys first, and then the shortest."""
        rows = self._database.rows(
            f"SELECT {checked_columns('ttls')} FROM ttls WHERE {in_list('scope')}",
            list_parameter("scope", visible_keys(scope)),
        )
        for row in rows:
            verify("ttls", row)
        ranked = sorted((-len(parse_scope_key(key)), seconds) for key, seconds, _ in rows)
        return ranked[0][1] if ranked else None

    def delete(self, *, within: Scope) -> int:
        """Delete the defaults of this scope and of narrower ones; returns how many."""
        condition, parameters = within_scope("ttls.scope", within)
        return len(self._database.erase("ttls", condition, *parameters, giving="scope"))


def write_ttl(database: Database, scope: str, seconds: float) -> None:
    """Set the default of a scope in its stored form; runs inside a transaction."""
    database.execute(
        "INSERT INTO ttls (scope, seconds, checksum) VALUES (?, ?, ?) ON CONFLICT (scope) "
        "DO UPDATE SET seconds = excluded.seconds, checksum = excluded.checksum",
        *with_checksum("ttls", scope, float(seconds)),  # which is how it is read
    )
