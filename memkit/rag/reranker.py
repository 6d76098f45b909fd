"""A second look at the best hits, by something that reads query and text together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from memkit.errors import ModelUnavailableError

# Scores texts for a query: one number per text, in order, higher is better.
Reranker = Callable[[str, Sequence[str]], Sequence[float]]


def load_reranker(spec: str) -> Reranker:
    """Load a cross-encoder of sentence-transformers, from this machine only.

    Args:
        spec: Folder, or hub id of a model that was fetched before.

    Raises:
        ModelUnavailableError: If it is not here.
    """
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(spec, local_files_only=True)
    except (OSError, ValueError) as exc:
        raise ModelUnavailableError(
            f"no cross-encoder {spec!r} is on this machine: {exc}",
            hint="fetch it first, or pass any function of (query, texts) as `reranker`",
        ) from exc

    def rerank(query: str, texts: Sequence[str]) -> Sequence[float]:
        scores: list[float] = model.predict([(query, text) for text in texts]).tolist()
        return scores

    return rerank
