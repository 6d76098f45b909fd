"""Which facts an epoch visits: those that are not mastered, and the others more rarely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from memkit.lora.training.encoding import Encoded, Fact

CALM = 2  # visits in a row, in different wordings, that a fact must be mastered in
LONGEST_REST = 3  # epochs
EVIDENCE = 4  # one visit in so many is behind a passage: adapters serve beside retrieval, too
EPOCH_STEPS = 3  # what few facts are spread over; four of them make two

T = TypeVar("T")


class Curriculum:
    """Visits to the facts of one module.

    Each visit is in another wording, until all have had their turn. A fact that was mastered
    in `CALM` visits in a row rests for an epoch, then for two, then for three; these visits
    only check that it stays. One that slipped is back in every epoch.

    Args:
        facts: The wordings of each, the canonical one first.
        most: At most so many facts a step.
        random: Draws wordings and order.
    """

    def __init__(self, facts: Sequence[Fact], most: int, random: torch.Generator) -> None:
        self._facts = facts
        self._most = min(most, math.ceil(len(facts) / EPOCH_STEPS))
        self._random = random
        self._epoch = 0
        self._noted = 0
        self._streaks = [0] * len(facts)
        self._due = [0] * len(facts)
        # The text of a record, as passages are put before a question.
        self._passages = [w[0].informed.prefix for w in facts if w[0].informed is not None]
        self._waiting: list[list[Encoded]] = [[] for _ in facts]  # wordings of the present round

    @property
    def steps(self) -> int:
        """How many steps an epoch has that visits every fact."""
        return math.ceil(len(self._facts) / self._most)

    @property
    def settled(self) -> bool:
        """Whether every fact was mastered in its last visits."""
        return min(self._streaks) >= CALM

    @property
    def visits(self) -> float:
        """How often a fact was visited in the mean."""
        return self._noted / len(self._facts)

    @property
    def mastered(self) -> float:
        """Share of the facts that were mastered in their last visit."""
        return sum(streak > 0 for streak in self._streaks) / len(self._streaks)

    def epoch(self, *, everything: bool = False) -> list[Sequence[tuple[int, Encoded]]]:
        """The steps of the next epoch, each fact in another wording than before.

        Facts of like length share a step, so that little is padded; the order of the steps is
        random.

        Args:
            everything: Visit also the facts that would rest.
        """
        due = [f for f, epoch in enumerate(self._due) if everything or epoch <= self._epoch]
        self._epoch += 1
        visits = [(due[i], self._worded(due[i])) for i in self._shuffled(len(due))]
        visits.sort(key=lambda visit: len(visit[1].ids))
        steps = even_shares(visits, self._most)
        return [steps[i] for i in self._shuffled(len(steps))]

    def exam(self) -> list[Sequence[tuple[int, Encoded]]]:
        """Every fact in its canonical wording."""
        canonical = [(fact, wordings[0]) for fact, wordings in enumerate(self._facts)]
        return even_shares(canonical, self._most)

    def note(self, fact: int, *, mastered: bool) -> None:
        """Take down how a visit of the present epoch went."""
        self._noted += 1
        self._streaks[fact] = self._streaks[fact] + 1 if mastered else 0
        rest = min(max(0, self._streaks[fact] - CALM + 1), LONGEST_REST)
        self._due[fact] = self._epoch + rest

    def _worded(self, fact: int) -> Encoded:
        waiting = self._waiting[fact]
        if not waiting:
            wordings = self._facts[fact]
            waiting += [wordings[i] for i in self._shuffled(len(wordings))]
        example = waiting.pop()
        if example.informed is None or draw(EVIDENCE, self._random):
            return example
        # Behind a record's text: its own, or another's, from which the answer cannot be copied.
        drawn = self._passages[draw(len(self._passages), self._random)]
        informed = example.informed
        return replace(informed, prefix=(informed.prefix, drawn)[draw(2, self._random)])

    def _shuffled(self, n: int) -> list[int]:
        return list(torch.randperm(n, generator=self._random).tolist())


def even_shares(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Cut a sequence into the fewest parts of at most ``most``, none much smaller than another."""
    parts = math.ceil(len(items) / most)
    return [items[i * len(items) // parts : (i + 1) * len(items) // parts] for i in range(parts)]


def draw(n: int, random: torch.Generator) -> int:
    """A number below ``n``."""
    return int(torch.randint(n, (1,), generator=random))
