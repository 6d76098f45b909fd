"""Question 10: which way of putting three modules together keeps what they know?"""

from __future__ import annotations

from collections.abc import Iterable

from memkit.evals.configuration import Configuration
from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.study.design import Conclusion, Finding, Plot, Question, Results, Scale, Series
from memkit.evals.study.points import WAYS, merges, several_small
from memkit.evals.study.summary import Make, compared, measured, said

NAMES = {
    "rows": "rows of their own, the surest",
    "mix": "mixed exactly, 1/N each",
    "ties": "TIES",
    "linear": "linear, 1/N each",
    "mean_delta": "mean of the deltas",
    "cat": "cat",
    "cat_root": "cat / √N",
    "dare_linear": "DARE, linear",
    "dare_ties": "DARE, TIES",
}
MERGES = tuple(way for way in WAYS if way != "rows")


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Recall with the three nearest modules at once, by the way in which they are put together."""

    def together(way: str) -> Make:
        return lambda seed: several_small(scale, seed, routing="nearest", top=3, way=way, asked=24)

    def alone(seed: int) -> Configuration:
        return several_small(scale, seed, routing="nearest", top=1, way="mix", asked=24)

    first = measured(results, scale, alone)
    means = {way: measured(results, scale, together(way)) for way in WAYS}
    known = {way: mean for way, mean in means.items() if mean is not None}
    merged = {way: mean for way, mean in known.items() if way in MERGES}
    best = max(merged, key=lambda way: merged[way].mean) if merged else "ties"
    loss = compared(results, scale, together(best), alone)
    rows = compared(results, scale, together("rows"), together(best))
    rivals = {way: mean.mean for way, mean in merged.items() if way != "ties"}
    ranking = ", ".join(
        f"{NAMES[way]} {mean.mean:.2f}"
        for way, mean in sorted(known.items(), key=lambda pair: -pair[1].mean)
    )
    plot = Plot(
        name="merging",
        title="Three modules put together in nine ways, beside the nearest one alone",
        x_label="the three nearest modules, put together as",
        y_label="share answered rightly",
        x=("nearest module alone", *(NAMES[way] for way in known)),
        series=(Series("right", (first, *known.values())),),
        kind="bars",
    )
    ratios = {}
    if first is not None and first.mean and merged:
        ratios["q10_best_merge_over_top1"] = merged[best].mean / first.mean
    return Conclusion(
        findings=(
            Finding(
                "TIES is the best merge of three modules.",
                "cannot be told here"
                if "ties" not in merged or not rivals or _equal(merged.values())
                else "holds"
                if merged["ties"].mean > max(rivals.values())
                else "does not hold",
                ranking or "nothing was measured",
            ),
            Finding(
                "Every merge of three is behind the nearest module alone.",
                "cannot be told here"
                if loss is None
                else "holds"
                if loss.below_zero
                else "does not hold"
                if loss.low > 0
                else "cannot be told here",
                f"the best merge ({NAMES[best]}) minus the nearest alone: {said(loss)}",
            ),
            Finding(
                "Modules that answer in rows of their own lose less than any merge.",
                "cannot be told here"
                if rows is None
                else "holds"
                if rows.above_zero
                else "does not hold"
                if rows.below_zero
                else "cannot be told here",
                f"rows minus the best merge: {said(rows)}",
            ),
        ),
        plots=(plot,) if known else (),
        ratios=ratios,
    )


def _equal(means: Iterable[Interval]) -> bool:
    """Whether all merges recall the same, which may be nothing."""
    return len({mean.mean for mean in means}) == 1


QUESTION = Question(
    ("10",), "Which way of putting modules together keeps what they know?", merges, conclude
)
