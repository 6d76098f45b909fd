"""Files that must be destroyed; the list survives a crash between row and file."""

from __future__ import annotations

from pathlib import PurePosixPath

from memkit.errors import InvalidInputError
from memkit.ledger.engine.sqlite import Database


class ErasureTable:
    """Paths relative to the memory's directory, each until its file is destroyed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queue(self, path: str) -> None:
        """Note that a file must be destroyed. Repeating it changes nothing.

        Raises:
            InvalidInputError: If the path could lead out of the memory's directory.
        """
        check_relative("path", path)
        with self._database.transaction():
            self._database.execute("INSERT INTO erasures VALUES (?) ON CONFLICT DO NOTHING", path)

    def pending(self) -> list[str]:
        """List the files that are still to be destroyed."""
        return self._database.column("SELECT path FROM erasures ORDER BY path")

    def done(self, path: str) -> None:
        """Note that a file is destroyed. Unknown paths are no error."""
        with self._database.transaction():
            self._database.execute("DELETE FROM erasures WHERE path = ?", path)


def check_relative(name: str, path: str) -> None:
    """Check that a path stays inside of the memory's directory."""
    parts = PurePosixPath(path)
    if not parts.parts or parts.is_absolute() or ".." in parts.parts or "\\" in path:
        raise InvalidInputError(
            f"`{name}` must be a path below the memory's directory, with forward slashes, "
            f"got {path!r}"
        )
