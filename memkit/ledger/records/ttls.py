"""How long what is written to a scope lives, unless it says so itself."""

from __future__ import annotations

from collections.abc import Iterable

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
        return self.of_each([scope])[scope_key(scope)]

    def of_each(self, scopes: Iterable[Scope]) -> dict[str, float | None]:
        """As `of`, for several scopes, by their stored forms; one read, or none for no scope."""
        visible = {scope_key(scope): visible_keys(scope) for scope in scopes}
        if not visible:
            return {}
        rows = self._database.rows(
            f"SELECT {checked_columns('ttls')} FROM ttls WHERE {in_list('scope')}",
            list_parameter("scope", {key: None for keys in visible.values() for key in keys}),
        )
        for row in rows:
            verify("ttls", row)
        seconds = {key: seconds for key, seconds, _ in rows}
        return {
            own: min(
                ((-len(parse_scope_key(key)), seconds[key]) for key in keys if key in seconds),
                default=(0, None),
            )[1]
            for own, keys in visible.items()
        }

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
