"""Question 1: does efficacy grow with the rank?"""

from __future__ import annotations

import math

from memkit.evals.configuration import EditRun
from memkit.evals.study.design import (
    Conclusion,
    Finding,
    Plot,
    Question,
    Results,
    Scale,
    Series,
    tiny,
)
from memkit.evals.study.points import edit_ranks, edits, more_edits
from memkit.evals.study.summary import Make, compared, is_above, measured, said, share, slope


def conclude(results: Results, scale: Scale) -> Conclusion:
    """Efficacy and locality of edited statements, by rank."""
    ranks = edit_ranks(scale)
    most = 24 if scale.quick else 1000

    def at(rank: int, size: str = "1K") -> Make:
        return lambda seed: EditRun(size, tiny(rank), most, seed)

    def base(_: int) -> EditRun:
        return EditRun("1K", None, most)

    by_rank = {rank: measured(results, scale, at(rank), "efficacy") for rank in ranks}
    known = [(math.log2(rank), value.mean) for rank, value in by_rank.items() if value]
    growth = slope([x for x, _ in known], [y for _, y in known])
    ends = compared(results, scale, at(ranks[-1]), at(ranks[0]), "efficacy")
    untouched = measured(results, scale, base, "efficacy")
    local = compared(results, scale, at(ranks[-1]), at(ranks[0]), "locality")
    plot = Plot(
        name="efficacy-by-rank",
        title="Edited statements that win over what the model believed, by rank",
        x_label="rank of the adapter (queries and values, last quarter of the layers)",
        y_label="share of prompts",
        x=tuple(map(str, ranks)),
        series=(
            Series("efficacy: the new target wins", tuple(by_rank.values())),
            Series(
                "locality: other prompts unchanged",
                tuple(measured(results, scale, at(rank), "locality") for rank in ranks),
            ),
        ),
    )
    return Conclusion(
        findings=(
            Finding(
                "Efficacy rises with the rank, at the same number of visits to each statement.",
                is_above(ends),
                f"rank {ranks[-1]} minus rank {ranks[0]}: {said(ends)}; the base model without an "
                f"adapter is at {share(untouched)}",
            ),
            Finding(
                "What was not edited suffers more from larger ranks.",
                is_above(None if local is None else local.negated()),
                f"locality, rank {ranks[-1]} minus rank {ranks[0]}: {said(local)}",
            ),
        ),
        plots=(plot,) if known else (),
        ratios={} if growth is None else {"q1_efficacy_slope": growth},
    )


QUESTION = Question(("1",), "Does efficacy grow with the rank?", edits, conclude, later=more_edits)
