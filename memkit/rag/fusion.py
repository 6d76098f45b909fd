"""Makes one ranking of records from two rankings of passages."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from memkit.ledger import Passage

# Cormack, Clarke & Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual
# Rank Learning Methods", SIGIR 2009: keeps the first ranks of one ranking from deciding alone.
RANK_OFFSET = 60

_T = TypeVar("_T", bound=Hashable)


@dataclass(frozen=True)
class Ranked:
    """A record, where the fusion put it.

    Attributes:
        record_id: The record.
        passage: Its best passage of kind 'text'; None if only its question matched.
        score: Fused score, higher is better.
        similarity: Cosine similarity of its best passage of any kind; None if only the words
            matched.
    """

    record_id: str
    passage: Passage | None
    score: float
    similarity: float | None


def fuse(rankings: Iterable[Iterable[_T]]) -> dict[_T, float]:
    """Reciprocal rank fusion: ``score(x) = sum over rankings of 1 / (60 + rank of x)``.

    Args:
        rankings: Each best first, ranks from 1; where something is repeated, its first place
            counts and the others close up.

    Example:
        >>> fuse([["a", "b"], ["b"]])["b"] == 1 / 62 + 1 / 61
        True
    """
    scores: dict[_T, float] = {}
    for ranking in rankings:
        for rank_, item in enumerate(dict.fromkeys(ranking), start=1):
            scores[item] = scores.get(item, 0.0) + 1 / (RANK_OFFSET + rank_)
    return scores


def best_similarity(near: Sequence[tuple[Passage, float]]) -> dict[str, float]:
    """The similarity of each record's nearest passage, in the order given (nearest first)."""
    best: dict[str, float] = {}
    for passage, similarity in near:
        best.setdefault(passage.record_id, similarity)
    return best


def rank(near: Sequence[tuple[Passage, float]], words: Sequence[Passage]) -> list[Ranked]:
    """Rank records by both rankings of their passages.

    Records are fused by the rank of their best passage, so that a record gains if one of its
    passages is near and another has the words. Which passage of it is shown is then decided
    among its own, by their fused ranks.

    Args:
        near: Passages with their cosine similarity, nearest first.
        words: Passages that share words with the query, best first.

    Returns:
        Best first; ties by similarity, then by record id.
    """
    rankings = [[passage for passage, _ in near], list(words)]
    scores = fuse([passage.record_id for passage in ranking] for ranking in rankings)
    similarity = best_similarity(near)
    shown = _best_text(rankings)
    ranked = [Ranked(id, shown.get(id), scores[id], similarity.get(id)) for id in scores]
    return sorted(ranked, key=_place)


def _place(ranked: Ranked) -> tuple[float, float, str]:
    similarity = -2.0 if ranked.similarity is None else ranked.similarity  # below any cosine
    return -ranked.score, -similarity, ranked.record_id


def _best_text(rankings: Sequence[Sequence[Passage]]) -> dict[str, Passage]:
    """The text passage of each record that the rankings together put first."""
    scores = fuse(rankings)
    best: dict[str, Passage] = {}
    for passage in sorted(scores, key=lambda p: (-scores[p], p.start, p.key)):
        if passage.kind == "text":
            best.setdefault(passage.record_id, passage)
    return best
