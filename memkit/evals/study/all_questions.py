"""All questions of the study, by their numbers."""

from __future__ import annotations

from memkit.errors import InvalidInputError
from memkit.evals.study import (
    beyond,
    choosing_modules,
    efficacy_by_rank,
    long_documents,
    merging_ways,
    one_or_many,
    other_models,
    saturation,
    several_right,
    supervision_forms,
)
from memkit.evals.study.design import Question
from memkit.types.validate import shown

QUESTIONS: tuple[Question, ...] = (
    efficacy_by_rank.QUESTION,
    saturation.QUESTION,
    supervision_forms.QUESTION,
    other_models.SIZES,
    other_models.WRITERS,
    one_or_many.QUESTION,
    choosing_modules.QUESTION,
    merging_ways.QUESTION,
    several_right.QUESTION,
    long_documents.QUESTION,
    beyond.QUESTION,
)


def question(number: str) -> Question:
    """The question of a number, "1" to "15", or "beyond".

    Raises:
        InvalidInputError: If there is none.
    """
    for found in QUESTIONS:
        if number in found.numbers:
            return found
    raise InvalidInputError(
        f"expected the number of a question, 1 to 15 or 'beyond', got {shown(number)}"
    )
