"""Finds near-duplicate records, by the vectors that the ledger holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memkit.errors import InvalidInputError
from memkit.ledger import Ledger
from memkit.types import Metadata, Record, Scope, Value
from memkit.types.validate import check_number, shown

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

Link = tuple[int, int, float]  # two rows and their cosine similarity


@dataclass(frozen=True)
class Duplicates(Value):
    """Near-duplicate records of one scope.

    Attributes:
        records: Oldest first; two at least.
        similarity: Cosine similarity of the least similar pair that links them.
    """

    records: tuple[Record, ...]
    similarity: float

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the records, as `Memory.merge` takes them."""
        return tuple(record.id for record in self.records)


def duplicates(
    ledger: Ledger,
    threshold: float,
    *,
    visible_to: Scope | None = None,
    within: Scope | None = None,
    where: Metadata | None = None,
) -> list[Duplicates]:
    """Group the records of each scope that are near each other, or linked by such pairs.

    A record's vector is the mean of its passages'; questions take no part. The largest groups
    come first.

    Args:
        ledger: Where records and vectors are.
        threshold: Lowest cosine similarity of a pair, in (0, 1].
        visible_to: Only records that a query of this scope sees; None for all.
        within: Only records of this scope and narrower ones; None for all.
        where: Metadata filter; None for all.

    Raises:
        InvalidInputError: If the threshold is out of range.
    """
    check_number("threshold", threshold)
    if not 0 < threshold <= 1:
        raise InvalidInputError(
            f"`threshold` must be above 0 and at most 1, got {shown(threshold)}"
        )
    groups: list[Duplicates] = []
    for ids, vectors in ledger.passages.by_scope(visible_to=visible_to, within=within, where=where):
        for rows, similarity in _groups(_links(_unit(vectors), threshold)):
            with ledger.transaction():  # some may have been forgotten meanwhile
                records = ledger.records.get(ledger.records.existing(ids[row] for row in rows))
            if len(records) > 1:
                groups.append(Duplicates(tuple(records), similarity))
    return sorted(groups, key=lambda group: -len(group.records))


def _unit(vectors: Floats2d) -> Floats2d:
    norms: Floats2d = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Floats2d = (vectors / np.maximum(norms, 1e-9)).astype(np.float32)
    return unit


_BLOCK = 1024  # rows that are compared with all others at once


def _links(vectors: Floats2d, threshold: float) -> Iterator[Link]:
    """All pairs of rows whose cosine similarity reaches the threshold."""
    bar = threshold - 1e-6  # float32 does not tell what is a little below from what is at it
    for start in range(0, len(vectors), _BLOCK):
        products = vectors[start : start + _BLOCK] @ vectors[start:].T
        for row, column in np.argwhere(np.triu(products >= bar, k=1)).tolist():
            yield start + row, start + column, float(products[row, column])


def _groups(links: Iterator[Link]) -> list[tuple[list[int], float]]:
    """Connected rows, ascending, with the weakest link of each group."""
    group: dict[int, list[int]] = {}
    weakest: dict[int, float] = {}  # by the first row of a group
    for row, linked, similarity in links:
        left, right = group.setdefault(row, [row]), group.setdefault(linked, [linked])
        least = min(similarity, *(weakest.get(rows[0], 1.0) for rows in (left, right)))
        if left is not right:
            small, large = sorted((left, right), key=len)
            large += small
            group |= dict.fromkeys(small, large)
        weakest[group[row][0]] = least
    distinct = {id(rows): rows for rows in group.values()}
    return [(sorted(rows), weakest[rows[0]]) for rows in distinct.values()]
