"""Files that must be destroyed; the list survives a crash between row and file."""

from __future__ import annotations

from memkit.ledger.engine.database import Database
from memkit.ledger.stored_paths import StoredPath


class ErasureTable:
    """Paths relative to the memory's directory, each until its file is destroyed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, path: str) -> None:
        """Note that a file must be destroyed. Repeating it changes nothing.

        Raises:
            UnsafePathError: If the path is none of a file of the memory.
        """
        StoredPath.parse(path)
        with self._database.transaction():
            self._database.execute("INSERT INTO erasures VALUES (?) ON CONFLICT DO NOTHING", path)

    def pending(self) -> list[str]:
        """List the files that are still to be destroyed."""
        return self._database.column("SELECT path FROM erasures ORDER BY path")

    def done(self, path: str) -> None:
        """Note that a file is destroyed. Unknown paths are no error."""
        with self._database.transaction():
            self._database.execute("DELETE FROM erasures WHERE path = ?", path)
