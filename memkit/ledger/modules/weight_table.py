"""Weights of a memory on a server: files of one row each, in pieces, beside the versions.

They are stored in the transaction that commits their version, and a trigger deletes them in the
one that lets go of it. So there are no weights that no version names, whoever is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import octets


class WeightTable:
    """The files that `ModuleFile.path` names. Only a database on a server has the table."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, path: str, pieces: Iterable[bytes]) -> None:
        """Store a file, within the transaction that commits its version."""
        with self._database.transaction():
            for place, piece in enumerate(pieces):
                self._database.execute("INSERT INTO weights VALUES (?, ?, ?)", path, place, piece)

    def pieces(self, path: str) -> Iterator[bytes]:
        """Read a file piece by piece; nothing if it is not there, or not any more."""
        for place in count():
            sql = "SELECT data FROM weights WHERE path = ? AND piece = ?"
            piece = self._database.value(sql, path, place)
            if piece is None:
                return
            yield bytes(piece)

    def sizes(self) -> dict[str, int]:
        """Tell how many bytes there are of each file."""
        sql = f"SELECT path, CAST(sum({octets('data')}) AS BIGINT) FROM weights GROUP BY path"
        return dict(self._database.rows(sql))
