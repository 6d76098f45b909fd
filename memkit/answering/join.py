"""Answers to the parts of a question, put together as one text that can be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from memkit.text.quoting import on_one_line

_LABEL = 6  # words; what differs between longer ones is better read in the whole question
_END = " .;"  # of an answer, before the next one


def put_together(questions: Sequence[str], answers: Sequence[str]) -> str:
    """Join answers, each behind what its question asks about.

    Example:
        >>> asked = "What is the phone number of Ada Lovelace?", "What is the phone number of Alan?"
        >>> put_together(asked, ["555-0101", "555-0202."])
        'Ada Lovelace: 555-0101; Alan: 555-0202.'
    """
    texts = [*(answer.rstrip(_END) for answer in answers[:-1]), *answers[-1:]]
    return "".join(joint + text for joint, text in zip(joints(questions), texts, strict=True))


def joints(questions: Sequence[str]) -> list[str]:
    """What stands before each answer: nothing, if there is only one."""
    if len(questions) == 1:
        return [""]
    labels = _labels([question.rstrip(" ?.!").split() for question in questions])
    if labels is None:
        return [
            f"{chr(10) if number else ''}{on_one_line(q)} " for number, q in enumerate(questions)
        ]
    return [f"{'; ' if number else ''}{label}: " for number, label in enumerate(labels)]


def _labels(asked: Sequence[list[str]]) -> list[str] | None:
    """What differs between questions; None if that is next to nothing, or nearly all."""
    start = _common(asked)
    while start and asked[0][start - 1][:1].isupper():  # a name is not taken apart
        start -= 1
    rest = [words[start:] for words in asked]
    end = _common([words[::-1] for words in rest])
    while end and rest[0][-end][:1].isupper():
        end -= 1
    differing = [words[: len(words) - end] for words in rest]
    if not start + end or not all(0 < len(words) <= _LABEL for words in differing):
        return None
    return [" ".join(words).removesuffix("'s").removesuffix("\u2019s") for words in differing]


def _common(texts: Sequence[list[str]]) -> int:
    """How many words all texts begin with."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False)))


def without_end(pieces: Iterable[str]) -> Iterator[str]:
    """Pieces of an answer without the full stop behind it, as `put_together` has them."""
    held = ""
    for piece in pieces:
        text = held + piece
        settled = text.rstrip(_END)
        held = text[len(settled) :]
        if settled:
            yield settled
