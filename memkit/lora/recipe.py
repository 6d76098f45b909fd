"""How records become modules: plain settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from memkit.answering.prompt import PromptFormat
from memkit.errors import InvalidInputError
from memkit.lora.spec import LoraSpec, TrainSpec
from memkit.lora.store.adapter_rows import ROW_DTYPES
from memkit.lora.training.template_synthesizer import TemplateSynthesizer
from memkit.lora.training_progress import TrainingProgress
from memkit.models.language_model import TransformersModel
from memkit.protocols import Router, Synthesizer
from memkit.routing.registry import RouterFactory, check_router
from memkit.types.validate import (
    check_flag,
    check_limit,
    check_number,
    check_part,
    refuse_part,
    shown,
)
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
        synthesizer: Makes training examples of records, once for each content of a record.
        prompt_format: How evidence is put before a question, in training and in serving. Modules
            that were trained behind another one are trained anew by the next consolidation, and
            not used until then.
        records_per_module: At most so many records share a module; fewer if their answers are
            long (`memkit.lora.consolidation.partition.plan`).
        max_rank: The rank of ``lora`` is doubled, up to this, for a record that is too long for
            it, and for records that verification missed.
        retries: At most so many more modules are trained for the records that one missed.
        reworded_bar: Share of its held-out wordings that a record must be recalled by to count
            as held; every question that it was trained on must be answered exactly.
        row_dtype: How adapters are stored: "float16", "bfloat16" or "float32".
        router: What chooses modules for queries: "nearest", or "centroid" for comparisons; or a
            `memkit.protocols.Router`; or a class or function that makes one of the memory's
            `FactIndex` and `Ledger`.
        progress: Show a progress bar; None shows one on terminals only. Or what shows progress
            in its own way, a `memkit.lora.training_progress.TrainingProgress`.
    """

    lora: LoraSpec = field(default_factory=LoraSpec)
    train: TrainSpec = field(default_factory=TrainSpec)
    synthesizer: Synthesizer = field(default_factory=TemplateSynthesizer)
    prompt_format: PromptFormat = field(default_factory=PromptFormat)
    records_per_module: int = RECORDS_PER_MODULE
    max_rank: int = MAX_RANK
    retries: int = RETRIES
    reworded_bar: float = 0.5
    row_dtype: str = "float16"
    router: str | Router | RouterFactory = "nearest"
    progress: bool | TrainingProgress | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.row_dtype, str) or self.row_dtype not in ROW_DTYPES:
            raise InvalidInputError(
                f"`row_dtype` must be one of {sorted(ROW_DTYPES)}, got {shown(self.row_dtype)}"
            )
        check_router(self.router)
        check_part("lora", self.lora, LoraSpec, "a `LoraSpec`")
        check_part("train", self.train, TrainSpec, "a `TrainSpec`")
        check_part("prompt_format", self.prompt_format, PromptFormat, "a `PromptFormat`")
        check_limit("records_per_module", self.records_per_module)
        check_limit("max_rank", self.max_rank)
        check_limit("retries", self.retries, least=0)
        check_number("reworded_bar", self.reworded_bar)
        if not 0 <= self.reworded_bar <= 1:
            raise InvalidInputError(
                f"`reworded_bar` must be from 0 to 1, got {shown(self.reworded_bar)}"
            )
        if self.progress is not None and not isinstance(self.progress, TrainingProgress):
            check_flag("progress", self.progress)
        if isinstance(self.synthesizer, type):
            refuse_part("synthesizer", self.synthesizer, "a `memkit.protocols.Synthesizer`")
        key = getattr(self.synthesizer, "key", None)
        if not isinstance(key, str) or not key or not hasattr(self.synthesizer, "examples"):
            raise InvalidInputError(
                "`synthesizer` must be a `memkit.protocols.Synthesizer` with a `key` that names "
                f"it, its version and its settings, got {shown(self.synthesizer)} with the key "
                f"{shown(key)}"
            )

    def key(self, base: TransformersModel) -> str:
        """Identify what decides whether a record is learned, down to memkit's version."""
        about = {
            "memkit": __version__,
            "base": base.fingerprint,
            "computes": base.computes,
        }
        return _digest(self._parts() | about)

    @property
    def digest(self) -> str:
        """Identify the recipe, whatever is trained by it and however progress is shown."""
        return _digest(self._parts())

    def _parts(self) -> dict[str, Any]:
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "progress"}
        return parts | {
            "synthesizer": self.synthesizer.key,
            "prompt_format": self.prompt_format.key,
            "router": self.router if isinstance(self.router, str) else _name_of(self.router),
        }

    def like(self, manifest: Mapping[str, Any]) -> Recipe:
        """The recipe that repeats the training of a module, and nothing beyond it."""
        lora = LoraSpec.from_dict(manifest["lora"])
        # An adapter that was trained elsewhere says nothing of its training.
        train = replace(self.train, **manifest.get("train", {}))
        return replace(self, lora=lora, train=train, max_rank=lora.rank, retries=0)


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, default=_described).encode()).hexdigest()[:16]


def _described(value: object) -> object:
    """JSON form of a specification: its class, and what decides about what is learned."""
    if not isinstance(value, LoraSpec | TrainSpec):
        raise TypeError(f"expected a `LoraSpec` or a `TrainSpec`, got {shown(value)}")
    return {type(value).__qualname__: value.as_dict()}


def _name_of(router: object) -> str:
    """Module and name of a class or function, or of the class of anything else."""
    named = router if hasattr(router, "__qualname__") else type(router)
    return f"{named.__module__}.{named.__qualname__}"
