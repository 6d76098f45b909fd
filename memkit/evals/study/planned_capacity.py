"""Whether adapters hold what `consolidate` gives them, and the law of capacity that they fit."""

from __future__ import annotations

from collections.abc import Iterable

from memkit.evals.configuration import CapacityRun
from memkit.evals.run_capacity import capacity_point
from memkit.evals.run_records import RunRecord
from memkit.evals.study.design import Finding, Verdict
from memkit.lora.consolidation.capacity import RECALL, Point, fit, shipped_law

CLAIM = (
    "An adapter that is given no more than `consolidate` plans to give it recalls nine tenths of "
    "it, in words that were held out."
)


def capacity_points(records: Iterable[RunRecord]) -> list[Point]:
    """All adapters that were trained as `consolidate` does, by load, rank and seed."""
    points = [capacity_point(record) for record in records if record.kind == CapacityRun.kind]
    return sorted(points, key=lambda point: point.case)


def planned_capacity(records: Iterable[RunRecord]) -> Finding:
    """Compare the law that ships with what was measured; the records are of one base model."""
    records = list(records)
    points = capacity_points(records)
    if not points:
        return Finding(CLAIM, "cannot be told here", "no adapter was measured")
    shipped = shipped_law(str(records[0].environment.get("base")))
    planned = [point for point in points if point.tokens <= shipped.room(point.rank)]
    verdict: Verdict = "cannot be told here"
    if planned:
        held = all(point.recalled >= RECALL * point.asked for point in planned)
        verdict = "holds" if held else "does not hold"
    told = "; ".join(
        f"rank {p.rank}, {p.facts} facts ({p.tokens} answer tokens, "
        f"{'planned' if p in planned else 'more than planned'}), seed {p.seed}: "
        f"{p.recalled / p.asked:.2f}"
        for p in points
    )
    law = fit(points)
    return Finding(
        CLAIM,
        verdict,
        f"{told}. A fit to these gives {law.scale:.0f} * rank ** {law.exponent:.2f} answer tokens "
        f"at a recall of {RECALL}, up to {law.most}; what ships is {shipped.scale:.0f} * rank ** "
        f"{shipped.exponent:.2f}, up to {shipped.most}, of which half is planned. `consolidate` "
        "goes by what was measured on a machine, this study in full included",
    )
