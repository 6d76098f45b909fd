"""Tests that every reranker passes."""

from __future__ import annotations

import math

from memkit.protocols import Reranker

_QUERY = "Which badge does the night porter have?"
_TEXTS = (
    "The harbour closes at six.",
    "The night porter's badge number is 4471.",
    "Ada keeps the archive on the third floor.",
)


class RerankerContract:
    """What every `memkit.protocols.Reranker` does. Define the fixture ``reranker``."""

    def test_scores_every_text(self, reranker: Reranker) -> None:
        scores = reranker(_QUERY, _TEXTS)
        assert len(scores) == len(_TEXTS)
        assert all(math.isfinite(score) for score in scores)

    def test_the_text_that_answers_scores_highest(self, reranker: Reranker) -> None:
        """Wherever it is in the list: scores come in the order of the texts."""
        for texts in (_TEXTS, _TEXTS[::-1]):
            scores = list(reranker(_QUERY, texts))
            assert texts[scores.index(max(scores))] == _TEXTS[1]

    def test_no_texts_have_no_scores(self, reranker: Reranker) -> None:
        assert len(reranker(_QUERY, [])) == 0

    def test_repeats_itself(self, reranker: Reranker) -> None:
        assert list(reranker(_QUERY, _TEXTS)) == list(reranker(_QUERY, _TEXTS))
