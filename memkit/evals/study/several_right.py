"""Question 11: what is left when several modules are in place that are all right for something?"""

from __future__ import annotations

from itertools import pairwise

from memkit.evals.configuration import Way
from memkit.evals.study.design import Conclusion, Finding, Plot, Question, Results, Scale, Series
from memkit.evals.study.points import MOST_RIGHT, right_modules, several_small
from memkit.evals.study.summary import Make, measured, share


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Recall of the facts of N modules, with these N in place at once."""

    def at(n: int, way: Way) -> Make:
        return lambda seed: several_small(scale, seed, routing="fixed", top=n, way=way)

    means = {
        way: [measured(results, scale, at(n, way)) for n in range(1, MOST_RIGHT + 1)]
        for way in ("ties", "mix")
    }
    curve = [mean.mean for mean in means["ties"] if mean is not None]
    complete = len(curve) == MOST_RIGHT
    lower = all(after <= before for before, after in pairwise(curve))
    falls = complete and lower and curve[-1] < curve[0]
    plot = Plot(
        name="right-modules",
        title="Recall with several modules in place, each right for a share of the questions",
        x_label="modules in place at once; asked are the facts of all of them",
        y_label="share answered rightly",
        x=tuple(map(str, range(1, MOST_RIGHT + 1))),
        series=(
            Series("merged by TIES", tuple(means["ties"])),
            Series("mixed exactly, 1/N each", tuple(means["mix"])),
        ),
    )
    said = ", ".join(f"{n}: {share(mean)}" for n, mean in enumerate(means["ties"], 1))
    ratios = {}
    if complete and curve[0]:
        ratios["q11_n5_over_n1"] = curve[-1] / curve[0]
    return Conclusion(
        findings=(
            Finding(
                "Recall falls with every further module that is merged, right ones included.",
                "cannot be told here" if not complete else "holds" if falls else "does not hold",
                f"by TIES, modules: recall: {said}",
            ),
        ),
        plots=(plot,) if curve else (),
        ratios=ratios,
    )


QUESTION = Question(
    ("11",), "What is left with several right modules in place?", right_modules, conclude
)
