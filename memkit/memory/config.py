"""What a memory is opened with, checked before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memkit.errors import InvalidInputError
from memkit.protocols import Backend, Embedder, LanguageModel, Reranker, VectorIndexFactory
from memkit.types import BackendName
from memkit.types.validate import (
    check_duration,
    check_flag,
    check_methods,
    check_part,
    check_path,
    refuse_part,
    shown,
)

if TYPE_CHECKING:
    from memkit.lora.recipe import Recipe
    from memkit.rag.fusion import Ranking

ALL_BACKENDS: tuple[BackendName, ...] = ("buffer", "rag", "lora")
CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Config:
    """What `Memory.open` was asked for; see there.

    Attributes:
        backends: Names of memkit's backends and backends of the caller's own, in any order.
        base_model: Path, hub id or a loaded model; None for the default.
        embedder: Path, hub id or an embedder; None for the default.
        recipe: How records become adapters; None for the defaults.
        count_tokens: Counts tokens for budgets; None for the base model's tokenizer.
        rebuild: Adopt another embedder or base model than the memory was made with.
        busy_timeout: Bound on waiting for other processes, in seconds.
        ranking: What weighs how much in a search; None for the defaults.
        reranker: Puts the best hits in their final order; None for none.
        vector_index: Makes an empty vector index of a dimension; None for memkit's own.
    """

    backends: Sequence[BackendName | Backend] = ALL_BACKENDS
    base_model: str | Path | LanguageModel | None = None
    embedder: str | Path | Embedder | None = None
    recipe: Recipe | None = None
    count_tokens: CountTokens | None = None
    rebuild: bool = False
    busy_timeout: float = 30.0
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
