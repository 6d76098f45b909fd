"""Passages on their way into the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from memkit.errors import (
    DimensionMismatchError,
    InvalidInputError,
    NonFiniteError,
    RecordNotFoundError,
)
from memkit.ledger.engine.checksums import with_checksum
from memkit.ledger.engine.database import Database
from memkit.ledger.engine.dialect import in_list, in_numbers, list_parameter, octets
from memkit.text.scripts import terms

Kind = Literal["text", "question"]

_NUMBERS_OF = f"SELECT number FROM records WHERE {in_list('id')}"
# Of records, with the dimension of what is stored, if anything is.
_ROWS_OF = (
    f"SELECT id, number, (SELECT {octets('vector')} / 4 FROM vectors LIMIT 1) "
    f"FROM records WHERE {in_list('id')}"
)
_UNANNOUNCED = "key NOT IN (SELECT passage FROM changes)"


@dataclass(frozen=True)
class NewPassage:
    """A passage that is about to be stored: a slice of the record's text, or its question."""

    kind: Kind
    start: int  # offset in the record's text, in characters; 0 for a question
    end: int
    text: str
    vector: NDArray[np.float32] = field(repr=False, compare=False)  # shape (dim,)
    # Name of the embedder that made the vector; None if that makes no difference.
    embedder: str | None = field(default=None, compare=False)


class PassageWrites:
    """The part of `memkit.ledger.passages.passage_table.PassageTable` that adds passages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def insert(self, passages: Mapping[str, Sequence[NewPassage]]) -> None:
        """Store the passages of records, by id, in place of those that they had.

        Raises:
            RecordNotFoundError: If there is no such record.
            NonFiniteError: If a vector holds NaN or infinity.
            DimensionMismatchError: If the vectors' dimension is not that of the stored ones.
        """
        new = [passage for own in passages.values() for passage in own]
        vectors = [_checked(passage.vector) for passage in new]
        with self._database.transaction():
            ids = list_parameter("ids", passages)
            self._database.execute(f"DELETE FROM passages WHERE record IN ({_NUMBERS_OF})", ids)
            rows_of = self._database.rows(_ROWS_OF, ids)
            numbers = {id: number for id, number, _ in rows_of}
            for id in passages:
                if id not in numbers:
                    raise RecordNotFoundError(f"no record has the id {id!r}")
            _check_dimension(vectors, rows_of[0][-1] if rows_of else None)
            # Numbered as the database would: one statement for all is much faster.
            first = self._database.take_numbers("passages", len(new))
            owners = [numbers[id] for id, own in passages.items() for _ in own]
            rows = [
                (key, record, made.kind, made.start, made.end, *derived(made.text))
                for key, (record, made) in enumerate(zip(owners, new, strict=True), first)
            ]
            self._database.execute_many(
                'INSERT INTO passages (key, record, kind, start, "end", text, words, digest) '
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._database.words.add([(row[0], row[-2]) for row in rows])
            self._database.execute_many(
                "INSERT INTO vectors (passage, vector, checksum) VALUES (?, ?, ?)",
                [
                    with_checksum("vectors", key, vector.tobytes())
                    for key, vector in enumerate(vectors, first)
                ],
            )

    def delete_with(self, keys: Sequence[int]) -> None:
        """Delete passages, and all others of their records, which are embedded anew then."""
        with self._database.transaction():
            self._database.execute(
                "DELETE FROM passages WHERE record IN "
                f"(SELECT record FROM passages WHERE {in_numbers('key')})",
                key_list(keys),
            )

    def count_unannounced(self) -> int:
        """Count the passages that no change tells of; indexes that follow do not know them."""
        return self._database.count("passages", _UNANNOUNCED)

    def announce(self) -> None:
        """Add the changes that are missing; see `count_unannounced`."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO changes (passage, added) "
                f"SELECT key, 1 FROM passages WHERE {_UNANNOUNCED}"
            )


def _check_dimension(vectors: Sequence[NDArray[np.float32]], stored: int | None) -> None:
    for vector in vectors:
        stored = stored or len(vector)
        if len(vector) != stored:
            raise DimensionMismatchError(
                f"expected vectors of dimension {stored}, got {len(vector)}",
                "One memory holds the vectors of one embedder.",
            )


def _checked(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = np.asarray(vector, dtype="<f4")
    if flat.ndim != 1 or not len(flat):
        raise InvalidInputError(f"`vector` must have shape (dim,), got {flat.shape}")
    if not np.isfinite(flat).all():
        raise NonFiniteError(
            f"`vector` must be finite, got {np.count_nonzero(~np.isfinite(flat))} NaN or infinite "
            f"values of {len(flat)}",
            "Check the embedder.",
        )
    return flat


def derived(text: str) -> tuple[str, str, int]:
    """What is stored of a passage's text: itself, its words for the index, and its digest."""
    return text, " ".join(terms(text)), digest(text)


def digest(text: str) -> int:
    """A number to look a text up by; who finds it compares the texts."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def key_list(keys: Sequence[int]) -> str:
    """Keys of passages as a list parameter."""
    return list_parameter("keys", (int(key) for key in keys))
