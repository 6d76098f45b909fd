"""What an adapter is made of and how it is trained: plain values, no torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from memkit.errors import InvalidInputError

ALL_LINEAR = "all-linear"
# What the names of the submodules say in every decoder that transformers has.
GROUPS = {"attention": ("attn", "attention"), "mlp": ("mlp", "feed_forward", "ffn")}
VARIANTS = ("lora", "dora", "pissa")
OBJECTIVES = ("answer", "sequence", "distill")
PRECISIONS = ("auto", "float32", "bfloat16", "mixed")
# Visits to each record: with these, and in so many steps, a module learns its records to the last
# one (docs/decisions/0001-training-defaults.md).
EPOCHS, MOST_EPOCHS, STEPS = 18, 24, 72
FITTED_EPOCHS, MOST_FITTED_EPOCHS, FITTED_STEPS = 9, 12, 36  # where the last layer is fitted


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
        variant: "lora"; "dora", which also learns the length of each row of the weights; or
            "pissa", which starts from their largest singular vectors.
        rslora: Scale by ``alpha / sqrt(rank)`` instead (Kalajdzievski 2023, arXiv 2312.03732).
    """

    rank: int = 8
    alpha: float | None = None
    target_modules: tuple[str, ...] | str = ALL_LINEAR
    layers: tuple[float, float] = (0.0, 1.0)
    variant: str = "lora"
    rslora: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidInputError(f"`rank` must be at least 1, got {self.rank!r}")
        if not isinstance(self.target_modules, tuple):
            _check("target_modules", self.target_modules, (ALL_LINEAR, *GROUPS), "layer names")
        _check("variant", self.variant, VARIANTS)
        first, last = self.layers
        if not 0.0 <= first < last <= 1.0:
            raise InvalidInputError(
                f"`layers` must be two fractions 0 <= first < last <= 1, got {self.layers!r}"
            )

    @property
    def scale(self) -> float:
        """The factor s in ``W + s B A``."""
        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        return alpha / (self.rank**0.5 if self.rslora else self.rank)

    @property
    def width(self) -> int:
        """Rank of the adapter that comes out.

        PiSSA takes away what it started from, which is as wide as what it learned.
        """
        return 2 * self.rank if self.variant == "pissa" else self.rank

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
            there are so few records that 18 would be fewer than 72 steps; half of each with a
            fitted readout.
        batch_size: Examples per step.
        guards: How many of a batch are general prompts with the base model's own answers,
            which keep the adapter from answering everything with facts.
        mastery: An example counts as learned when every answer token has at least this
            probability.
        seed: Seeds the initial weights and the order of the examples.
        objective: "answer" predicts the answer's tokens; "sequence" the question's, too;
            "distill" follows the base model with the record's text before it.
        precision: Of the base model while it trains. "mixed" multiplies in bfloat16 and adds up
            in float32. "auto" takes "bfloat16", or "mixed" with a fitted readout, where the
            processor multiplies bfloat16 in hardware (Intel AMX), else the precision that the
            model serves in.
        readout: Fit the last linear layer to all that was seen instead of training it, after each
            epoch (`memkit.lora.training.readout`). It takes half the visits, and a rank of at
            least the number of different tokens in the answers, for numbers about twelve.
    """

    learning_rate: float = 1.5e-3
    epochs: int | None = None
    batch_size: int = 8
    guards: int = 1
    mastery: float = 0.5
    seed: int = 0
    objective: str = "answer"
    precision: str = "auto"
    readout: bool = False

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.visits()), ("batch_size", self.batch_size)):
            if value < 1:
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
        _check("objective", self.objective, OBJECTIVES)
        _check("precision", self.precision, PRECISIONS)
        if self.readout and self.objective != "answer":
            raise InvalidInputError(
                f"`readout` needs the objective 'answer', got {self.objective!r}"
            )

    def visits(self, steps: int = 1) -> int:
        """The most visits to each record.

        Args:
            steps: Of an epoch that visits all of them; 1 gives the most there can be.
        """
        if self.epochs is not None:
            return self.epochs
        if self.readout:
            return min(MOST_FITTED_EPOCHS, max(FITTED_EPOCHS, math.ceil(FITTED_STEPS / steps)))
        return min(MOST_EPOCHS, max(EPOCHS, math.ceil(STEPS / steps)))

    def as_dict(self) -> dict[str, Any]:
        """JSON form for manifests."""
        return asdict(self)


def _check(name: str, value: str, known: tuple[str, ...], other: str = "") -> None:
    if value not in known:
        rest = f" or a tuple of {other}" if other else ""
        raise InvalidInputError(f"`{name}` must be one of {known}{rest}, got {value!r}")


# Shape and training of two tiers; their figures are in docs/decisions/0001-training-defaults.md.
QUALITY = (LoraSpec(), TrainSpec())
FAST = (LoraSpec(rank=16, layers=(0.5, 1.0)), TrainSpec(learning_rate=2e-3, readout=True))
