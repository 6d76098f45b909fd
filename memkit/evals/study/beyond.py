"""Beyond the study: do forgetting, correcting and rolling back hold, and is the rest unharmed?"""

from __future__ import annotations

from memkit.evals.configuration import Configuration, LifeRun
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
from memkit.evals.study.points import lives, more_lives
from memkit.evals.study.summary import Make, measured, share

KEPT = {
    "forgotten": "forgotten numbers stay away",
    "rolled_back": "and stay away after a rollback",
    "corrected": "corrected ones come back as corrected",
    "kept": "all others are still recalled",
}
HARM = 1.5  # times the base model's perplexity: more is harm


def conclude(results: Results, scale: Scale) -> Conclusion:
    """What a memory keeps over its life, and what adapters do to plain text."""
    made = [p for p in (*lives(scale, 0), *more_lives(scale, 0)) if isinstance(p, LifeRun)]

    def at(facts: int, learned: LifeRun) -> Make:
        return lambda seed: LifeRun(facts, learned.learning, seed)

    table = {
        metric: [measured(results, scale, at(p.facts, p), metric) for p in made] for metric in KEPT
    }
    plot = Plot(
        name="life-of-a-memory",
        title="A memory that forgets, is corrected and rolled back",
        x_label="facts in the memory",
        y_label="share as it should be",
        x=tuple(str(p.facts) for p in made) if any(any(row) for row in table.values()) else (),
        series=tuple(Series(KEPT[metric], tuple(row)) for metric, row in table.items()),
        kind="bars",
    )
    findings = [
        _kept("What is forgotten stays away, also after a rollback.", made, table, _GONE),
        _kept("Corrections arrive, and what was not touched stays.", made, table, _THERE),
        *_ability(results),
    ]
    return Conclusion(tuple(findings), (plot,) if plot.x else ())


_GONE, _THERE = ("forgotten", "rolled_back"), ("corrected", "kept")
_BAR = 0.9


def _kept(
    claim: str,
    made: list[LifeRun],
    table: dict[str, list[Interval | None]],
    metrics: tuple[str, ...],
) -> Finding:
    values = [value for metric in metrics for value in table[metric] if value is not None]
    bar = 1.0 if metrics == _GONE else _BAR
    verdict: Verdict = "cannot be told here"
    if values:
        verdict = "holds" if all(value.mean >= bar for value in values) else "does not hold"
    told = "; ".join(
        f"{point.facts} facts: "
        + ", ".join(f"{metric} {share(table[metric][place])}" for metric in metrics)
        for place, point in enumerate(made)
    )
    return Finding(claim, verdict, told.replace("_", " "))


def _ability(results: Results) -> list[Finding]:
    """Perplexity of plain text, and answers to unrelated prompts, behind an adapter in place."""
    rows = []
    for record in results:
        if record.kind == Configuration.kind and "perplexity" in record.figures:
            ratio = record.figures["perplexity"] / record.figures["perplexity_base"]
            rows.append((ratio, record.figures["unrelated_same"]))
    claim = "An adapter that is in place leaves plain text and unrelated prompts alone."
    if not rows:
        return [Finding(claim, "cannot be told here", "no adapter was measured")]
    ratios, same = [ratio for ratio, _ in rows], [kept for _, kept in rows]
    worst = max(ratios)
    verdict: Verdict = "holds" if worst <= HARM and min(same) >= _BAR else "does not hold"
    return [
        Finding(
            claim,
            verdict,
            f"{len(rows)} adapters: perplexity of plain text {min(ratios):.2f} to {worst:.2f} "
            f"times that of the base model; of 14 unrelated prompts {min(same):.2f} to "
            f"{max(same):.2f} are answered as before. This is why memkit's router refuses "
            "questions that no module is about",
        )
    ]


QUESTION = Question(
    ("beyond",),
    "Do forgetting, correcting and rolling back hold, and is the rest unharmed?",
    lives,
    conclude,
    later=more_lives,
)
