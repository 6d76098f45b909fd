"""What all questions of the study share: sizes, shapes of adapters, and the form of an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from memkit.evals.configuration import EPOCHS, Configuration, Learning, Point
from memkit.evals.metrics.bootstrap import Interval
from memkit.evals.run_records import RunRecord

SEEDS = (0, 1, 2)

# As a fraction of the depth: small enough to be filled by what a laptop can train.
SMALL_LAYERS = (0.75, 1.0)


def small(
    rank: int, epochs: int = EPOCHS, forms: tuple[str, ...] = ("qa",), writer: str = "offline"
) -> Learning:
    """An adapter on all linear layers of the last quarter of the decoder."""
    return Learning(rank, layers=SMALL_LAYERS, epochs=epochs, forms=forms, writer=writer)


def tiny(rank: int) -> Learning:
    """An adapter on queries and values of the last quarter: as few numbers as there can be."""
    return Learning(rank=rank, targets=("q_proj", "v_proj"), layers=SMALL_LAYERS)


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        published: Whether the study's own data is there; without it, invented data stands in.
        texts: Data sets of long texts that are there, by their names in the catalogue.
        seeds: Each is a training run of its own, and draws its own modules.
    """

    quick: bool
    published: bool = True
    texts: tuple[str, ...] = ("papers",)
    seeds: tuple[int, ...] = SEEDS

    @property
    def phone_book(self) -> str:
        """The phone book to use."""
        return "phone book" if self.published else "invented phone book"


Verdict = Literal["holds", "does not hold", "cannot be told here"]


@dataclass(frozen=True)
class Finding:
    """What was found out about one claim of the study.

    Attributes:
        claim: What the study says, or what memkit is to keep.
        because: The figures.
    """

    claim: str
    verdict: Verdict
    because: str


@dataclass(frozen=True)
class Series:
    """One line or group of bars; with one value for each place on the x-axis, or None."""

    name: str
    values: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Plot:
    """A figure that can be read without the text around it.

    Attributes:
        name: Of its file, without the ending.
        title: A sentence that says what is to be seen.
        x: The places, as they are labelled.
        kind: "lines" over an ordered axis, or "bars" over kinds of things.
        share: Whether the values are shares, from 0 to 1.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    x: tuple[str, ...]
    series: tuple[Series, ...]
    kind: Literal["lines", "bars"] = "lines"
    share: bool = True


@dataclass(frozen=True)
class Conclusion:
    """What the records of a question come to."""

    findings: tuple[Finding, ...] = ()
    plots: tuple[Plot, ...] = ()
    ratios: Mapping[str, float] = field(default_factory=dict)


class Results:
    """The records that were measured, to be asked for by point.

    Args:
        records: By key.
    """

    def __init__(self, records: Mapping[str, RunRecord]) -> None:
        self._records = records

    def get(self, points: Sequence[Point]) -> list[RunRecord]:
        """The records of those points that were measured, in order."""
        return [self._records[p.key] for p in points if p.key in self._records]

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self._records.values())


Points = Callable[[Scale, int], list[Point]]  # of one seed


@dataclass(frozen=True)
class Question:
    """One question of the study.

    Attributes:
        numbers: As the study counts; more than one where they are answered together.
        points: What is measured for one seed.
        conclude: What the records say.
        later: More points for one seed, which are measured when all others are.
        needs: What it needs beyond a laptop; empty if it needs nothing.
    """

    numbers: tuple[str, ...]
    title: str
    points: Points
    conclude: Callable[[Results, Scale], Conclusion]
    later: Points = lambda _scale, _seed: []
    needs: str = ""


def base_of(point: Configuration) -> Configuration:
    """The same questions put to the base model, with nothing learned."""
    return Configuration(
        point.data, point.size, context=point.context, budget=point.budget, asked=point.asked
    )
