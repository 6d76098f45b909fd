"""From records to means, differences and verdicts, as all questions of the study need them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from memkit.evals.configuration import Point
from memkit.evals.metrics.bootstrap import Interval, interval, paired
from memkit.evals.run_records import RunRecord
from memkit.evals.study.design import Results, Scale, Verdict

Make = Callable[[int], Point]  # the point of a seed

UNKNOWN = "not enough was measured"


def records_of(results: Results, scale: Scale, make: Make) -> list[RunRecord]:
    """The records of a point, one for each seed that was measured."""
    return results.get([make(seed) for seed in scale.seeds])


def measured(results: Results, scale: Scale, make: Make, metric: str = "right") -> Interval | None:
    """The mean of a metric over seeds and questions; None if no seed was measured."""
    records = list({record.key: record for record in records_of(results, scale, make)}.values())
    scores = [record.scores[metric] for record in records if record.scores.get(metric)]
    return interval(scores) if scores else None


def compared(
    results: Results, scale: Scale, first: Make, second: Make, metric: str = "right"
) -> Interval | None:
    """``first - second`` in pairs, over the seeds for which both were measured."""
    pairs = []
    for seed in scale.seeds:
        records = results.get([first(seed), second(seed)])
        if len(records) == 2:
            pairs.append([record.scores[metric] for record in records])
    return paired([one for one, _ in pairs], [other for _, other in pairs]) if pairs else None


def figure(results: Results, scale: Scale, make: Make, name: str) -> float | None:
    """The mean of a figure over the seeds that were measured."""
    values = [r.figures[name] for r in records_of(results, scale, make) if name in r.figures]
    return sum(values) / len(values) if values else None


def is_above(difference: Interval | None) -> Verdict:
    """Whether a claim holds that says that a difference is above 0."""
    if difference is None:
        return "cannot be told here"
    if difference.above_zero:
        return "holds"
    return "does not hold" if difference.below_zero else "cannot be told here"


def said(difference: Interval | None) -> str:
    """A difference as a report gives it."""
    if difference is None:
        return UNKNOWN
    seeds = f"{difference.seeds} seed{'s' if difference.seeds > 1 else ''}"
    return f"{difference.mean:+.2f} ({difference.low:+.2f} to {difference.high:+.2f}; {seeds})"


def share(value: Interval | None) -> str:
    """A mean as a table gives it."""
    return "–" if value is None else str(value)


def slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Least squares slope of y over x; None for fewer than two places."""
    if len(set(x)) < 2:
        return None
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread


def knee(loads: Sequence[int], recalls: Sequence[float], tau: float) -> tuple[float, bool] | None:
    """The load at which recall falls below a bar, and whether that was seen.

    Between the last load above the bar and the first one below it, the logarithm of the load is
    interpolated. If no load is below, the largest is a bound; if the smallest is below already,
    that one is, in the other direction.

    Args:
        loads: Growing numbers of facts.
        recalls: One for each.
        tau: The bar.

    Returns:
        The load, and True if the fall was seen between two loads; None without any load.
    """
    if not loads:
        return None
    if recalls[0] < tau:
        return float(loads[0]), False
    for place in range(1, len(loads)):
        if recalls[place] < tau:
            before, after = recalls[place - 1], recalls[place]
            part = (before - tau) / (before - after)
            low, high = math.log(loads[place - 1]), math.log(loads[place])
            return math.exp(low + part * (high - low)), True
    return float(loads[-1]), False
