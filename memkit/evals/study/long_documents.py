"""Questions 12 to 15: weights, retrieval and the prompt, alone and together, and what they cost."""

from __future__ import annotations

from memkit.evals.configuration import Configuration, Context, Point
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
from memkit.evals.study.points import (
    hybrids,
    long_text,
    long_texts,
    reports_several,
    reports_single,
    reports_size,
)
from memkit.evals.study.summary import (
    UNKNOWN,
    Make,
    compared,
    figure,
    is_above,
    measured,
    said,
    share,
)

CONTEXTS: dict[Context, str] = {
    "none": "nothing in the prompt",
    "rag": "retrieved passages",
    "icl": "everything in the prompt",
}
CLOSE = 0.1  # what counts as no worse
NEVER = -1.0  # the number of questions after which training pays off, where it never does


def points(scale: Scale, seed: int) -> list[Point]:
    """Invented reports, and the long texts that are given."""
    return hybrids(scale, seed) + long_texts(scale, seed)


def cases(scale: Scale) -> dict[str, dict[Context, Make]]:
    """By the adapters in use, then by what is in the prompt."""
    size, asked = reports_size(scale)

    def base(context: Context) -> Make:
        return lambda _: Configuration("invented reports", size, context=context, asked=asked)

    def single(context: Context) -> Make:
        return lambda seed: reports_single(scale, seed, context=context)

    def top_1(context: Context) -> Make:
        return lambda seed: reports_several(scale, seed, routing="nearest", context=context)

    def top_3(context: Context) -> Make:
        return lambda seed: reports_several(
            scale, seed, routing="nearest", top=3, way="rows", context=context
        )

    rows = {
        "base": base,
        "one adapter": single,
        "four adapters, top-1": top_1,
        "four adapters, top-3": top_3,
    }
    return {name: {context: make(context) for context in CONTEXTS} for name, make in rows.items()}


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Quality of every combination, and how many questions pay for the training."""
    table = cases(scale)
    means = {
        name: {context: measured(results, scale, make) for context, make in row.items()}
        for name, row in table.items()
    }
    single, top_1, top_3 = (table[name] for name in list(table)[1:])
    closed = compared(results, scale, top_1["none"], single["none"])
    more = {each: compared(results, scale, top_3[each], top_1[each]) for each in CONTEXTS}
    hybrid, why, gain = _hybrid(results, scale, table, means)
    cost, ratios = _costs(results, scale, table)
    if gain is not None:
        ratios["q14_hybrid_minus_best_single"] = gain.mean
    return Conclusion(
        findings=(
            Finding(
                "Without evidence in the prompt, several modules fall behind a single one.",
                is_above(None if closed is None else closed.negated()),
                f"four adapters, top-1, minus one adapter: {said(closed)}",
            ),
            Finding(
                "The three nearest modules are at least as good as the nearest one.",
                _at_least(list(more.values())),
                "; ".join(f"{CONTEXTS[c]}: {said(value)}" for c, value in more.items()),
            ),
            Finding(
                "Weights and evidence together beat the best of weights, retrieval and prompt.",
                is_above(gain),
                f"{hybrid}: {said(gain)}; {why}",
            ),
            cost,
            *(_learned_text(results, scale, name) for name in scale.texts),
        ),
        plots=tuple(p for p in (_quality(means), _seconds(results, scale, table)) if p.x),
        ratios=ratios,
    )


def _at_least(differences: list[Interval | None]) -> Verdict:
    known = [difference for difference in differences if difference is not None]
    if not known:
        return "cannot be told here"
    if any(difference.below_zero for difference in known):
        return "does not hold"
    return "holds" if all(d.low > -CLOSE for d in known) else "cannot be told here"


def _hybrid(
    results: Results,
    scale: Scale,
    table: dict[str, dict[Context, Make]],
    means: dict[str, dict[Context, Interval | None]],
) -> tuple[str, str, Interval | None]:
    """The best hybrid beside the best of what is no hybrid."""
    together: dict[tuple[str, Context], float] = {}
    alone: dict[tuple[str, Context], float] = {}
    for name, row in means.items():
        for context, mean in row.items():
            if mean is not None:
                mixed = name != "base" and context != "none"
                (together if mixed else alone)[name, context] = mean.mean
    if not together or not alone:
        return "the best hybrid", UNKNOWN, None
    best, rival = (max(group, key=lambda case: group[case]) for group in (together, alone))
    difference = compared(results, scale, table[best[0]][best[1]], table[rival[0]][rival[1]])
    told = " and ".join((best[0], CONTEXTS[best[1]]))
    other = f"{rival[0]}, {CONTEXTS[rival[1]]}" if rival[0] != "base" else CONTEXTS[rival[1]]
    return (
        f"{told}, minus {other}",
        f"they are at {together[best]:.2f} and {alone[rival]:.2f}",
        (difference),
    )


def _costs(
    results: Results, scale: Scale, table: dict[str, dict[Context, Make]]
) -> tuple[Finding, dict[str, float]]:
    """After how many questions an adapter has paid for its training, in CPU seconds."""
    claim = (
        "Answering from weights costs less per question than putting everything into the prompt."
    )
    name = "cpu_seconds_per_question"
    weights = figure(results, scale, table["one adapter"]["none"], name)
    prompt = figure(results, scale, table["base"]["icl"], name)
    rag = figure(results, scale, table["base"]["rag"], name)
    training = figure(results, scale, table["one adapter"]["none"], "train_cpu_seconds")
    if weights is None or prompt is None or training is None:
        return Finding(claim, "cannot be told here", UNKNOWN), {}
    saved = prompt - weights
    even = training / saved if saved > 0 else NEVER
    after = f"after {even:.0f} questions" if saved > 0 else "never"
    beside = "" if rag is None else f"; with retrieved passages {rag:.2f}"
    said_ = (
        f"CPU seconds per question: weights {weights:.2f}, everything in the prompt {prompt:.2f}"
        f"{beside}. Training took {training:.0f}, so weights pay off {after}. The prompt, the same "
        "for every question, is read once and kept; without that it would cost many times as much"
    )
    verdict: Verdict = "holds" if saved > 0 else "does not hold"
    return Finding(claim, verdict, said_), {"q15_break_even_questions": even}


# By name in the catalogue: what is learned, and the metric that goes by its answers.
TEXTS = {
    "papers": ("Introductions of papers", "f1"),
    "stories": ("Summaries of stories", "f1"),
    "articles": ("Long articles", "right"),
}


def _learned_text(results: Results, scale: Scale, name: str) -> Finding:
    """Whether an adapter that learned long texts answers about them."""
    what, metric = TEXTS[name]
    made = long_text(scale, name, 0)

    def at(place: int) -> Make:
        return lambda seed: long_text(scale, name, seed)[place]

    gain = compared(results, scale, at(1), at(0), metric)
    values = "; ".join(
        f"{CONTEXTS[point.context]}, {'one adapter' if point.learning else 'base'}: "
        f"{share(measured(results, scale, at(place), metric))}"
        for place, point in enumerate(made)
    )
    told = "token F1" if metric == "f1" else "right answers"
    return Finding(
        f"{what}, learned as text, help a small model to answer about them.",
        is_above(gain),
        f"{told}, one adapter minus base, without evidence: {said(gain)}. All: {values}",
    )


def _quality(means: dict[str, dict[Context, Interval | None]]) -> Plot:
    return Plot(
        name="long-documents",
        title="Weights, retrieval and prompt, alone and together, on invented reports",
        x_label="what is in the prompt",
        y_label="share answered rightly",
        x=tuple(CONTEXTS.values()) if any(any(row.values()) for row in means.values()) else (),
        series=tuple(Series(name, tuple(row.values())) for name, row in means.items()),
        kind="bars",
    )


def _seconds(results: Results, scale: Scale, table: dict[str, dict[Context, Make]]) -> Plot:
    def bar(make: Make) -> Interval | None:
        value = figure(results, scale, make, "cpu_seconds_per_question")
        return None if value is None else Interval(value, value, value, 1, 1)

    series = tuple(
        Series(name, tuple(bar(make) for make in row.values())) for name, row in table.items()
    )
    return Plot(
        name="seconds-per-question",
        title="What one question costs, training not counted",
        x_label="what is in the prompt",
        y_label="CPU seconds per question",
        x=tuple(CONTEXTS.values()) if any(any(s.values) for s in series) else (),
        series=series,
        kind="bars",
        share=False,
    )


QUESTION = Question(
    ("12", "13", "14", "15"),
    "Weights, retrieval and the prompt: alone and together, and at what cost?",
    points,
    conclude,
)
