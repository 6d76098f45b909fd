"""memkit's embedder for LangChain, and LangChain's embeddings for memkit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from langchain_core.embeddings import Embeddings

from memkit.errors import InvalidInputError
from memkit.protocols import Embedder

if TYPE_CHECKING:
    from memkit.protocols import Floats2d

_NAMED_BY = ("model", "model_name", "model_id", "deployment")  # where LangChain classes keep it


class MemkitEmbeddings(Embeddings):
    """An embedder of memkit as LangChain `Embeddings`; local, and by default all-MiniLM-L6-v2.

    Args:
        model: Folder, hub id or any `memkit.protocols.Embedder`; None for the default.

    Raises:
        ModelUnavailableError: If no source has the model.

    Example:
        >>> from memkit.testing import HashingEmbedder
        >>> len(MemkitEmbeddings(HashingEmbedder(dim=64)).embed_query("a badge number"))
        64
    """

    def __init__(self, model: str | Path | Embedder | None = None) -> None:
        if model is None or isinstance(model, str | Path):
            from memkit.models.embedder import SentenceEmbedder

            model = SentenceEmbedder.load(model)
        self.embedder: Embedder = model

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed passages: one unit vector per text."""
        rows: list[list[float]] = self.embedder.encode_document(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Embed a query: a unit vector."""
        row: list[float] = self.embedder.encode_query([text])[0].tolist()
        return row


class LangChainEmbedder:
    """LangChain `Embeddings` as a `memkit.protocols.Embedder`; vectors are scaled to length 1.

    Args:
        embeddings: Any.
        name: Identifies the model: memkit refuses to open a memory with an embedder of another
            name than it was made with. None makes one of the class and of the model that the
            object says it uses; give your own if that does not tell two models apart.

    Example:
        >>> from langchain_core.embeddings import DeterministicFakeEmbedding
        >>> LangChainEmbedder(DeterministicFakeEmbedding(size=6)).dim
        6
    """

    def __init__(self, embeddings: Embeddings, *, name: str | None = None) -> None:
        self.embeddings = embeddings
        self.name = name or _name_of(embeddings)

    @cached_property
    def dim(self) -> int:
        """Length of a vector; LangChain has no way to ask, so a word is embedded to see it."""
        return len(self.embeddings.embed_query("dimension"))

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """Embed queries: shape ``(n, dim)``, float32, unit rows."""
        return self._unit([self.embeddings.embed_query(text) for text in texts])

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """Embed passages: shape ``(n, dim)``, float32, unit rows."""
        return self._unit(self.embeddings.embed_documents(list(texts)))

    def _unit(self, vectors: list[list[float]]) -> Floats2d:
        if not vectors:
            return np.zeros((0, self.dim), np.float32)
        return unit_rows(vectors)


def unit_rows(vectors: Sequence[Sequence[float]]) -> Floats2d:
    """Scale vectors to length 1.

    Args:
        vectors: Shape ``(n, dim)``.

    Returns:
        Shape ``(n, dim)``, float32. What is not finite stays so, for memkit to refuse.

    Raises:
        InvalidInputError: If a vector is zero, or they differ in length.
    """
    if len({len(vector) for vector in vectors}) != 1:
        raise InvalidInputError(
            f"expected vectors of one length, got {sorted({len(v) for v in vectors})}"
        )
    rows = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not norms.all():
        raise InvalidInputError(
            "expected vectors of a positive length, got one of zeros",
            hint="a vector of zeros has no direction, so nothing is similar to it",
        )
    unit: Floats2d = (rows / norms).astype(np.float32)
    return unit


def _name_of(embeddings: Embeddings) -> str:
    named = [getattr(embeddings, attribute, None) for attribute in _NAMED_BY]
    model = next((name for name in named if isinstance(name, str) and name), None)
    return f"langchain:{type(embeddings).__name__}" + (f":{model}" if model else "")
