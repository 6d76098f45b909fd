"""Scores and figures of answers: what every way of asking is compared by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memkit.evals.asking import Answers
from memkit.evals.data.dataset import Asked
from memkit.evals.metrics.answer_scores import abstains, contains, exact_match, recall_at, token_f1
from memkit.evals.metrics.judge import judged
from memkit.evals.metrics.multiple_choice import chosen
from memkit.evals.metrics.overlap import rouge_l

SHORT = 4  # words; longer references are hardly ever said word for word

Scores = dict[str, list[float]]
Figures = dict[str, float]


def scores_of(asked: Sequence[Asked], answers: Answers, judge: Any = None) -> Scores:
    """For each metric the score of every question, in order.

    Args:
        asked: The questions.
        answers: What was answered.
        judge: Gives marks beside all metrics, see `judged`; None for none.
    """
    pairs = list(zip(asked, answers.told, strict=True))
    scores: Scores = {
        "exact": [float(exact_match(told.text, q.answers)) for q, told in pairs],
        "right": [float(contains(told.text, q.answers)) for q, told in pairs],
        "f1": [token_f1(told.text, q.answers) for q, told in pairs],
        "abstained": [float(abstains(told.text)) for _, told in pairs],
    }
    scores["quality"] = [_quality(q, told.text) for q, told in pairs]
    if any(len(q.reference.split()) > SHORT for q in asked):
        scores["rouge_l"] = [rouge_l(told.text, q.answers) for q, told in pairs]
    if any(told.evidence for _, told in pairs):
        scores["retrieved"] = [float(recall_at(told.evidence, q.document)) for q, told in pairs]
    if any(question.choices for question in asked):
        scores["right"] = scores["choice"] = [float(_is_chosen(q, told.text)) for q, told in pairs]
    if judge is not None:
        scores["judged"] = [_mark(judge, q, told.text) for q, told in pairs]
    return scores


def _quality(asked: Asked, text: str) -> float:
    """Whether a short answer is right, the overlap of a long one; abstaining where none is."""
    if not asked.answers:
        return float(abstains(text))
    if len(asked.reference.split()) > SHORT:
        return token_f1(text, asked.answers)
    return float(contains(text, asked.answers))


def _mark(judge: Any, asked: Asked, text: str) -> float:
    """The judge's; whether a model abstains where nothing answers is no matter of opinion."""
    if not asked.answers:
        return float(abstains(text))
    return judged(judge, asked.question, asked.reference, text)


def _is_chosen(asked: Asked, text: str) -> bool:
    place = chosen(text, asked.choices)
    return place is not None and asked.choices[place] in asked.answers


def asking_figures(asked: Sequence[Asked], answers: Answers) -> Figures:
    """Means over the questions: tokens of the prompt, CPU and wall seconds."""
    n = len(asked)
    return {
        "questions": float(n),
        "prompt_tokens": sum(told.prompt_tokens for told in answers.told) / n,
        "cpu_seconds_per_question": answers.cpu_seconds / n,
        "wall_seconds_per_question": answers.wall_seconds / n,
    }
