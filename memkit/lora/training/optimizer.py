"""The optimizer of one adapter: Muon, gradient clipping, and a check for divergence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memkit.errors import TrainingError
from memkit.lora.training.muon import Muon

WARMUP = 0.05  # share of the schedule
DIVERGED = 3.0  # times a blind guess, or times the first step if that was worse


class DivergedError(TrainingError):
    """The loss left the neighbourhood in which training makes sense."""


class Optimizer:
    """Muon with clipped gradients, and a check for divergence; its state is one adapter's.

    Args:
        parameters: Changed in place; matrices of one shape as one tensor ``(n, rows, columns)``.
        learning_rate: Its highest.
        guess: Loss of a uniform guess of the next token, in nats.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float, *, guess: float) -> None:
        self.steps = 0
        self.loss = math.nan
        self._first = math.nan
        self._learning_rate = learning_rate
        self._guess = guess
        self._parameters = list(parameters)
        self._muon = Muon(self._parameters, learning_rate)

    def watch(self, loss: float) -> None:
        """Note the loss of a step before the step is taken.

        Raises:
            DivergedError: If it is not finite, or far above that of a uniform guess.
        """
        self.loss = loss
        if self.steps == 0:
            self._first = loss
        if not math.isfinite(loss) or loss > DIVERGED * max(self._guess, self._first):
            raise DivergedError(
                f"the loss went from {self._first:.2f} to {loss:.2f} at step {self.steps} with "
                f"learning rate {self._learning_rate:g}",
                hint="use a smaller `learning_rate`",
            )

    def step(self, rate: float) -> None:
        """Take a step of a share of the learning rate along the gradients, and clear them."""
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for group in self._muon.param_groups:
            group["lr"] = self._learning_rate * rate
        self._muon.step()
        self._muon.zero_grad(set_to_none=True)
        self.steps += 1


def cosine(progress: float) -> float:
    """Share of the peak rate: a short linear rise, then half a cosine down to zero at 1."""
    if progress < WARMUP:
        return 0.1 + 0.9 * progress / WARMUP
    if progress >= 1.0:
        return 0.0
    return 0.5 * (1.0 + math.cos(math.pi * (progress - WARMUP) / (1.0 - WARMUP)))
