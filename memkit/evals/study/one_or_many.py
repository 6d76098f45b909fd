"""Question 8: one large adapter or several small ones, at equal numbers and tokens?"""

from __future__ import annotations

from memkit.evals.study.design import Conclusion, Finding, Plot, Question, Results, Scale, Series
from memkit.evals.study.points import (
    everything_in_prompt,
    one_large,
    one_or_several,
    several_small,
    shared_out,
)
from memkit.evals.study.summary import Make, compared, figure, is_above, measured, said, share


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Recall of the same phone book, learned in one adapter, in several, or put into the prompt."""
    size, modules = shared_out(scale)
    cases: dict[str, Make] = {
        f"one adapter, rank {modules}": lambda seed: one_large(scale, seed),
        f"{modules} adapters of rank 1, right one given": lambda seed: several_small(scale, seed),
        "all in the prompt": lambda _: everything_in_prompt(scale),
    }
    single, several, prompt = cases.values()
    means = {name: measured(results, scale, make) for name, make in cases.items()}
    gain = compared(results, scale, several, single)
    against_prompt = compared(results, scale, several, prompt)
    plot = Plot(
        name="one-or-many",
        title=f"{size} phone numbers: one adapter, {modules} small ones, or the prompt",
        x_label="where the phone book is",
        y_label="share answered rightly",
        x=tuple(name for name, mean in means.items() if mean),
        series=(Series("right", tuple(mean for mean in means.values() if mean)),),
        kind="bars",
    )
    seconds = [figure(results, scale, make, "train_cpu_seconds") for make in (single, several)]
    trained = " and ".join("–" if s is None else f"{s:.0f}" for s in seconds)
    return Conclusion(
        findings=(
            Finding(
                "With the right module given, several small adapters recall more than one large "
                "one of as many numbers.",
                is_above(gain),
                f"several minus one: {said(gain)}; CPU seconds of training: {trained}",
            ),
            Finding(
                "Weights recall more than the same facts in the prompt do.",
                is_above(against_prompt),
                f"several minus prompt: {said(against_prompt)}; the prompt is at "
                f"{share(means['all in the prompt'])}",
            ),
        ),
        plots=(plot,) if plot.x else (),
        ratios={} if gain is None else {"q8_multi_minus_single": gain.mean},
    )


QUESTION = Question(("8",), "One large adapter or several small ones?", one_or_several, conclude)
