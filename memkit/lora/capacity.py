"""What an adapter holds, and how records are shared out over adapters.

The law is about recall under other wordings than those trained: reciting saturates much later.
It was measured with the training defaults (docs/decisions/0005-capacity.md), so it says what a
rank holds after so much training, not what it could hold at best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

from memkit.errors import InvalidInputError
from memkit.scope import canonical
from memkit.types import Record

# 16 facts at rank 8 are learned to the last one in about a minute on two cores, and are what
# has to be retrained when one of them is forgotten (docs/decisions/0001-training-defaults.md).
RECORDS_PER_MODULE = 16
RECALL = 0.9  # of held-out wordings: what a full adapter is to recall
SAFETY = 0.5  # of what fills an adapter: facts differ, and so do seeds
_RIDGE = 1e-2  # keeps the fit finite where recall falls from all to nothing between two loads
_TIE = 1.0  # of w and v, where the answers leave either open
_STEPS = 100  # Newton's, far more than it takes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One adapter that was trained and asked.

    Attributes:
        rank: Its rank.
        facts: How many facts it was trained on.
        tokens: Answer tokens of these facts together, each answer once, stop token included.
        asked: How many held-out wordings were asked.
        recalled: How many of them were answered exactly.
        exact: Share of the trained questions answered exactly.
        paraphrased: Share of paraphrases in other words answered exactly.
        cpu_seconds: What training took.
    """

    rank: int
    facts: int
    tokens: int
    asked: int
    recalled: int
    exact: float
    paraphrased: float
    cpu_seconds: float


@dataclass(frozen=True)
class Law:
    """How many answer tokens rank r holds: ``scale * r ** exponent``, and never above ``most``.

    Attributes:
        scale: What rank 1 holds, in tokens.
        exponent: How that grows with the rank.
        most: The largest load that was measured; nothing is said of larger ones.
    """

    scale: float
    exponent: float
    most: int

    def tokens(self, rank: int) -> float:
        """Answer tokens that an adapter of this rank holds at a recall of `RECALL`."""
        return min(self._full(rank), float(self.most))

    def room(self, rank: int) -> float:
        """Answer tokens to give to an adapter of this rank: half of what would fill it."""
        return min(SAFETY * self._full(rank), float(self.most))

    def _full(self, rank: int) -> float:
        return self.scale * math.pow(rank, self.exponent)


def fit(points: Sequence[Point]) -> Law:
    """Fit the law to measurements by logistic regression.

    The model is ``logit(recall) = u + v log(rank) - w log(tokens)``; solved for the tokens at
    a given recall it is a power of the rank with exponent ``v / w``. Adapters that recalled
    everything count as well, as a bound. Where more tokens cost no recall, the largest load is
    all that is known, for every rank.

    Source:
        Own design; that capacity is a power of the rank is what the study of adapters as
        memories finds (docs/decisions/0005-capacity.md).

    Raises:
        InvalidInputError: If there are no points.
    """
    if not points:
        raise InvalidInputError("expected measured points, got none")
    most = max(point.tokens for point in points)
    highest = most / SAFETY  # of a scale: rank 1 is given all that was measured
    u, v, w = _logistic(points)
    if w <= _RIDGE:
        return Law(highest, 0.0, most)
    at_recall = u - math.log(RECALL / (1.0 - RECALL))
    return Law(math.exp(min(at_recall / w, math.log(highest))), max(v, 0.0) / w, most)


def _logistic(points: Sequence[Point]) -> tuple[float, float, float]:
    """Maximum of the binomial likelihood, with a ridge on v and w - v, by Newton's method.

    The ridge decides where little is known of one slope, as when only ranks were tried or all
    loads were recalled: capacity then is proportional to the rank.
    """
    x: Floats = np.array([[1.0, math.log(p.rank), -math.log(p.tokens)] for p in points])
    asked: Floats = np.array([p.asked + 1.0 for p in points])  # half a hit and half a miss more
    right: Floats = np.array([p.recalled + 0.5 for p in points])
    # Half the second derivative of _RIDGE v^2 + _TIE (w - v)^2.
    ridge = np.array([[0.0, 0.0, 0.0], [0.0, _RIDGE + _TIE, -_TIE], [0.0, -_TIE, _TIE]])
    beta = np.zeros(3)
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(x @ beta)))
        slope = x.T @ (right - asked * chance) - ridge @ beta
        curve = (x.T * (asked * chance * (1.0 - chance))) @ x + ridge
        step = np.linalg.lstsq(curve, slope, rcond=None)[0]
        beta = beta + step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        if float(np.abs(step).max()) < 1e-9:
            break
    return float(beta[0]), float(beta[1]), float(beta[2])


@dataclass(frozen=True)
class Part:
    """What one module is trained on.

    Attributes:
        records: All of one scope.
        rank: What the module gets.
        attempt: 1, or more if the records were missed before.
    """

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
                f"`records_per_module` must be at least 1, got {self.records!r}"
            )


def plan(records: Sequence[Record], tokens: Mapping[str, int], limits: Limits) -> list[Part]:
    """Share records out over modules: scopes apart, then in the order given. Deterministic.

    Where the records of a scope are too many or too long for one module they are split: two
    modules hold as much as one of twice the rank, and less has to be retrained when one record
    is forgotten. Only a record that is too long by itself gets a higher rank. Parts are even
    in records wherever their tokens allow it.

    Args:
        records: In insertion order.
        tokens: Record id to the answer tokens that it is learned by; 0 where it is missing.
        limits: What bounds a module.
    """
    keyed = sorted(records, key=lambda record: canonical(record.scope))  # stable
    room = limits.room(limits.rank)

    def fits(part: Sequence[Record]) -> bool:
        load = sum(tokens.get(record.id, 0) for record in part)
        return len(part) <= limits.records and (load <= room or len(part) == 1)

    return [
        Part(tuple(part), _rank(sum(tokens.get(record.id, 0) for record in part), limits))
        for _, group in groupby(keyed, key=lambda record: canonical(record.scope))
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
