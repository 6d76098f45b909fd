"""Fusion: one score per record from its similarity, its words, its time and its neighbours.

A score is a sum of named parts, so that a hit can show why it ranks where it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memkit.errors import InvalidInputError
from memkit.ledger import Passage
from memkit.text.dates import FADES
from memkit.types import Order
from memkit.types.validate import shown

DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Ranking:
    """How much each part of a score weighs; docs/decisions/0007-fusion.md has the measurements.

    Attributes:
        meaning: Weight of the cosine similarity of query and passage.
        words: Weight of BM25 in a plain record. BM25 is divided by the logarithm of the number of
            passages so that it means the same in a small memory and in a large one.
        spoken: Weight of BM25 in a turn of a conversation, where the words of the turns around it
            count, too.
        around: Weight of a word in a neighbouring turn, relative to one in the turn itself.
        reach: So many turns before and after a turn are its neighbours.
        stranger: Penalty of a turn if the question names a speaker, and another one spoke.
        question: Penalty of a turn that ends with a question mark.
        time: Bonus of what was said on a day that the question names, such as "on 3 May" or "last
            week"; it fades within a week before and after.
        recency: Bonus of a record of this moment; off by default.
        half_life: Days after which half of that bonus is left.
    """

    meaning: float = 7.0
    words: float = 1.25
    spoken: float = 3.0
    around: float = 0.5
    reach: int = 2
    stranger: float = 2.8
    question: float = 1.0
    time: float = 3.0
    recency: float = 0.0
    half_life: float = 30.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
                raise InvalidInputError(
                    f"`{name}` must be a number of at least 0, got {shown(value)}"
                )
        if not isinstance(self.reach, int) or not self.half_life:
            raise InvalidInputError(
                f"expected a whole number as `reach` and `half_life` above 0, "
                f"got {shown(self.reach)} and {shown(self.half_life)}"
            )

    def time_bonus(self, gap: int) -> float:
        """The bonus of a day ``gap`` days away from one that the question names."""
        return self.time * max(0.0, 1 - abs(gap) / FADES)

    def recency_bonus(self, seconds: float) -> float:
        """The bonus of a record of this age: half as much after every half-life."""
        return self.recency * math.exp2(-max(seconds, 0.0) / (self.half_life * DAY))


@dataclass(frozen=True)
class Scored:
    """A passage with its cosine similarity and its BM25 score.

    The latter is divided by the logarithm of the number of passages. ``spoken`` tells whether it
    is of a turn in a conversation.
    """

    passage: Passage
    similarity: float
    words: float
    spoken: bool = False


@dataclass(frozen=True)
class Ranked:
    """A record with its fused score.

    Attributes:
        record_id: The record.
        passage: Its best passage of kind 'text'; None if only its question was found.
        similarity: Cosine similarity of its nearest passage of any kind.
        parts: What its score is the sum of.
        order: See `memkit.types.Hit`.
    """

    record_id: str
    passage: Passage | None
    similarity: float
    parts: Mapping[str, float]
    order: Order | None = None

    @property
    def score(self) -> float:
        """Higher is better."""
        return sum(self.parts.values())


def rank(
    scored: Sequence[Scored], ranking: Ranking, extra: Mapping[str, Mapping[str, float]]
) -> list[Ranked]:
    """Rank records by their passages: best first; ties by similarity, then by id.

    A record has the meaning of its nearest passage and the words of the passage that has most
    of them: it gains if one of its passages is near and another has the words. Of its text the
    passage is shown that is best by both.

    Args:
        scored: Candidate passages.
        ranking: The weights.
        extra: Further parts of the score, by record and name.
    """
    groups: dict[str, list[Scored]] = {}
    for candidate in scored:
        groups.setdefault(candidate.passage.record_id, []).append(candidate)
    ranked = [_record(id, group, ranking, extra.get(id, {})) for id, group in groups.items()]
    # Not by age in the index: what was updated would be younger than what was imported so.
    return sorted(ranked, key=lambda record: (-record.score, -record.similarity, record.record_id))


def _record(
    id: str, group: Sequence[Scored], ranking: Ranking, extra: Mapping[str, float]
) -> Ranked:
    weight = ranking.spoken if group[0].spoken else ranking.words

    def place(scored: Scored) -> tuple[float, int]:
        score = ranking.meaning * scored.similarity + weight * scored.words
        return -score, scored.passage.start

    texts = [scored for scored in group if scored.passage.kind == "text"]
    similarity = max(scored.similarity for scored in group)
    parts = {
        "meaning": ranking.meaning * similarity,
        "words": weight * max(scored.words for scored in group),
        **extra,
    }
    return Ranked(id, min(texts, key=place).passage if texts else None, similarity, parts)


def add_neighbours(
    own: NDArray[np.float64], near: Sequence[tuple[int, int]], weight: float
) -> NDArray[np.float64]:
    """Let the words of neighbours count for a passage, each word with diminishing returns.

    With ``s`` the BM25 score of a word in a passage, divided by its rarity, a word counts
    ``2 u / (1 + u)`` times its rarity, where ``u`` is ``s`` plus ``weight`` times the sum of
    the neighbours' ``s``. So a word that is in the passage alone counts about as in BM25.

    Args:
        own: ``s`` for every passage and word, shape ``(n, w)``.
        near: Pairs of a passage and a neighbour of it, as rows of ``own``.
        weight: What a neighbour's words count.

    Returns:
        What to multiply the words' rarity with, shape ``(n, w)``.
    """
    total = own.copy()
    if near:
        rows, neighbours = np.array(near).T
        np.add.at(total, rows, weight * own[neighbours])
    counted: NDArray[np.float64] = 2 * total / (1 + total)
    return counted
