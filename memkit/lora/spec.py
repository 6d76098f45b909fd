"""What an adapter is made of and how it is trained: plain values, no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types.validate import check_ids, check_limit, check_number, shown

ALL_LINEAR = "all-linear"
# What the names of the submodules say in every decoder that transformers has.
GROUPS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}
PRECISIONS = ("auto", "float32", "bfloat16")
CHECKPOINTING = ("auto", "on", "off")
# Visits to each record: with these, and in so many steps, a module learns its records to the last
# one (docs/decisions/0001-training-defaults.md).
EPOCHS, MOST_EPOCHS, STEPS = 18, 24, 72


@dataclass(frozen=True)
class LoraSpec:
    """The shape of an adapter.

    Attributes:
        rank: Width of the low-rank product that is trained, >= 1.
        alpha: The delta is scaled by ``alpha / rank``; None means ``2 * rank``.
        target_modules: "all-linear", "attention", "mlp", or last name parts of the linear
            layers to adapt.
        layers: Adapt decoder layers ``[first, last)`` given as fractions of the depth. The
            upper half learns the questions, all of them answer paraphrases best
            (docs/decisions/0001-training-defaults.md).
    """

    rank: int = 8
    alpha: float | None = None
    target_modules: tuple[str, ...] | str = ALL_LINEAR
    layers: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_limit("rank", self.rank)
        if self.alpha is not None:
            check_number("alpha", self.alpha)
            if self.alpha <= 0:
                raise InvalidInputError(f"`alpha` must be above 0, got {shown(self.alpha)}")
        if isinstance(self.target_modules, tuple):
            check_ids("target_modules", self.target_modules)
        else:
            _check("target_modules", self.target_modules, (ALL_LINEAR, *GROUPS), "layer names")
        pair = isinstance(self.layers, Sequence) and len(self.layers) == 2
        if not (pair and _fractions(*self.layers)):
            raise InvalidInputError(
                f"`layers` must be two fractions 0 <= first < last <= 1, got {shown(self.layers)}"
            )

    @property
    def scale(self) -> float:
        """The factor s in ``W + s B A``."""
        return 2.0 if self.alpha is None else self.alpha / self.rank

    def adapts(self, layer: str) -> bool:
        """Whether a linear layer is one of the target modules, by its full name."""
        *path, last = layer.split(".")
        if isinstance(self.target_modules, tuple):
            return last in self.target_modules
        words = GROUPS.get(self.target_modules, ("",))
        return any(word in part for part in path for word in words)

    def as_dict(self) -> dict[str, Any]:
        """JSON form for manifests."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LoraSpec:
        """Inverse of `as_dict`."""
        targets = values["target_modules"]
        return cls(
            **{
                **values,
                "target_modules": targets if isinstance(targets, str) else tuple(targets),
                "layers": tuple(values["layers"]),
            }
        )


@dataclass(frozen=True)
class TrainSpec:
    """How an adapter is trained.

    Attributes:
        learning_rate: Peak of the cosine schedule, the root mean square of a weight's change in a
            step; halved if the loss diverges.
        epochs: At most this many visits to each record. None for 18, and for up to 24 where
            there are so few records that 18 would be fewer than 72 steps.
        batch_size: Examples per step.
        guards: How many of a batch are general prompts with the base model's own answers,
            which keep the adapter from answering everything with facts.
        mastery: An example counts as learned when every answer token has at least this
            probability.
        seed: Seeds the initial weights and the order of the examples.
        precision: Of the base model while it trains: "float32", "bfloat16", or "auto", which is
            "bfloat16" for models of ten million parameters and more where the processor
            multiplies it (Intel AMX, AVX-512 BF16), else the precision that the model serves in.
        gradient_checkpointing: Whether decoder layers are computed again in the backward pass, so
            that what they make is not kept: "on", "off", or "auto", which is "on" for steps that
            would not fit into the memory that the base model may take. It learns the same.
    """

    learning_rate: float = 1.5e-3
    epochs: int | None = None
    batch_size: int = 8
    guards: int = 1
    mastery: float = 0.5
    seed: int = 0
    precision: str = "auto"
    gradient_checkpointing: str = "auto"

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.visits()), ("batch_size", self.batch_size)):
            check_limit(name, value)
        check_limit("guards", self.guards, least=0)
        check_limit("seed", self.seed, least=0, most=2**63 - 1)
        check_number("learning_rate", self.learning_rate)
        check_number("mastery", self.mastery)
        if not 0 <= self.guards < self.batch_size:
            raise InvalidInputError(
                f"`guards` must leave room for facts in a batch of {self.batch_size}, "
                f"got {shown(self.guards)}"
            )
        if self.learning_rate <= 0.0:
            raise InvalidInputError(
                f"`learning_rate` must be above 0, got {shown(self.learning_rate)}"
            )
        if not 0.0 < self.mastery < 1.0:
            raise InvalidInputError(f"`mastery` must be between 0 and 1, got {shown(self.mastery)}")
        _check("precision", self.precision, PRECISIONS)
        _check("gradient_checkpointing", self.gradient_checkpointing, CHECKPOINTING)

    def visits(self, steps: int = 1) -> int:
        """The most visits to each record, by the steps of an epoch that visits all of them."""
        if self.epochs is not None:
            return self.epochs
        return min(MOST_EPOCHS, max(EPOCHS, math.ceil(STEPS / steps)))

    def as_dict(self) -> dict[str, Any]:
        """JSON form for manifests: what decides about what is learned."""
        values = asdict(self)
        del values["gradient_checkpointing"]  # this machine's memory does
        return values


def _fractions(first: object, last: object) -> bool:
    return (
        isinstance(first, int | float)
        and isinstance(last, int | float)
        and 0.0 <= first < last <= 1.0
    )


def _check(name: str, value: str, known: tuple[str, ...], other: str = "") -> None:
    if not isinstance(value, str) or value not in known:
        rest = f" or a tuple of {other}" if other else ""
        raise InvalidInputError(f"`{name}` must be one of {known}{rest}, got {shown(value)}")
