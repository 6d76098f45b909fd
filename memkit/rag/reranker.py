"""The reranker that comes with memkit: a cross-encoder of sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from memkit.errors import ModelUnavailableError


class CrossEncoderReranker:
    """Reads query and text together; implements `memkit.protocols.Reranker`.

    The model is a ``sentence_transformers.CrossEncoder``, or whatever has its ``predict``.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - as the library leaves it
        self._model = model

    @classmethod
    def load(cls, spec: str, *, device: str | None = None) -> Self:
        """Load a model from a folder, or by hub id if it was fetched before; nothing is fetched.

        Args:
            spec: Path or hub id.
            device: Where it computes; None for CUDA if there is one, else the CPU.

        Raises:
            ModelUnavailableError: If it is not on this machine.
        """
        from sentence_transformers import CrossEncoder

        try:
            return cls(CrossEncoder(spec, device=device, local_files_only=True))
        except (OSError, ValueError) as exc:
            raise ModelUnavailableError(
                f"no cross-encoder {spec!r} is on this machine: {exc}",
                hint="fetch it first, or pass any function of (query, texts) as `reranker`",
            ) from exc

    def __call__(self, query: str, texts: Sequence[str], /) -> Sequence[float]:
        """Score texts for a query: one number per text, in order, higher is better."""
        if not texts:
            return []
        scores: list[float] = self._model.predict([(query, text) for text in texts]).tolist()
        return scores
