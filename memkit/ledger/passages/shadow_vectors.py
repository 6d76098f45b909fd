"""Vectors of the embedder that is to follow the present one, until all of them are there."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from memkit.ledger.engine.checksums import with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.schema import NEXT_VECTORS, OLD_VECTORS
from memkit.ledger.engine.settings import read_setting, write_setting

_NEXT = "next_embedder"  # meta: name and dimension, as JSON

_WAITING = f"key NOT IN (SELECT passage FROM {NEXT_VECTORS})"


class ShadowVectorTable:
    """New vectors of passages, beside those that are in use."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def begun(self) -> str | None:
        """Name of the embedder that is being changed to; None if none is."""
        value = read_setting(self._database, _NEXT)
        return json.loads(value)[0] if value else None

    @property
    def left_over(self) -> bool:
        """Whether vectors of the former embedder are left, as a kill can leave them."""
        return self._database.has_table(OLD_VECTORS)

    def begin(self, name: str, dim: int) -> None:
        """Make room for the vectors of an embedder; what there is of it already stays."""
        embedder = json.dumps([name, dim])
        with self._database.transaction():
            if read_setting(self._database, _NEXT) == embedder:
                return
            self.drop()
            self._database.create_vectors(NEXT_VECTORS)
            write_setting(self._database, _NEXT, embedder)

    def drop(self) -> None:
        """Remove what an earlier change has left, and what one that is under way has made."""
        with self._database.transaction():
            for table in (NEXT_VECTORS, OLD_VECTORS):
                self._database.execute(f"DROP TABLE IF EXISTS {table}")
            write_setting(self._database, _NEXT, None)

    def waiting(self) -> int:
        """How many passages have no new vector yet."""
        return self._database.count("passages", _WAITING)

    def next_texts(self, *, after: int, limit: int) -> dict[int, str]:
        """Texts without a new vector, by the keys of their passages, from behind one."""
        sql = f"SELECT key, text FROM passages WHERE {_WAITING} AND key > ? ORDER BY key LIMIT ?"
        return dict(self._database.rows(sql, after, limit))

    def put(self, vectors: Mapping[int, NDArray[np.float32]]) -> None:
        """Store vectors of those of the passages that are still there."""
        with self._database.transaction():
            self._database.execute_many(
                f"INSERT INTO {NEXT_VECTORS} SELECT key, ?, ? FROM passages WHERE key = ? "
                "ON CONFLICT (passage) DO UPDATE SET vector = excluded.vector, "
                "checksum = excluded.checksum",
                [
                    (*with_checksum("vectors", key, vector.astype("<f4").tobytes())[1:], key)
                    for key, vector in vectors.items()
                ],
            )

    def take_over(self, name: str, dim: int) -> bool:
        """Put the new vectors in the place of the old ones; False if some are still missing."""
        with self._database.transaction():
            if self.waiting():
                return False
            # Everybody waits for this transaction, so nothing is copied in it.
            self._database.execute(f"ALTER TABLE vectors RENAME TO {OLD_VECTORS}")
            self._database.execute(f"ALTER TABLE {NEXT_VECTORS} RENAME TO vectors")
            # Indexes outside of SQLite follow the changes of passages.
            self._database.execute(
                "INSERT INTO changes (passage, added) SELECT key, 1 FROM passages"
            )
            for setting, value in (("embedder", name), ("embedder_dim", str(dim))):
                write_setting(self._database, setting, value)
            write_setting(self._database, _NEXT, None)
        return True
