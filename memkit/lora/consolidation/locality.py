"""What a module does to everything else: a fixed set of unrelated prompts.

They are neither the guards that adapters are trained with nor the prompts that the router is
calibrated on. Asked are the first tokens of an answer only: that is where it is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from memkit.models.language_model import TransformersModel
from memkit.models.scoring import Ids, answer_states, no_adapters
from memkit.types import Locality, Route, Sampling

PROMPTS = (
    "Good evening. What can you help me with?",
    "What is 9 minus 4?",
    "Name the three primary colours of light.",
    "What is the capital of Portugal?",
    "Write the first line of a letter to a friend.",
    "How do I change a bicycle tyre?",
    "Translate 'see you tomorrow' into German.",
    "What does a librarian do?",
    "Which telephone number do I dial in an emergency?",
    "Who wrote Hamlet?",
    "In which year did people first walk on the Moon?",
    "Write a loop in Python that prints the numbers from 1 to 5.",
    "What is the plural of 'mouse'?",
    "Is the sentence 'I loved this film' positive or negative?",
    "Give me one tip for a job interview.",
    "Continue this story: The door was open, and",
    "How many minutes are in an hour?",
    "What is the difference between a list and a tuple?",
    "Where do penguins live?",
    "Correct the spelling: 'I recieved your mesage.'",
)
TOKENS = 8  # of an answer

# The adapters of a route for each row of a batch.
Adapters = Callable[[Sequence[Route]], AbstractContextManager[object]]


class Baseline:
    """What the untouched base model says to the prompts."""

    def __init__(self, base: TransformersModel) -> None:
        self.prompts = [base.prompt(text) for text in PROMPTS]
        with base.hold():
            completions = base.generate(self.prompts, Sampling(max_new_tokens=TOKENS))
        self.answers: list[Ids] = [completion.ids for completion in completions]
        states = answer_states(base, self.prompts, [[ids] for ids in self.answers], no_adapters)
        self.first = _log_probabilities(base, states)  # (prompts, vocab)


# Once per model, whatever the number of memories; models are compared by identity.
_BASELINES: WeakKeyDictionary[TransformersModel, Baseline] = WeakKeyDictionary()


def baseline(base: TransformersModel) -> Baseline:
    """The base model's own answers, computed when they are first needed."""
    if base not in _BASELINES:
        _BASELINES[base] = Baseline(base)
    return _BASELINES[base]


def measure(
    base: TransformersModel, routes: Sequence[Route], forced: Route, adapters: Adapters
) -> Locality:
    """Ask the prompts as they are routed, and forced through a module.

    An answer counts as unchanged if each of its first tokens is still the likeliest one. Where
    the route is "none" nothing is computed: the answer is the base model's own.

    Args:
        base: The base model.
        routes: Of each of `PROMPTS`.
        forced: The route to the module alone.
        adapters: Puts routes in place.
    """
    reference = baseline(base)
    everything = list(range(len(PROMPTS)))
    routed = [row for row in everything if routes[row]]
    through, _ = _compared(base, reference, routed, [routes[row] for row in routed], adapters)
    alone, first = _compared(base, reference, everything, [forced] * len(everything), adapters)
    divergence = kl_div(first, reference.first, log_target=True, reduction="batchmean")
    return Locality(
        routed=1.0 - (len(routed) - sum(through)) / len(everything),
        forced=sum(alone) / len(everything),
        divergence=max(0.0, float(divergence)),
    )


def _compared(
    base: TransformersModel,
    reference: Baseline,
    rows: Sequence[int],
    routes: Sequence[Route],
    adapters: Adapters,
) -> tuple[list[bool], Tensor]:
    """Which answers stay, and log-probabilities of the first token, shape ``(rows, vocab)``."""
    if not rows:
        return [], torch.empty(0)
    answers = [reference.answers[row] for row in rows]
    states = answer_states(
        base,
        [reference.prompts[row] for row in rows],
        [[ids] for ids in answers],
        lambda _: adapters(routes),  # one answer to a prompt, so no row is repeated
    )
    likeliest = [base.logits(of_row[0]).argmax(dim=-1).tolist() for of_row in states]
    same = [tuple(tokens) == ids for tokens, ids in zip(likeliest, answers, strict=True)]
    return same, _log_probabilities(base, states)


@torch.no_grad()
def _log_probabilities(base: TransformersModel, states: Sequence[Sequence[Tensor]]) -> Tensor:
    """Of the first token of the one answer to each prompt."""
    first = torch.stack([answer[0] for (answer,) in states])  # (rows, hidden)
    return base.logits(first).float().log_softmax(dim=-1)
