"""Answers in the words that are stored: the sentences that are most relevant to a question.

A small base model finds the passage that answers a question far more often than it words the
answer rightly (docs/decisions/0013-quotations.md). So what was found is quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from memkit.text.sentences import sentences
from memkit.types import Claim

if TYPE_CHECKING:
    from memkit.answering.relevance import Relevance

SENTENCES = 3  # in an answer, at most
COMPARED = 8  # sentences of passages that the language model reads one by one, the nearest ones
Similarities = Callable[[str, Sequence[str]], Sequence[float]]  # of a question with texts, cosine


@dataclass(frozen=True)
class Passage:
    """Something that is stored and may answer a question.

    Attributes:
        text: What it says.
        record_id: Of the record that it is from; None for a turn without one.
        relevance: As in `memkit.types.Hit`; None if it was not judged yet.
        module: The module that recited it; None if it stood in the prompt.
        answer: What is quoted of it as a whole, if it is a question with its answer.
    """

    text: str
    record_id: str | None = None
    relevance: float | None = None
    module: str | None = None
    answer: str | None = None


@dataclass(frozen=True)
class _Sentence:
    text: str
    passage: Passage
    relevance: float


class Quoter:
    """Chooses what to quote.

    Args:
        relevance: Judges texts with the language model.
        similarities: Compares texts with a question by their vectors.
    """

    def __init__(self, relevance: Relevance, similarities: Similarities) -> None:
        self._relevance = relevance
        self.similarities = similarities

    def quote(self, question: str, passages: Sequence[Passage], *, least: float) -> list[Claim]:
        """The most relevant sentence, and others that are near to it in relevance.

        Args:
            question: The user's words.
            passages: What may be quoted.
            least: Passages of less relevance are not.

        Returns:
            Most relevant first; none if no passage is relevant. A question's own answer stands
            alone.
        """
        relevant = [p for p in self._judged(question, passages) if (p.relevance or 0.0) >= least]
        ranked = sorted(self._sentences(question, relevant), key=lambda s: -s.relevance)
        if not ranked:
            return []
        best = ranked[0]
        near = [s for s in ranked if s.relevance >= best.relevance - self._relevance.margin]
        if best.passage.answer is not None:
            near = [best]
        chosen = {s.text: s for s in near if s is best or s.passage.answer is None}
        return [_claim(question, sentence) for sentence in list(chosen.values())[:SENTENCES]]

    def least(self, question: str, passages: Sequence[Passage], least: float) -> float:
        """What relevance passages must have, if they are all that may answer a question."""
        return self._relevance.least(question, [passage.text for passage in passages], least)

    def _judged(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """Passages with their relevance."""
        unknown = [passage.text for passage in passages if passage.relevance is None]
        similarities = self.similarities(question, unknown)
        relevance = iter(self._relevance.of(question, unknown, similarities))
        return [
            replace(passage, relevance=next(relevance)) if passage.relevance is None else passage
            for passage in passages
        ]

    def _sentences(self, question: str, passages: Sequence[Passage]) -> list[_Sentence]:
        """What may be quoted of passages: their sentences, each judged alone and in its passage."""
        whole: list[_Sentence] = []
        cut: list[tuple[str, Passage]] = []
        for passage in passages:
            texts = sentences(passage.text) if passage.answer is None else [passage.answer]
            if len(texts) > 1:
                cut += [(text, passage) for text in texts]
            else:
                text = texts[0] if texts else passage.text
                whole.append(_Sentence(text, passage, passage.relevance or 0.0))
        similarities = self.similarities(question, [text for text, _ in cut])
        order = sorted(range(len(cut)), key=lambda place: -similarities[place])
        nearest = sorted(order[:COMPARED])
        alone = self._relevance.of(
            question, [cut[place][0] for place in nearest], [similarities[p] for p in nearest]
        )
        return whole + [
            _Sentence(text, passage, (own + (passage.relevance or 0.0)) / 2)
            for (text, passage), own in zip([cut[place] for place in nearest], alone, strict=True)
        ]


def _claim(question: str, sentence: _Sentence) -> Claim:
    passage = sentence.passage
    return Claim(
        question,
        sentence.text,
        passage.module,
        passage.record_id,
        supported=passage.module is None,  # what a module says is compared with its record
        quoted=True,
    )
