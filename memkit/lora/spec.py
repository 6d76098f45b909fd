"""What an adapter is made of and how it is trained: plain values, no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from memkit.errors import InvalidInputError

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class LoraSpec:
    """The shape of an adapter.

    Attributes:
        rank: Width of the low-rank product, >= 1.
        alpha: The delta is scaled by ``alpha / rank``; None means ``2 * rank``.
        target_modules: Last name parts of the linear layers to adapt, or "all-linear".
        layers: Adapt decoder layers ``[first, last)`` given as fractions of the depth. Any
            half of them learns the questions, all of them answer paraphrases best
            (docs/decisions/0001-training-defaults.md).
    """

    rank: int = 8
    alpha: float | None = None
    target_modules: tuple[str, ...] | str = ALL_LINEAR
    layers: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidInputError(f"`rank` must be at least 1, got {self.rank!r}")
        if isinstance(self.target_modules, str) and self.target_modules != ALL_LINEAR:
            raise InvalidInputError(
                f"`target_modules` must be {ALL_LINEAR!r} or a tuple of layer names, "
                f"got {self.target_modules!r}"
            )
        first, last = self.layers
        if not 0.0 <= first < last <= 1.0:
            raise InvalidInputError(
                f"`layers` must be two fractions 0 <= first < last <= 1, got {self.layers!r}"
            )

    @property
    def scale(self) -> float:
        """The factor s in ``W + s B A``."""
        return (2.0 * self.rank if self.alpha is None else self.alpha) / self.rank

    def as_dict(self) -> dict[str, Any]:
        """JSON form for manifests."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LoraSpec:
        """Inverse of `as_dict`."""
        targets = values["target_modules"]
        return cls(
            rank=values["rank"],
            alpha=values["alpha"],
            target_modules=targets if isinstance(targets, str) else tuple(targets),
            layers=tuple(values["layers"]),
        )


@dataclass(frozen=True)
class TrainSpec:
    """How an adapter is trained.

    Attributes:
        learning_rate: Peak of the cosine schedule.
        epochs: At most this many visits to each record.
        batch_size: Examples per step.
        guards: How many of a batch are general prompts with the base model's own answers,
            which keep the adapter from answering everything with facts.
        mastery: An example counts as learned when every answer token has at least this
            probability.
        seed: Seeds the initial weights and the order of the examples.
    """

    learning_rate: float = 5e-3
    epochs: int = 24
    batch_size: int = 8
    guards: int = 1
    mastery: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if (value := getattr(self, name)) < 1:
                raise InvalidInputError(f"`{name}` must be at least 1, got {value!r}")
        if not 0 <= self.guards < self.batch_size:
            raise InvalidInputError(
                f"`guards` must leave room for facts in a batch of {self.batch_size}, "
                f"got {self.guards!r}"
            )
        if not self.learning_rate > 0.0:
            raise InvalidInputError(f"`learning_rate` must be above 0, got {self.learning_rate!r}")
        if not 0.0 < self.mastery < 1.0:
            raise InvalidInputError(f"`mastery` must be between 0 and 1, got {self.mastery!r}")

    def as_dict(self) -> dict[str, Any]:
        """JSON form for manifests."""
        return asdict(self)
