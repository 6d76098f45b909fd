"""Settings of a memory: texts by name, each with the checksum of its row."""

from __future__ import annotations

from memkit.ledger.engine.checksums import checked_columns, is_intact, verify, with_checksum
from memkit.ledger.engine.database import SCRUB_PENDING, Database, Row

_READ = f"SELECT {checked_columns('meta')} FROM meta"
_WRITE = (
    "INSERT INTO meta (name, value, checksum) VALUES (?, ?, ?) ON CONFLICT (name) "
    "DO UPDATE SET value = excluded.value, checksum = excluded.checksum"
)


def read_setting(database: Database, name: str) -> str | None:
    """Give a setting; None if it was never set. All are read once per change.

    Raises:
        CorruptFileError: If it is not as it was written.
    """

    def read() -> dict[str, tuple[Row, bool]]:
        return {row[0]: (row, is_intact(row)) for row in database.rows(_READ)}

    row, intact = database.cache.get(_READ, read).get(name, ((name, None), True))
    # The mark says nothing but that it is there, and triggers write it.
    if not intact and name != SCRUB_PENDING:
        verify("meta", row)
    value: str | None = row[1]
    return value


def write_setting(database: Database, name: str, value: str | None) -> None:
    """Write a setting; None removes it."""
    if value is None:
        database.execute("DELETE FROM meta WHERE name = ?", name)
    else:
        database.execute(_WRITE, *with_checksum("meta", name, value))
