"""How probable given answers are: two forward passes, nothing generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from memkit.models.language_model import TransformersModel
from memkit.types import Prompt

Ids = tuple[int, ...]
# Mixtures for a batch in which every prompt's row is repeated so many times, in order.
Mix = Callable[[int], AbstractContextManager[object]]


def no_adapters(_: int) -> AbstractContextManager[object]:
    """The untouched base model, as a `Mix`."""
    return nullcontext()


@torch.no_grad()
def answer_states(
    base: TransformersModel, prompts: Sequence[Prompt], answers: Sequence[Sequence[Ids]], mix: Mix
) -> list[list[Tensor]]:
    """Hidden states from which a model predicts the tokens of given answers.

    Questions are read once, whatever the number of answers.

    Args:
        base: The base model.
        prompts: The questions.
        answers: For each prompt the same number n of answers, as token ids; none is empty.
        mix: Adapters that act from the question on.

    Returns:
        For each prompt and answer the states, shape ``(tokens of the answer, hidden)``: row t
        predicts token t.
    """
    n = len(answers[0])
    fed = [ids[:-1] or ids for some in answers for ids in some]  # nothing follows the last token
    with base.hold():
        past = base.past([prompt.prefix for prompt in prompts])
        with mix(1):
            hidden = base.extend(past, [prompt.question for prompt in prompts])  # (p, t, h)
        ends = [hidden[row, len(prompt.question) - 1] for row, prompt in enumerate(prompts)]
        with mix(n):
            answer_hidden = base.extend(past.repeated(n), fed)  # (p * n, t, h)
    return [
        [
            torch.cat([end[None], answer_hidden[row * n + i, : len(ids) - 1]])
            for i, ids in enumerate(answers[row])
        ]
        for row, end in enumerate(ends)
    ]


@torch.no_grad()
def log_probabilities(
    base: TransformersModel, states: Sequence[Tensor], answers: Sequence[Ids]
) -> list[float]:
    """Log-probability of each answer, all its tokens together, in nats."""
    logits = base.logits(torch.cat(list(states)))  # (all tokens, vocab)
    targets = torch.tensor([token for ids in answers for token in ids], device=logits.device)
    scores = logits.float().log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
    parts = torch.split(scores, [len(ids) for ids in answers])
    return [float(part.sum()) for part in parts]


def mean_log_probabilities(
    base: TransformersModel, prompts: Sequence[Prompt], answers: Sequence[Ids], mix: Mix
) -> list[float]:
    """Mean log-probability of the tokens of one answer for each prompt, in nats."""
    states = answer_states(base, prompts, [[ids] for ids in answers], mix)
    totals = log_probabilities(base, [state for (state,) in states], answers)
    return [total / len(ids) for total, ids in zip(totals, answers, strict=True)]
