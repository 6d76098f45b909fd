"""The training of one adapter: what it visits, at which rate, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from memkit.lora.serving.hooks import Adapter, Factors
from memkit.lora.spec import TrainSpec
from memkit.lora.training.curriculum import Curriculum, draw
from memkit.lora.training.encoding import Encoded, Fact
from memkit.lora.training.optimizer import Optimizer, cosine
from memkit.lora.training.trainable_adapter import TrainableAdapter

# Between the last fact that was learned and the end: so many visits to each, in so many steps.
COOLING, COOLING_STEPS = 3, 18

Step = Sequence[tuple[int | None, Encoded]]  # facts by number; None for a guard


@dataclass(frozen=True)
class Trained:
    """A trained adapter, in float32, and how training went.

    Attributes:
        loss: Of the last step.
        mastered: Share of the facts that were mastered when they were last visited.
        learning_rate: What the schedule began with: less than asked for after a divergence.
    """

    adapter: Adapter
    steps: int
    loss: float
    mastered: float
    learning_rate: float


class TrainingRun:
    """One adapter in training; ``random`` draws wordings, order and guards."""

    def __init__(
        self,
        facts: Sequence[Fact],
        train: TrainSpec,
        random: torch.Generator,
        adapter: TrainableAdapter,
        optimizer: Optimizer,
        *,
        guards: Sequence[Encoded],
    ) -> None:
        self.adapter = adapter
        self.optimizer = optimizer
        self.curriculum = Curriculum(facts, train.batch_size - train.guards, random)
        self._train = train
        self._random = random
        self._guards = guards
        self._visits = train.visits(self.curriculum.steps)
        self._cooling_visits = max(COOLING, math.ceil(COOLING_STEPS / self.curriculum.steps))
        self._cooling_since: float | None = None  # visits when it began
        self._rate_before_cooling = 1.0

    @property
    def cooling(self) -> bool:
        """Whether all facts are learned and the rate is falling to zero."""
        return self._cooling_since is not None

    @property
    def over(self) -> bool:
        """Whether training has ended."""
        return self.rate == 0.0

    @property
    def rate(self) -> float:
        """Share of the peak rate; facts that rest do not use up the schedule."""
        if self._cooling_since is None:
            return cosine(self.curriculum.visits / self._visits)
        left = 1.0 - (self.curriculum.visits - self._cooling_since) / self._cooling_visits
        return self._rate_before_cooling * max(0.0, left)

    def cool(self) -> None:
        """Start to bring the rate down to zero from where it is."""
        rate = self.rate
        self._cooling_since, self._rate_before_cooling = self.curriculum.visits, rate

    def epoch(self) -> list[Step]:
        """The steps of the next epoch, guards included; while it cools, of all facts."""
        steps: list[Step] = []
        for step in self.curriculum.epoch(everything=self.cooling):
            drawn = [draw(len(self._guards), self._random) for _ in range(self._train.guards)]
            steps.append([*step, *((None, self._guards[number]) for number in drawn)])
        return steps

    def trained(self) -> Trained:
        """The adapter as it is now."""
        adapter = {
            name: Factors(factors.a.detach(), factors.b.detach())
            for name, factors in self.adapter.factors().items()
        }
        return Trained(
            adapter,
            self.optimizer.steps,
            self.optimizer.loss,
            self.curriculum.mastered,
            self._train.learning_rate,
        )
