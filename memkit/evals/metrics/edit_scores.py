"""How probable whole targets are: efficacy, paraphrase and locality of edited statements.

The targets follow their prompts after a blank, which belongs to them, and every one of their
tokens counts: the first token alone says nothing about "San Francisco" and "San Diego".
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from memkit.evals.lessons import ids_of
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import Mix, answer_states, log_probabilities, no_adapters
from memkit.types import Prompt

ROWS = 96  # continuations that are read at once


def target_log_probabilities(
    base: TransformersModel,
    prompts: Sequence[str],
    targets: Sequence[Sequence[str]],
    mix: Mix = no_adapters,
) -> list[list[float]]:
    """Log-probability of whole targets behind prompts, in nats.

    Args:
        base: The base model.
        prompts: Running text, without the blank before the target.
        targets: For each prompt the same number of targets.
        mix: Adapters that act from the prompt on, from the number of rows; the same in every row.

    Returns:
        For each prompt one number per target, all its tokens together.
    """
    scores: list[list[float]] = []
    step = max(1, ROWS // max(map(len, targets), default=1))
    for start in range(0, len(prompts), step):
        some = [Prompt((), ids_of(base, text)) for text in prompts[start : start + step]]
        ids = [[ids_of(base, f" {text}") for text in row] for row in targets[start : start + step]]
        states = answer_states(base, some, ids, _rows(mix, len(some)))
        for row, row_ids in zip(states, ids, strict=True):
            scores.append(log_probabilities(base, row, row_ids))
    return scores


def _rows(mix: Mix, prompts: int) -> Mix:
    def of(repeated: int) -> AbstractContextManager[object]:
        return mix(prompts * repeated)

    return of


def efficacy(new: Sequence[float], old: Sequence[float]) -> list[float]:
    """For each prompt whether the new target is more probable than the old one: 1 or 0."""
    return [float(n > o) for n, o in zip(new, old, strict=True)]
