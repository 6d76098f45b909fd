"""How sure a mean or a difference is: resampling of questions and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkit.errors import InvalidInputError

RESAMPLES = 2000
LEVEL = 95.0  # per cent

Scores = Sequence[Sequence[float]]  # (seeds, questions)


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval.

    Attributes:
        seeds: How many there were; with one, the interval is over questions alone.
    """

    mean: float
    low: float
    high: float
    seeds: int
    n: int

    @property
    def above_zero(self) -> bool:
        """Whether all of it is above 0."""
        return self.low > 0.0

    @property
    def below_zero(self) -> bool:
        """Whether all of it is below 0."""
        return self.high < 0.0

    def negated(self) -> Interval:
        """The interval of the difference the other way round."""
        return Interval(-self.mean, -self.high, -self.low, self.seeds, self.n)

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def interval(scores: Scores, *, seed: int = 0) -> Interval:
    """The mean of scores, with the interval of its bootstrap over seeds and questions.

    Seeds are drawn first, with replacement, then the questions of each: what one seed got wrong
    by chance is not taken for as many independent errors.

    Args:
        scores: For each seed the score of every question.
        seed: Of the resampling.

    Source:
        The percentile bootstrap (Efron 1979), in two stages for nested samples (Davison and
        Hinkley 1997, section 3.8).

    Raises:
        InvalidInputError: If there are none.
    """
    rows = [np.asarray(row, np.float64) for row in scores if len(row)]
    if not rows:
        raise InvalidInputError("expected scores of at least one question, got none")
    means = _resampled(rows, seed)
    half = (100.0 - LEVEL) / 2
    low, high = np.percentile(means, [half, 100.0 - half])
    mean = float(np.mean([row.mean() for row in rows]))
    return Interval(mean, float(low), float(high), len(rows), sum(map(len, rows)))


def paired(first: Scores, second: Scores, *, seed: int = 0) -> Interval:
    """The interval of ``first - second`` over the same questions and seeds, in pairs.

    Raises:
        InvalidInputError: If they are not the scores of the same questions.
    """
    shapes = [list(map(len, scores)) for scores in (first, second)]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(
            f"expected scores of the same questions and seeds, got {shapes[0]} and {shapes[1]}"
        )
    differences = [
        [a - b for a, b in zip(one, other, strict=True)]
        for one, other in zip(first, second, strict=True)
    ]
    return interval(differences, seed=seed)


def _resampled(rows: Sequence[NDArray[np.float64]], seed: int) -> NDArray[np.float64]:
    """Means of resamples, shape ``(RESAMPLES,)``."""
    random = np.random.default_rng(seed)
    places = len(rows)
    drawn = random.integers(places, size=(RESAMPLES, places))  # a seed for each place
    # For every place a mean of its own of each seed: one that is drawn twice is resampled twice.
    means = np.empty((places, RESAMPLES, places))
    for number, row in enumerate(rows):
        questions = random.integers(len(row), size=(places, RESAMPLES, len(row)))
        means[:, :, number] = row[questions].mean(axis=2)
    chosen = np.take_along_axis(means, drawn.T[:, :, None], axis=2)  # (places, RESAMPLES, 1)
    resampled: NDArray[np.float64] = chosen[:, :, 0].mean(axis=0)
    return resampled
