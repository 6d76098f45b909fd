"""All points of the study, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Sequence

from memkit.evals.configuration import Point
from memkit.evals.study import points as p
from memkit.evals.study.design import Points, Scale

# What several questions share is measured once. The first seed of everything comes first, so that
# a run that is stopped has something to say on every question.
PLAN: Sequence[tuple[str, Points]] = (
    ("8", p.one_or_several),
    ("9", p.routed_book),
    ("11", p.right_modules),
    ("10", p.merges),
    ("2", p.facts),
    ("3", p.planned_loads),
    ("1", p.edits),
    ("5", p.supervision),
    ("9", p.routed_reports),
    ("14", p.hybrids),
    ("beyond", p.lives),
)
LATER: Sequence[tuple[str, Points]] = (
    ("12", p.long_texts),
    ("2", p.more_facts),
    ("3", p.more_planned_loads),
    ("1", p.more_edits),
    ("beyond", p.more_lives),
)


def planned(scale: Scale) -> list[Point]:
    """Every point once."""
    found: dict[str, Point] = {}
    for plan in (PLAN, LATER):
        for seed in scale.seeds:
            for _, points in plan:
                for point in points(scale, seed):
                    found.setdefault(point.key, point)
    return list(found.values())
