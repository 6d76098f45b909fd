"""The course of one adapter through training: what it visits, at which rate, and when it ends."""

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
from memkit.lora.training.readout import Readout
from memkit.lora.training.variants import Variant

# Between the last fact that was learned and the end: so many visits to each, in so many steps.
COOLING, COOLING_STEPS = 3, 18

Step = Sequence[tuple[int | None, Encoded]]  # facts by number; None for a guard


@dataclass(frozen=True)
class Trained:
    """A trained adapter and how training went.

    Attributes:
        adapter: Its factors, in float32.
        steps: How many there were.
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
    """One adapter on its way.

    Args:
        facts: What it learns.
        train: How.
        random: Draws wordings, order and guards.
        variant: What is learned of it.
        descent: How that is stepped.
        readout: What fits its last layer; None if that is trained like the others.
        guards: Prompts that it is to leave alone, one or more of them in each step.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        train: TrainSpec,
        random: torch.Generator,
        variant: Variant,
        descent: Optimizer,
        *,
        readout: Readout | None,
        guards: Sequence[Encoded],
    ) -> None:
        self.facts = facts
        self.descent = descent
        self.readout = readout
        self.curriculum = Curriculum(facts, train.batch_size - train.guards, random)
        self._train = train
        self._random = random
        self._variant = variant
        self._guards = guards
        self._visits = train.visits(self.curriculum.steps)
        self._cooling = max(COOLING, math.ceil(COOLING_STEPS / self.curriculum.steps))
        self._cooled: float | None = None  # visits when it began to cool
        self._warm = 1.0  # the rate then

    def adapter(self, dtype: torch.dtype = torch.float32) -> Adapter:
        """What is put in place; gradients flow to what is trained."""
        trained = self._variant.adapter(dtype)
        if self.readout is None:
            return trained
        fitted = self.readout.factors
        return {**trained, self.readout.tap.site: fitted.to(fitted.a.device, dtype)}

    def fit_readout(self) -> None:
        """Fit the last layer to what was seen, if it is not trained."""
        if self.readout is not None:
            self.readout.fit()

    @property
    def cooling(self) -> bool:
        """Whether all is learned, and the rate is on its way to zero."""
        return self._cooled is not None

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        return self.rate == 0.0

    @property
    def rate(self) -> float:
        """Share of the peak rate; what rests does not use the schedule up."""
        if self._cooled is None:
            return cosine(self.curriculum.visits / self._visits)
        left = 1.0 - (self.curriculum.visits - self._cooled) / self._cooling
        return self._warm * max(0.0, left)

    def cool(self) -> None:
        """Bring the rate down to zero from where it is."""
        self._cooled, self._warm = self.curriculum.visits, self.rate

    def epoch(self) -> list[Step]:
        """The steps of the next epoch, guards included; while it cools, of all facts."""
        steps = self.curriculum.epoch(everything=self.cooling)
        return [[*step, *self._drawn_guards()] for step in steps]

    def _drawn_guards(self) -> list[tuple[None, Encoded]]:
        numbers = [draw(len(self._guards), self._random) for _ in range(self._train.guards)]
        return [(None, self._guards[number]) for number in numbers]

    def trained(self) -> Trained:
        """The adapter as it is now."""
        with torch.no_grad():
            adapter = {
                name: Factors(*(part.detach() for part in factors.parts))
                for name, factors in self.adapter().items()
            }
        return Trained(
            adapter,
            self.descent.steps,
            self.descent.loss,
            self.curriculum.mastered,
            self._train.learning_rate,
        )
