"""What an adapter does to everything else: perplexity of plain text, answers to other prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import torch

from memkit.evals.company.vocabulary import UNRELATED
from memkit.evals.lessons import ids_of
from memkit.lora.training.loss import token_losses
from memkit.models.language_model import TransformersModel
from memkit.types import Sampling

# Plain English that no data set of the study has anything to do with.
TEXTS = (
    "Bread dough needs time more than it needs work. Once flour and water have met, strands of "
    "gluten form by themselves, and an hour of rest does what ten minutes of kneading would do. "
    "Salt slows the yeast down, so it is often added late.",
    "A river that runs over flat land begins to wander. On the outside of a bend the water is "
    "faster and eats into the bank; on the inside it is slower and drops the sand that it has "
    "carried. So a small bend grows until the river cuts through its neck.",
    "To sort a deck of cards, most people take them up one by one and put each in its place among "
    "those that they hold already. For a few cards nothing is faster. For a thousand it is better "
    "to sort two halves apart and then to merge them.",
)
BRIEF = Sampling(max_new_tokens=12)

Adapters = Callable[[int], AbstractContextManager[object]]  # for so many rows


@torch.no_grad()
def perplexity(base: TransformersModel, adapters: Adapters, texts: Sequence[str] = TEXTS) -> float:
    """The exponential of the mean loss of a token of plain texts, behind adapters."""
    losses: list[float] = []
    for text in texts:
        ids = ids_of(base, text)
        with base.hold():
            past = base.past([()])
            with adapters(1):
                hidden = base.extend(past, [ids])
            targets = torch.tensor(ids[1:], device=base.device)
            losses += token_losses(base, hidden[0, :-1], targets).tolist()
    return math.exp(sum(losses) / len(losses))


def unrelated_answers(base: TransformersModel, adapters: Adapters) -> list[str]:
    """The beginnings of answers to prompts that no stored fact answers."""
    prompts = [base.prompt(text) for text in UNRELATED]
    return [c.text for c in base.generate(prompts, BRIEF, adapters=adapters(len(prompts)))]
