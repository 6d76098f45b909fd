"""Which passages are about a question: those behind which the language model expects it more.

A passage is put before the question as in an answer's prompt, and the model says how probable the
question is then; nothing is generated. What a passage adds to the question's probability without
any passage tells far more than the similarity of two vectors where people ask in other words than
others have written in (docs/decisions/0012-relevance.md).

Source:
    Sachan et al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation"
    (arXiv 2204.07496). The difference to no passage, and the sum with the similarity: own design.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch

from memkit.answering.prompt import PromptFormat
from memkit.models.language_model import TransformersModel
from memkit.models.scoring import Ids, log_probabilities
from memkit.text.question_form import named_stems
from memkit.text.quoting import quoted
from memkit.text.words import content_stems
from memkit.types import Evidence, Hit, Prompt
from memkit.types.timings import step

LIFT = 0.3  # what a nat per token counts beside a cosine similarity of 1
STRANGE = 0.25  # more relevance is asked of what has none of the names in a question
MARGIN = 0.05  # of relevance: what is further behind the best passage distracts from it
TOKENS = 128  # of a question that are compared, its first ones


class Relevance:
    """Compares passages with questions by means of a language model.

    Args:
        base: The language model, no adapter on it.
        prompt_format: How evidence is put before a question.

    Attributes:
        margin: How far behind the best one a passage may be.
    """

    margin = MARGIN

    @staticmethod
    def least(question: str, texts: Sequence[str], least: float) -> float:
        """What relevance texts must have: more, if none has any of the names in a question."""
        names = named_stems(question)
        known = {stem for text in texts for stem in content_stems(text)}
        return least + STRANGE if names and names.isdisjoint(known) else least

    def __init__(self, base: TransformersModel, prompt_format: PromptFormat) -> None:
        self._base = base
        self._format = prompt_format

    def judged(self, evidence: Evidence, question: str, *, without: Sequence[str] = ()) -> Evidence:
        """Evidence with the relevance of its hits, most relevant first.

        What else a search knows of them counts as it does there, such as time and who spoke; the
        words the model has read. What one speaker said earlier about a subject stays behind what
        was said later. Hits of which a similarity is not known stay as they are, and in their
        places, and so do those of the records ``without``, which no prompt will hold anyway.
        """
        spared = [hit.similarity is None or hit.id in without for hit in evidence.hits]
        compared = [hit for hit, stays in zip(evidence.hits, spared, strict=True) if not stays]
        texts, similarities = (
            [hit.text for hit in compared],
            [h.similarity or 0.0 for h in compared],
        )
        relevances = self.of(question, texts, similarities)
        judged = [
            replace(hit, relevance=relevance)
            for hit, relevance in zip(compared, relevances, strict=True)
        ]
        ranked = iter(_in_order(judged))
        hits = [
            hit if stays else next(ranked) for hit, stays in zip(evidence.hits, spared, strict=True)
        ]
        return replace(evidence, hits=tuple(hits))

    def relevant(self, evidence: Evidence, least: float) -> Evidence:
        """Leave out hits that are less relevant than ``least``, or far behind the best one."""
        known = [hit.relevance for hit in evidence.hits if hit.relevance is not None]
        bar = max(least, max(known, default=least) - self.margin)
        hits = [hit for hit in evidence.hits if hit.relevance is None or hit.relevance >= bar]
        return replace(evidence, hits=tuple(hits))

    def of(self, question: str, texts: Sequence[str], similarities: Sequence[float]) -> list[float]:
        """The relevance of each text, whose cosine similarity with the question is known."""
        with step("judge"):
            lifts = self.lifts(question, texts)
        return [s + LIFT * lift for s, lift in zip(similarities, lifts, strict=True)]

    @torch.no_grad()
    def lifts(self, question: str, texts: Sequence[str]) -> list[float]:
        """By how much each text makes a question more probable, in nats per token of it."""
        if not texts:
            return []
        special = self._base.special_tokens
        evidence = [f"{self._format.facts}\n- {quoted(t, special_tokens=special)}" for t in texts]
        systems = [self._format.opening, *map(self._format.system_message, evidence)]
        prompts = [self._base.prompt(question, system=system) for system in systems]
        asked = prompts[0].question
        start, end = _place(self._base.answer_ids(question.strip())[:-1], asked)
        alone, *behind = self._log_probabilities(prompts, start, min(end, start + TOKENS))
        return [each - alone for each in behind]

    def _log_probabilities(self, prompts: Sequence[Prompt], start: int, end: int) -> list[float]:
        """Mean over the tokens from ``start`` to ``end`` of each prompt's question, in nats."""
        questions = [prompt.question[:end] for prompt in prompts]
        with self._base.hold():
            past = self._base.past([prompt.prefix for prompt in prompts])
            hidden = self._base.extend(past, questions)  # (prompts, tokens, hidden)
            totals = log_probabilities(
                self._base,
                [hidden[row, start - 1 : end - 1] for row in range(len(questions))],
                [ids[start:end] for ids in questions],
            )
        return [total / max(1, end - start) for total in totals]


def _place(words: Ids, asked: Ids) -> tuple[int, int]:
    """Where the words of a question are in what is asked, the chat template's own tokens aside.

    The first token of all is left out, as nothing predicts it. Where the template's tokens merge
    with those of the words, all are taken.
    """
    for start in range(len(asked) - len(words) + 1):
        if words and asked[start : start + len(words)] == words:
            return max(1, start), start + len(words)
    return 1, len(asked)


def _in_order(hits: Sequence[Hit]) -> list[Hit]:
    """Most relevant first; those of one subject in the order that they had among themselves."""
    ranked = sorted(hits, key=lambda hit: -((hit.relevance or 0.0) + _beside_meaning(hit)))
    dated = iter([hit for hit in hits if hit.order])
    return [next(dated) if hit.order else hit for hit in ranked]


def _beside_meaning(hit: Hit) -> float:
    """The parts of a hit's score that no reading can replace, in units of cosine similarity."""
    weight = hit.parts.get("meaning", 0.0) / (hit.similarity or math.inf)
    others = sum(part for name, part in hit.parts.items() if name not in {"meaning", "words"})
    return others / weight if weight > 0 else 0.0
