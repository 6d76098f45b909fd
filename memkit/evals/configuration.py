"""What is measured, as plain values: a configuration is one cell of the study's tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal, Self, get_args

from memkit.errors import InvalidInputError
from memkit.evals.writers import FORMS, WRITERS
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.types.validate import check_limit, shown

Routing = Literal["oracle", "centroid", "nearest", "fixed"]
Partition = Literal["order", "topic", "document"]
Context = Literal["none", "icl", "rag"]
Way = Literal[
    "rows",
    "mix",
    "ties",
    "dare_linear",
    "dare_ties",
    "linear",
    "cat",
    "cat_root",
    "mean_delta",
]

# The upper half of the decoder learns questions and costs half as much a step; fewer visits than
# these are too few for small modules (docs/decisions/0001-training-defaults.md).
LAYERS = (0.5, 1.0)
EPOCHS, BATCH = 24, 8
BUDGET = 4096  # tokens of evidence, the same for retrieval and for everything in the prompt


@dataclass(frozen=True)
class Learning:
    """How adapters are made.

    Attributes:
        rank: Of each adapter.
        targets: See `LoraSpec.target_modules`.
        layers: See `LoraSpec.layers`.
        epochs: The most visits to each thing to learn; equal for all that is compared. A run
            ends sooner only where all of them are mastered.
        forms: What is learned of a document; see `memkit.evals.writers`.
    """

    rank: int = 2
    targets: tuple[str, ...] | str = "all-linear"
    layers: tuple[float, float] = LAYERS
    epochs: int = EPOCHS
    forms: tuple[str, ...] = ("qa",)
    writer: str = "offline"

    def __post_init__(self) -> None:
        unknown = [form for form in self.forms if form not in FORMS]
        if unknown or not self.forms or self.writer not in WRITERS:
            raise InvalidInputError(
                f"expected forms among {FORMS} and a writer among {WRITERS}, got "
                f"{list(self.forms)} and {self.writer!r}"
            )
        _ = self.lora, self.train(0)  # they check their values

    @property
    def lora(self) -> LoraSpec:
        """The shape of an adapter."""
        return LoraSpec(rank=self.rank, target_modules=self.targets, layers=self.layers)

    def train(self, seed: int) -> TrainSpec:
        """How one is trained."""
        return TrainSpec(epochs=self.epochs, batch_size=BATCH, guards=0, seed=seed)


@dataclass(frozen=True)
class Recorded:
    """A point that is measured once and recorded under its key.

    Attributes:
        kind: What is measured at it; with the values of its fields it makes up the key.
    """

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Tells points apart: 16 hexadecimal digits of a SHA-256 over kind and values."""
        text = json.dumps([self.kind, self.as_dict()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """JSON form."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `as_dict`."""
        if values.get("learning") is None:
            return cls(**values)
        return cls(**{**values, "learning": _learning(values["learning"])})


@dataclass(frozen=True)
class Configuration(Recorded):
    """One cell: which data, learned how, asked how.

    Attributes:
        data: Name of a data set, see `memkit.evals.data.catalogue`.
        size: How many facts, edits or documents of it.
        learning: None for the base model without adapters.
        modules: How many adapters share the documents.
        partition: By what they are shared out: in order, by topic, or one for each document.
        routing: Which adapters a question is put to: that of its document ("oracle"), those of
            the nearest centroids or of the nearest facts, or always the first ones ("fixed"),
            which are then asked for their own documents only.
        top: How many adapters take part in an answer.
        way: How several do: in rows of their own, mixed exactly, or merged.
        context: Whether evidence is put into the prompt: everything that fits ("icl") or what
            is retrieved ("rag").
        budget: The most tokens of evidence.
        asked: The most questions that are asked.
        seed: Of training, and of what is drawn at random.
    """

    data: str
    size: int
    learning: Learning | None = None
    modules: int = 1
    partition: Partition = "order"
    routing: Routing = "oracle"
    top: int = 1
    way: Way = "mix"
    context: Context = "none"
    budget: int = BUDGET
    asked: int = 48
    seed: int = 0

    kind = "answers"

    def __post_init__(self) -> None:
        for name in ("size", "modules", "top", "budget", "asked"):
            check_limit(name, getattr(self, name))
        for name, known in (
            ("partition", Partition),
            ("routing", Routing),
            ("way", Way),
            ("context", Context),
        ):
            if getattr(self, name) not in get_args(known):
                raise InvalidInputError(
                    f"`{name}` must be one of {get_args(known)}, got {shown(getattr(self, name))}"
                )


@dataclass(frozen=True)
class EditRun(Recorded):
    """Edited statements that are learned, and how probable their targets are then.

    Attributes:
        size: Of the study's subset: "1K", "2K" or "4K".
        edits: At most so many of its statements.
    """

    size: str
    learning: Learning | None
    edits: int = 1000
    seed: int = 0

    kind = "edits"


@dataclass(frozen=True)
class LifeRun(Recorded):
    """A memory that is taught, made to forget, corrected and rolled back.

    Attributes:
        facts: How many it is taught.
        learning: Shape and visits of its modules.
    """

    facts: int
    learning: Learning = field(default_factory=Learning)
    seed: int = 0

    kind = "life"


@dataclass(frozen=True)
class MemoryRun(Recorded):
    """A memory as users have it, with its defaults.

    Attributes:
        data: Name of a data set.
        size: How many documents it holds.
        asked: The most questions that are asked.
        weights: Whether the documents are consolidated first.
    """

    data: str
    size: int
    asked: int = 100
    weights: bool = False
    seed: int = 0

    kind = "memory"


@dataclass(frozen=True)
class CapacityRun(Recorded):
    """An adapter as `consolidate` trains it, on facts of an invented company.

    Attributes:
        rank: Of the adapter; all else is as in a `Recipe`.
        facts: How many it is given.
        seed: Of training and of the company.
    """

    rank: int
    facts: int
    seed: int = 0

    kind = "capacity"


Point = Configuration | EditRun | LifeRun | MemoryRun | CapacityRun
KINDS: Mapping[str, type[Point]] = {
    kind.kind: kind for kind in (Configuration, EditRun, LifeRun, MemoryRun, CapacityRun)
}


def _learning(values: Mapping[str, Any]) -> Learning:
    targets = values["targets"]
    return Learning(
        **{
            **values,
            "targets": targets if isinstance(targets, str) else tuple(targets),
            "layers": tuple(values["layers"]),
            "forms": tuple(values["forms"]),
        }
    )
