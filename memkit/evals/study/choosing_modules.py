"""Question 9: what does it cost to choose the module instead of being given it?"""

from __future__ import annotations

from typing import get_args

from memkit.evals.configuration import Partition, Point, Routing
from memkit.evals.study.design import Conclusion, Finding, Plot, Question, Results, Scale, Series
from memkit.evals.study.points import (
    one_large,
    reports_several,
    reports_single,
    routed_book,
    routed_reports,
    several_small,
)
from memkit.evals.study.summary import Make, compared, is_above, measured, said, share

ROUTINGS = tuple(name for name in get_args(Routing) if name != "fixed")


def points(scale: Scale, seed: int) -> list[Point]:
    """A phone book without topics, and reports by topic and in order."""
    return [one_large(scale, seed), *routed_book(scale, seed), *routed_reports(scale, seed)]


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Right answers and right modules, by router and by how documents are shared out."""

    def book(routing: str) -> Make:
        return lambda seed: several_small(scale, seed, routing=routing)

    def reports(partition: Partition, routing: str) -> Make:
        return lambda seed: reports_several(scale, seed, partition=partition, routing=routing)

    places: dict[str, tuple[Make, dict[str, Make]]] = {
        "phone book, in order": (
            lambda seed: one_large(scale, seed),
            {routing: book(routing) for routing in ROUTINGS},
        ),
        "reports, by topic": (
            lambda seed: reports_single(scale, seed),
            {routing: reports("topic", routing) for routing in ROUTINGS},
        ),
        "reports, in order": (
            lambda seed: reports_single(scale, seed),
            {routing: reports("order", routing) for routing in ROUTINGS},
        ),
    }
    cases = {
        "one adapter": [single for single, _ in places.values()],
        **{routing: [routed[routing] for _, routed in places.values()] for routing in ROUTINGS},
    }
    plot = Plot(
        name="choosing-modules",
        title="Right answers by how the module is chosen, beside one adapter for everything",
        x_label="what is shared out among modules, and how",
        y_label="share answered rightly",
        x=tuple(places),
        series=tuple(
            Series(name, tuple(measured(results, scale, make) for make in makes))
            for name, makes in cases.items()
        ),
        kind="bars",
    )
    book_single, book_routed = places["phone book, in order"]
    centroid = compared(results, scale, book_routed["centroid"], book_single)
    nearest = compared(results, scale, book_routed["nearest"], book_routed["oracle"])
    topical = compared(
        results, scale, reports("topic", "centroid"), reports("order", "centroid"), "routed"
    )
    recalls = "; ".join(
        f"{place}: "
        + ", ".join(
            f"{routing} {share(measured(results, scale, routed[routing], 'routed'))}"
            for routing in ROUTINGS[1:]
        )
        for place, (_, routed) in places.items()
    )
    return Conclusion(
        findings=(
            Finding(
                "Misrouting by centroids falls below a single adapter.",
                is_above(None if centroid is None else centroid.negated()),
                f"phone book, centroid minus one adapter: {said(centroid)}",
            ),
            Finding(
                "memkit's router by the nearest fact stays close to an oracle.",
                "cannot be told here"
                if nearest is None
                else "holds"
                if nearest.low > -CLOSE
                else "does not hold",
                f"phone book, nearest minus oracle: {said(nearest)}",
            ),
            Finding(
                "Centroids find the module more often where modules have topics.",
                is_above(topical),
                f"right module, by topic minus in order: {said(topical)}. Right modules: {recalls}",
            ),
        ),
        plots=(plot,) if any(any(s.values) for s in plot.series) else (),
        ratios=_ratios(results, scale, book_single, book_routed),
    )


CLOSE = 0.1  # of an oracle: what a router may lose


def _ratios(
    results: Results, scale: Scale, single: Make, routed: dict[str, Make]
) -> dict[str, float]:
    means = {name: measured(results, scale, make) for name, make in routed.items()}
    means["single"] = measured(results, scale, single)
    known = {name: mean.mean for name, mean in means.items() if mean is not None}
    ratios = {}
    if known.get("oracle") and "nearest" in known:
        ratios["q9_nearest_over_oracle"] = known["nearest"] / known["oracle"]
    if known.get("single") and "centroid" in known:
        ratios["q9_centroid_over_single"] = known["centroid"] / known["single"]
    return ratios


QUESTION = Question(("9",), "What does it cost to choose the module?", points, conclude)
