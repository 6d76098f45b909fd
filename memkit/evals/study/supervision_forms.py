"""Questions 4 and 5: which form of supervision pays, and do mixtures?"""

from __future__ import annotations

from itertools import pairwise

from memkit.evals.configuration import Point
from memkit.evals.study.design import Conclusion, Finding, Plot, Question, Results, Scale, Series
from memkit.evals.study.points import SUPERVISION, supervision
from memkit.evals.study.summary import Make, compared, is_above, measured, said

FORMS = ("raw", "rewrite", "summary", "questions")  # the worst first, says the study
MIXTURES = ("raw + questions", "all")


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Right answers to paraphrased questions, by what the adapter was trained on."""
    names = ["nothing", *(name for name, _, _ in SUPERVISION)]

    def at(name: str) -> Make:
        def make(seed: int) -> Point:
            return supervision(scale, seed)[names.index(name)]

        return make

    means = {name: measured(results, scale, at(name)) for name in names}
    order = compared(results, scale, at("questions"), at("raw"))
    steps = [compared(results, scale, at(better), at(worse)) for worse, better in pairwise(FORMS)]
    mixtures = {name: compared(results, scale, at(name), at("questions")) for name in MIXTURES}
    known = {name: value for name, value in mixtures.items() if value is not None}
    best_mixture = max(known, key=lambda name: known[name].mean) if known else MIXTURES[0]
    writers = compared(results, scale, at("questions"), at("questions, offline"))
    trained = {n: m.mean for n, m in means.items() if m is not None and n not in {"nothing", "raw"}}
    ratios = {}
    raw = means["raw"]
    if trained and raw is not None:
        ratios["q5_best_minus_raw"] = max(trained.values()) - raw.mean
    steps_said = ", ".join(
        f"{better} minus {worse}: {said(step)}"
        for (worse, better), step in zip(pairwise(FORMS), steps, strict=True)
    )
    verdicts = [is_above(step) for step in steps]
    plot = Plot(
        name="supervision",
        title="Paraphrased questions answered, by what the adapter was trained on",
        x_label="trained on",
        y_label="paraphrased questions answered rightly",
        x=tuple(name for name in names if means[name] is not None),
        series=(Series("right", tuple(m for m in means.values() if m is not None)),),
        kind="bars",
    )
    return Conclusion(
        findings=(
            Finding("Questions teach more than the text itself.", is_above(order), said(order)),
            Finding(
                "Questions are ahead of summaries, summaries of rewritten texts, and those of raw "
                "text.",
                "holds"
                if set(verdicts) == {"holds"}
                else "does not hold"
                if "does not hold" in verdicts
                else "cannot be told here",
                steps_said,
            ),
            Finding(
                "A mixture of forms is better than questions alone.",
                is_above(mixtures[best_mixture]),
                f"{best_mixture} minus questions: {said(mixtures[best_mixture])}",
            ),
            Finding(
                "Questions of a good writer teach more than those of memkit's templates.",
                is_above(writers),
                f"scripted minus offline: {said(writers)}. The scripted writer stands in for a "
                "large model; what a real one writes was not measured (question 7)",
            ),
        ),
        plots=(plot,) if plot.x else (),
        ratios=ratios,
    )


QUESTION = Question(
    ("4", "5"), "Which form of supervision pays, and do mixtures?", supervision, conclude
)
