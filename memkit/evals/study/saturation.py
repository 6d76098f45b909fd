"""Questions 2 and 3: when is an adapter full, and which rank makes the most of its numbers?"""

from __future__ import annotations

from itertools import pairwise

from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.study.design import (
    Conclusion,
    Finding,
    Plot,
    Question,
    Results,
    Scale,
    Series,
    Verdict,
)
from memkit.evals.study.planned_capacity import planned_capacity
from memkit.evals.study.points import (
    fact_ranks,
    facts,
    load_point,
    loads,
    more_facts,
    more_planned_loads,
    planned_loads,
    tiny_point,
)
from memkit.evals.study.summary import Make, figure, knee, measured, share

TAU = 0.9  # of the facts: what a full adapter still recalls
FALL = 0.2  # of recall, from one load to the next: a collapse rather than a slope
AGAIN = 48  # visits, when a full adapter is given twice as many

Knees = dict[int, tuple[float, bool]]


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Recall by load and rank, and where it falls below the bar."""

    def at(rank: int, load: int, epochs: int = 24) -> Make:
        return lambda seed: load_point(scale, rank, load, seed, epochs)

    table = {
        rank: {load: measured(results, scale, at(rank, load), "exact") for load in loads(scale)}
        for rank in fact_ranks(scale)
    }
    knees = {rank: found for rank, row in table.items() if (found := _knee(row)) is not None}
    ratios = {f"q2_knee_facts_r{rank}": knees[rank][0] for rank in (1, 4) if rank in knees}
    parameters = {
        rank: size
        for rank in knees
        for load in loads(scale)
        if (size := figure(results, scale, at(rank, load), "parameters"))
    }
    best, verdict, why = _best(knees, parameters)
    if best:
        ratios["q3_best_rank"] = float(best)
    again = {
        load: (table[1].get(load), measured(results, scale, at(1, load, AGAIN), "exact"))
        for load in loads(scale)
    }
    return Conclusion(
        findings=(
            _collapse(table),
            _training(again),
            _order(knees),
            Finding("One rank makes the most of its numbers, and it is a small one.", verdict, why),
            planned_capacity(results),
        ),
        plots=_plots(table, _tiny(results, scale), scale, knees, parameters),
        ratios=ratios,
    )


def _knee(row: dict[int, Interval | None]) -> tuple[float, bool] | None:
    known = [(load, value.mean) for load, value in row.items() if value is not None]
    return knee([load for load, _ in known], [value for _, value in known], TAU)


def _tiny(results: Results, scale: Scale) -> Series:
    """The smallest adapter that there can be."""

    def at(load: int) -> Make:
        return lambda seed: tiny_point(scale, load, seed)

    values = tuple(measured(results, scale, at(load), "exact") for load in loads(scale))
    return Series("rank 1, queries and values only", values)


def _collapse(table: dict[int, dict[int, Interval | None]]) -> Finding:
    claim = "Past a load that depends on the rank, recall collapses."
    falls: list[tuple[float, int, int, int]] = []
    for rank, row in table.items():
        known = [(load, value.mean) for load, value in row.items() if value is not None]
        for (before, high), (after, low) in pairwise(known):
            if high >= TAU:
                falls.append((high - low, rank, before, after))
    if not falls:
        return Finding(claim, "cannot be told here", "no rank was measured at two loads")
    fall, rank, before, after = max(falls)
    verdict: Verdict = "holds" if fall >= FALL else "cannot be told here"
    return Finding(
        claim,
        verdict,
        f"the steepest fall: at rank {rank}, from {before} to {after} facts, recall loses "
        f"{fall:.2f}",
    )


def _training(again: dict[int, tuple[Interval | None, Interval | None]]) -> Finding:
    claim = "What looks like a full adapter is not one that was trained too little."
    pairs = {load: pair for load, pair in again.items() if pair[0] and pair[1]}
    said = "; ".join(
        f"{load} facts at rank 1: {share(once)} after 24 visits, {share(twice)} after 48"
        for load, (once, twice) in pairs.items()
    )
    full = [(o, t) for o, t in pairs.values() if o and t and o.mean < TAU]
    if not full:
        return Finding(claim, "cannot be told here", said or "no full adapter was trained twice")
    same = all(t.mean - o.mean < FALL for o, t in full)
    return Finding(claim, "holds" if same else "does not hold", said)


def _order(knees: Knees) -> Finding:
    claim = "A larger rank holds more facts."
    said = ", ".join(f"rank {r}: {_bound(r, knees)}" for r in knees)
    seen = [rank for rank in knees if knees[rank][1]]
    known = [(a, b) for a, b in pairwise(knees) if a in seen and knees[b][0] != knees[a][0]]
    if not known:
        return Finding(claim, "cannot be told here", said or "nothing was measured")
    holds = all(knees[a][0] < knees[b][0] for a, b in known)
    return Finding(claim, "holds" if holds else "does not hold", said)


def _bound(rank: int, knees: Knees) -> str:
    value, seen = knees[rank]
    return f"{value:.0f} facts" if seen else f"no fall seen around {value:.0f} facts"


def _best(knees: Knees, parameters: dict[int, float]) -> tuple[int, Verdict, str]:
    """The rank with the most facts a parameter; told only where the fall was seen."""
    rates = {r: 1000.0 * knees[r][0] / parameters[r] for r in knees if r in parameters}
    if not rates:
        return 0, "cannot be told here", "nothing was measured"
    said = ", ".join(
        f"rank {rank}: {'' if knees[rank][1] else 'at least '}{rate:.2f}"
        for rank, rate in rates.items()
    )
    best = max(rates, key=lambda rank: rates[rank])
    others_known = all(knees[rank][1] for rank in rates)
    verdict: Verdict = "cannot be told here"
    if others_known and len(rates) > 2:
        verdict = "holds" if best in list(rates)[1:-1] else "does not hold"
    return best, verdict, f"facts at a recall of {TAU} for a thousand numbers: {said}"


def _plots(
    table: dict[int, dict[int, Interval | None]],
    smallest: Series,
    scale: Scale,
    knees: Knees,
    parameters: dict[int, float],
) -> tuple[Plot, ...]:
    rows = {rank: row for rank, row in table.items() if any(row.values())}
    if not rows:
        return ()
    by_rank = [Series(f"rank {rank}", tuple(row.values())) for rank, row in rows.items()]
    saturation = Plot(
        name="saturation",
        title="Phone numbers that one adapter recalls, by how many it was given",
        x_label="facts in the adapter (all linear layers, last quarter of the decoder)",
        y_label="share recalled exactly",
        x=tuple(map(str, loads(scale))),
        series=(*by_rank, smallest),
    )
    ranks = [rank for rank in knees if rank in parameters]
    rates = [1000.0 * knees[rank][0] / parameters[rank] for rank in ranks]
    efficiency = Plot(
        name="facts-per-parameter",
        title=f"Facts that stay above a recall of {TAU}, for a thousand numbers of the adapter",
        x_label="rank (an open end, +, means that no fall was seen: it holds more)",
        y_label="facts",
        x=tuple(f"{rank}{'' if knees[rank][1] else '+'}" for rank in ranks),
        series=(Series("facts", tuple(Interval(rate, rate, rate, 1, 1) for rate in rates)),),
        kind="bars",
        share=False,
    )
    return (saturation, efficiency)


QUESTION = Question(
    ("2", "3"),
    "When is an adapter full, and which rank makes the most of its numbers?",
    lambda scale, seed: facts(scale, seed) + planned_loads(scale, seed),
    conclude,
    later=lambda scale, seed: more_facts(scale, seed) + more_planned_loads(scale, seed),
)
