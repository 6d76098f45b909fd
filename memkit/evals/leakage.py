"""Stops a run whose training data holds what is asked in the end."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from memkit.errors import InvalidInputError
from memkit.evals.data.dataset import Asked
from memkit.evals.lessons import Lesson

NEAR = 0.85  # share of words in common, in order, from which a question is a copy of another


class LeakError(InvalidInputError):
    """An evaluation question, or a near copy of one, is among what would be trained."""


def check_leaks(lessons: Sequence[Lesson], asked: Iterable[Asked]) -> None:
    """Compare every evaluation question with everything that is to be trained.

    A question is leaked if it is trained word for word, with whatever answer; if it stands in a
    text that is trained; or if a question with one of its answers differs from it in few words.
    Questions that are `Asked.trained` measure the recall of what was trained, and pass.

    Raises:
        LeakError: If one is leaked; it quotes both.
    """
    exact: dict[str, str] = {}
    near: dict[str, list[str]] = {}  # by answer
    texts: list[tuple[str, str]] = []
    for lesson in lessons:
        for wording in lesson.wordings:
            exact.setdefault(_plain(wording), wording)
            near.setdefault(_plain(lesson.target), []).append(wording)
        if not lesson.wordings:
            text = f"{lesson.prompt} {lesson.target}"
            texts.append((f" {_plain(text)} ", text))
    for question in asked:
        if not question.trained:
            found = _copy_of(question, exact, near, texts)
            if found is not None:
                raise LeakError(
                    f"the evaluation question {question.question!r} is among what would be "
                    f"trained: {found!r}",
                    hint="take it out of the training data, or ask something else; nothing was "
                    "trained",
                )


def held_back(lessons: Sequence[Lesson], asked: Iterable[Asked]) -> list[Lesson]:
    """Lessons that memkit wrote itself, without wordings that give an evaluation question away.

    A lesson that has no other wording is left out. What users give to be learned is not changed:
    there, `check_leaks` stops the run.
    """
    questions = [question for question in asked if not question.trained]
    kept = []
    for lesson in lessons:
        wordings = tuple(
            w for w in lesson.wordings if not any(_gives_away(w, lesson, q) for q in questions)
        )
        if wordings or not lesson.wordings:
            kept.append(replace(lesson, wordings=wordings))
    return kept


def _gives_away(wording: str, lesson: Lesson, asked: Asked) -> bool:
    plain, other = _plain(asked.question), _plain(wording)
    same_answer = _plain(lesson.target) in map(_plain, asked.answers)
    return plain == other or (same_answer and _likeness(plain, other) >= NEAR)


def _copy_of(
    asked: Asked,
    exact: dict[str, str],
    near: dict[str, list[str]],
    texts: Sequence[tuple[str, str]],
) -> str | None:
    """What is a copy of a question, or None."""
    plain = _plain(asked.question)
    if plain in exact:
        return exact[plain]
    for text, original in texts:
        if f" {plain} " in text:
            return original
    same_answer = [w for answer in asked.answers for w in near.get(_plain(answer), ())]
    return next((w for w in same_answer if _likeness(plain, _plain(w)) >= NEAR), None)


def _likeness(first: str, second: str) -> float:
    return SequenceMatcher(None, first.split(), second.split(), autojunk=False).ratio()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
