"""Which choice an answer takes: "The answer is C" is C, not the A of "answer"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from memkit.evals.metrics.answer_scores import contains, exact_match

# "C", "(C)", "C.", "C) the mill"; not the article of "A storm broke the mast."
_ALONE = re.compile(r"\(?([A-Z])\)?(?:[.):,]+(?:\s.*)?|\s*)", re.DOTALL)
_NAMED = re.compile(
    r"(?i:answer|choice|option)(?:\s+(?:is|would be|must be))?\s*:?\s*\(?([A-Z])\)?(?![\w'’])",
)
_BRACKETED = re.compile(r"\(([A-Z])\)")


def chosen(answer: str, choices: Sequence[str]) -> int | None:
    """The number of the choice that an answer takes, from 0; None if it takes none or several.

    A letter counts where it stands alone, in brackets, or behind "answer", "choice" or "option";
    otherwise the words of one choice, and of no other, have to stand in the answer.
    """
    text = answer.strip()
    letters = ascii_uppercase[: len(choices)]
    whole = _ALONE.fullmatch(text)
    if whole and whole[1] in letters:
        return letters.index(whole[1])
    for pattern in (_NAMED, _BRACKETED):
        named = {letter for letter in pattern.findall(text) if letter in letters}
        if len(named) == 1:
            return letters.index(named.pop())
    same = [place for place, choice in enumerate(choices) if exact_match(text, [choice])]
    spoken = [place for place, choice in enumerate(choices) if contains(text, [choice])]
    found = same or spoken
    return found[0] if len(found) == 1 else None


def lettered(question: str, choices: Sequence[str]) -> str:
    """A question with its choices below, one a line, as it is put to a model."""
    lines = [f"{letter}. {text}" for letter, text in zip(ascii_uppercase, choices, strict=False)]
    return "\n".join([question, *lines, "Answer with the letter."])
