"""What an adapter holds, and how records are shared out over adapters.

The law is about recall under other wordings than those trained: reciting saturates much later.
It was measured with the training defaults (docs/decisions/0005-capacity.md), so it says what a
rank holds after so much training, not what it could hold at best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from memkit.errors import InvalidInputError
from memkit.types import Record
from memkit.types.scope import scope_key
from memkit.types.validate import shown


@dataclass(frozen=True)
class Part:
    """What one module is trained on: records of one scope; again if they were missed before."""

    records: tuple[Record, ...]
    rank: int
    attempt: int = 1


@dataclass(frozen=True)
class Limits:
    """What bounds a module.

    Attributes:
        records: At most this many, >= 1: what is retrained when one of them is forgotten.
        rank: What modules get.
        max_rank: What a module may get that holds a single record too long for ``rank``.
        room: Answer tokens that a rank is given.
    """

    records: int
    rank: int
    max_rank: int
    room: Callable[[int], float]

    def __post_init__(self) -> None:
        if self.records < 1:
            raise InvalidInputError(
                f"`records_per_module` must be at least 1, got {shown(self.records)}"
            )


def plan(records: Sequence[Record], tokens: Mapping[str, int], limits: Limits) -> list[Part]:
    """Share records out over modules: scopes apart, then in the order given. Deterministic.

    Where the records of a scope are too many or too long for one module they are split: two
    modules hold as much as one of twice the rank, and less has to be retrained when one record
    is forgotten. Only a record that is too long by itself gets a higher rank. Parts are even
    in records wherever their tokens allow it.

    Args:
        records: In insertion order.
        tokens: Record id to the answer tokens that it is learned by.
        limits: What bounds a module.
    """
    keyed = sorted(records, key=lambda record: scope_key(record.scope))  # stable
    room = limits.room(limits.rank)

    def fits(part: Sequence[Record]) -> bool:
        load = sum(tokens.get(record.id, 0) for record in part)
        return len(part) <= limits.records and (load <= room or len(part) == 1)

    return [
        Part(tuple(part), _rank(sum(tokens.get(record.id, 0) for record in part), limits))
        for _, group in groupby(keyed, key=lambda record: scope_key(record.scope))
        for part in _cut(list(group), fits)
    ]


def next_rank(rank: int, max_rank: int) -> int:
    """Twice the rank, as far as that is allowed."""
    return max(rank, min(2 * rank, max_rank))


def _rank(load: int, limits: Limits) -> int:
    """The lowest allowed rank with room for a load; the highest if none has."""
    rank = limits.rank
    while load > limits.room(rank) and next_rank(rank, limits.max_rank) > rank:
        rank = next_rank(rank, limits.max_rank)
    return rank


def _cut(records: list[Record], fits: Callable[[Sequence[Record]], bool]) -> list[list[Record]]:
    """Cut into the fewest runs that fit; even ones, if those fit too."""
    parts: list[list[Record]] = []
    for record in records:
        if parts and fits([*parts[-1], record]):
            parts[-1].append(record)
        else:
            parts.append([record])
    even = halves(records, len(parts))
    return even if all(map(fits, even)) else parts


def halves(records: Sequence[Record], parts: int = 2) -> list[list[Record]]:
    """Cut into runs that differ by one record at most; fewer than asked for, if it must be."""
    parts = min(parts, len(records))
    bounds = [round(i * len(records) / parts) for i in range(parts + 1)]
    return [list(records[a:b]) for a, b in pairwise(bounds)]
