"""How records become modules: plain settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from memkit.errors import InvalidInputError
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.store.adapter_rows import ROW_DTYPES
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.models.language_model import TransformersModel
from memkit.protocols import Synthesizer
from memkit.routing.registry import ROUTERS
from memkit.version import __version__

# 16 facts at rank 8 are learned to the last one in about a minute on two cores, and are what
# has to be retrained when one of them is forgotten (docs/decisions/0001-training-defaults.md).
RECORDS_PER_MODULE = 16
MAX_RANK = 16
RETRIES = 2


@dataclass(frozen=True)
class Recipe:
    """How records become modules.

    Attributes:
        lora: Shape of the adapters.
        train: How they are trained.
        synthesizer: Makes training examples of records.
        records_per_module: At most so many records share a module; fewer if their answers are
            long (`memkit.lora.consolidation.partition.plan`).
        max_rank: The rank of ``lora`` is doubled, up to this, for a record that is too long for
            it, and for records that verification missed.
        retries: At most so many more modules are trained for the records that one missed.
        reworded_bar: Share of its held-out wordings that a record must be recalled by to count
            as held; every question that it was trained on must be answered exactly.
        row_dtype: How adapters are stored: "float16", "bfloat16" or "float32".
        router: What chooses modules for queries: "nearest", or "centroid" for comparisons.
        progress: Show a progress bar; None shows one on terminals only.
    """

    lora: LoraSpec = field(default_factory=LoraSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    synthesizer: Synthesizer = field(default_factory=TemplateSynthesizer)
    records_per_module: int = RECORDS_PER_MODULE
    max_rank: int = MAX_RANK
    retries: int = RETRIES
    reworded_bar: float = 0.5
    row_dtype: str = "float16"
    router: str = "nearest"
    progress: bool | None = None

    def __post_init__(self) -> None:
        if self.row_dtype not in ROW_DTYPES:
            raise InvalidInputError(
                f"`row_dtype` must be one of {sorted(ROW_DTYPES)}, got {self.row_dtype!r}"
            )

        if self.router not in ROUTERS:
            raise InvalidInputError(
                f"`router` must be one of {sorted(ROUTERS)}, got {self.router!r}"
            )

    def key(self, base: TransformersModel) -> str:
        """Identify what decides whether a record is learned, down to memkit's version."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "progress"}
        said |= {"memkit": __version__, "base": base.fingerprint}
        return hashlib.sha256(json.dumps(said, default=_described).encode()).hexdigest()[:16]

    def like(self, manifest: Mapping[str, Any]) -> Recipe:
        """The recipe that repeats the training of a module, and nothing beyond it."""
        lora = LoraSpec.from_dict(manifest["lora"])
        # An adapter that was trained elsewhere says nothing of its training.
        train = TrainSpec(**manifest["train"]) if "train" in manifest else self.train
        return replace(self, lora=lora, train=train, max_rank=lora.rank, retries=0)


def _described(value: object) -> object:
    """JSON form of a part of a recipe: its fields, or what kind of thing it is."""
    if is_dataclass(value) and not isinstance(value, type):
        return {type(value).__qualname__: asdict(value)}
    return f"{type(value).__module__}.{type(value).__qualname__}"
