"""What a memory is opened with, checked before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from memkit.errors import InvalidInputError
from memkit.models.placement import Placement
from memkit.protocols import Backend, Embedder, LanguageModel, Reranker, VectorIndexFactory
from memkit.types import BackendName
from memkit.types.validate import (
    check_duration,
    check_flag,
    check_methods,
    check_part,
    check_path,
    describe,
    refuse_part,
    shown,
)

if TYPE_CHECKING:
    import torch

    from memkit.lora.recipe import Recipe
    from memkit.rag.fusion import Ranking

ALL_BACKENDS: tuple[BackendName, ...] = ("buffer", "rag", "lora")
CountTokens = Callable[[str], int]


class OpenOptions(TypedDict, total=False):
    """How a memory is opened.

    Attributes:
        backends: Where knowledge may live: any of "buffer", "rag" and "lora", which are the
            default together, and backends of your own (`memkit.protocols.Backend`).
        base_model: A folder, a hub id or any `memkit.protocols.LanguageModel`; by default
            SmolLM2-135M-Instruct. It is loaded when an answer or an adapter is first needed. With
            "lora" it has to be a `memkit.models.language_model.TransformersModel`, a folder or id.
        embedder: A folder, hub id or any `memkit.protocols.Embedder`; by default all-MiniLM-L6-v2.
            One that is named is loaded when a verb first needs it: not to list or to count.
        recipe: How `Memory.consolidate` makes adapters, and how prompts look.
        count_tokens: Counts tokens for budgets, for example with a hosted model's tokenizer; by
            default the base model's does.
        rebuild: Adopt another embedder or base model than the memory was made with. Records are
            embedded again now; modules are out of service until `Memory.consolidate` has trained
            them again.
        busy_timeout: How long to wait for other processes, in seconds; by default 30.
        device: Where the models that are named compute, in torch's words, such as "cpu" or
            "cuda:1"; by default on CUDA if there is a GPU for it, else on the CPU.
        dtype: What the language model computes in, "float32" or "bfloat16"; by default bfloat16
            on a GPU and float32 on the CPU.
        attn_implementation: How the language model computes attention, in transformers' words,
            such as "sdpa" or "eager"; by default as transformers chooses.
        max_memory: How much memory the language model may take with its caches, on its device:
            bytes, or a size such as "8GiB"; by default what is free there. All caches are bounded
            by shares of what the weights leave of it.
        quantization: What bitsandbytes makes of the language model's linear layers while it is
            loaded, "nf4" (4 bits a weight) or "int8"; by default nothing. Adapters stay as precise.
        ranking: How much each part of a score weighs in a search.
        reranker: Scores ``(query, texts)`` and so puts the best hits in their final order; or
            the folder or hub id of a sentence-transformers ``CrossEncoder``.
        vector_index: Makes an empty `memkit.protocols.MutableVectorIndex` of a dimension, for
            example its class; by default memkit's own, exact and then IVF. It is filled from the
            ledger each time the memory is opened.
    """

    backends: Sequence[BackendName | Backend]
    base_model: str | Path | LanguageModel | None
    embedder: str | Path | Embedder | None
    recipe: Recipe | None
    count_tokens: CountTokens | None
    rebuild: bool
    busy_timeout: float
    device: str | torch.device | None
    dtype: str | torch.dtype | None
    attn_implementation: str | None
    max_memory: int | str | None
    quantization: str | None
    ranking: Ranking | None
    reranker: Reranker | str | None
    vector_index: VectorIndexFactory | None


@dataclass(frozen=True)
class Config:
    """What `Memory.open` was asked for, with what stands for an option that was left out."""

    backends: Sequence[BackendName | Backend] = ALL_BACKENDS
    base_model: str | Path | LanguageModel | None = None
    embedder: str | Path | Embedder | None = None
    recipe: Recipe | None = None
    count_tokens: CountTokens | None = None
    rebuild: bool = False
    busy_timeout: float = 30.0
    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    attn_implementation: str | None = None
    max_memory: int | str | None = None
    quantization: str | None = None
    ranking: Ranking | None = None
    reranker: Reranker | str | None = None
    vector_index: VectorIndexFactory | None = None

    def __post_init__(self) -> None:
        _check_backends(self.backends)
        own = {backend.name for backend in self.own_backends}
        if len(own) < len(self.own_backends) or own & set(ALL_BACKENDS):
            raise InvalidInputError(
                f"backends of your own need names of their own, got {sorted(own)}",
                hint=f"memkit's are called {ALL_BACKENDS}",
            )
        check_base_model(self.base_model)
        check_embedder(self.embedder)
        if self.recipe is not None:
            from memkit.lora.recipe import Recipe

            check_part("recipe", self.recipe, Recipe, "a `Recipe`")
        if self.ranking is not None:
            from memkit.rag.fusion import Ranking

            check_part("ranking", self.ranking, Ranking, "a `memkit.rag.fusion.Ranking`")
        check_duration("busy_timeout", self.busy_timeout)
        check_flag("rebuild", self.rebuild)
        if isinstance(self.reranker, str):
            check_path("reranker", self.reranker)
        elif self.reranker is not None:
            expected = "a function of (query, texts), a folder or a hub id"
            check_methods("reranker", self.reranker, ["__call__"], expected)
        if self.vector_index is not None and not callable(self.vector_index):
            expected = "a class or a function that makes an empty index of a dimension"
            refuse_part("vector_index", self.vector_index, expected)
        if self.count_tokens is not None:
            expected = "a function of a text that gives a number"
            check_methods("count_tokens", self.count_tokens, ["__call__"], expected)
        placement = self.placement  # their values are looked at first
        _check_use(self)
        placement.check_here()

    @property
    def placement(self) -> Placement:
        """Where the models that are named compute, and how."""
        return Placement.of(
            self.device, self.dtype, self.attn_implementation, self.max_memory, self.quantization
        )

    @property
    def own_backends(self) -> list[Backend]:
        """The caller's own backends."""
        return [backend for backend in self.backends if not isinstance(backend, str)]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all backends."""
        return tuple(b if isinstance(b, str) else b.name for b in self.backends)


def check_embedder(given: object) -> None:
    """Check that an embedder is a folder, a hub id, or has the methods of the protocol."""
    if isinstance(given, str | Path):
        check_path("embedder", given)
    elif given is not None:
        methods = ("name", "dim", "encode_query", "encode_document")
        expected = "a folder, a hub id or a `memkit.protocols.Embedder`"
        check_methods("embedder", given, methods, expected)


def check_base_model(given: object) -> None:
    """Check that a base model is a folder, a hub id, or has the methods of the protocol."""
    if isinstance(given, str | Path):
        check_path("base_model", given)
    known = given is None or isinstance(given, str | Path | LanguageModel)
    if not known or isinstance(given, type):
        refuse_part(
            "base_model",
            given,
            "a folder, a hub id or a `memkit.protocols.LanguageModel`",
            "`memkit.testing.LanguageModelContract` tests a language model of your own.",
        )


def _check_use(config: Config) -> None:
    """Refuse options for models that are loaded, where none is."""
    if config.base_model is None or isinstance(config.base_model, str | Path):
        return
    useless = [
        name
        for name in ("dtype", "attn_implementation", "max_memory", "quantization")
        if getattr(config, name) is not None
    ]
    if config.embedder is not None and not isinstance(config.embedder, str | Path):
        useless += ["device"] if config.device is not None else []
    if useless:
        raise InvalidInputError(
            f"`{'`, `'.join(useless)}` say how memkit loads a model, `base_model` is one already: "
            f"{describe(config.base_model)}",
            hint="name the model by its folder or hub id, or load it as it is to be",
        )


def _check_backends(backends: object) -> None:
    expected = f"some of {ALL_BACKENDS} or backends of your own"
    if isinstance(backends, str | Backend):
        refuse_part("backends", backends, expected, "Put it into a list.")
    if not isinstance(backends, Collection) or not len(backends):  # an array has no truth
        refuse_part("backends", backends, expected)
    for backend in backends:
        if isinstance(backend, str) and backend not in ALL_BACKENDS:
            raise InvalidInputError(f"`backends` must be {expected}, got {shown(backends)}")
        hint = "Derive a backend of your own from `memkit.protocols.Backend`."
        if not isinstance(backend, str | Backend):
            refuse_part("backends", backend, expected, hint)
