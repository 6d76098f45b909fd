"""The way of one adapter down its loss."""

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
    """Muon for matrices and AdamW for what else there is; their state belongs to one adapter.

    Args:
        parameters: Changed in place; matrices of one shape as one tensor with three dimensions.
        learning_rate: Its highest.
        guess: Loss of a uniform guess of the next token, in nats.

    Attributes:
        steps: How many were taken.
        loss: Of the last one.
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float, *, guess: float) -> None:
        self.steps = 0
        self.loss = math.nan
        self._first = math.nan
        self._learning_rate = learning_rate
        self._guess = guess
        self._parameters = list(parameters)
        matrices = [p for p in self._parameters if p.dim() == 3]
        others = [p for p in self._parameters if p.dim() != 3]
        self._optimizers: list[torch.optim.Optimizer] = []
        if matrices:
            self._optimizers.append(Muon(matrices, learning_rate))
        if others:
            self._optimizers.append(torch.optim.AdamW(others, learning_rate, weight_decay=0.0))

    def watch(self, loss: float) -> None:
        """Take the loss of a step down, before it is taken.

        Raises:
            DivergedError: If it is not finite, or far worse than to know nothing.
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
        """Take one step along the gradients, and clear them.

        Args:
            rate: Share of the learning rate, in [0, 1].
        """
        torch.nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self._learning_rate * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.steps += 1


def cosine(progress: float) -> float:
    """Share of the peak rate: a short linear rise, then half a cosine down to zero.

    Args:
        progress: How much of the schedule is over, >= 0; nothing is left from 1 on.
    """
    if progress < WARMUP:
        return 0.1 + 0.9 * progress / WARMUP
    if progress >= 1.0:
        return 0.0
    return 0.5 * (1.0 + math.cos(math.pi * (progress - WARMUP) / (1.0 - WARMUP)))
