"""An optional judge of answers, never the only metric."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from memkit.errors import InvalidInputError
from memkit.types.validate import shown

BEST = 10

RUBRIC = (
    "Compare an answer with the reference answer to a question.\n"
    "Question: {question}\nReference: {reference}\nAnswer: {answer}\n"
    "How well does the answer say what the reference says? Reply with one whole number from 0 "
    "(nothing of it) to 10 (all of it, and nothing wrong)."
)

_NUMBER = re.compile(r"(?<![\d.])(\d{1,2})(?:\s*/\s*10)?(?![\d.]\d|\d)")

Judge = Callable[[str], Any]  # from a prompt to a text, or to a message with a `content`


def judged(judge: Any, question: str, reference: str, answer: str) -> float:
    """The judge's mark from 0 to 1.

    Args:
        judge: A function from a prompt to a text, or a LangChain chat model.
        question: What was asked.
        reference: The right answer.
        answer: What was answered.

    Raises:
        InvalidInputError: If it is neither, or what it says is no number from 0 to 10.
    """
    ask: Judge | None = getattr(judge, "invoke", None) or (judge if callable(judge) else None)
    if ask is None:
        raise InvalidInputError(
            f"expected a judge that is a function or a chat model with `invoke`, got {shown(judge)}"
        )
    reply = ask(RUBRIC.format(question=question, reference=reference, answer=answer))
    text = str(getattr(reply, "content", reply)).strip()
    marks = {int(mark) for mark in _NUMBER.findall(text)}
    if len(marks) != 1 or (mark := marks.pop()) > BEST:
        raise InvalidInputError(
            f"expected the judge to give one whole number from 0 to {BEST}, got {shown(text)}"
        )
    return mark / BEST


def named_judge(name: str) -> Any:
    """The judge that a module has, as ``MODULE:NAME`` gives it; the module may lie here.

    Raises:
        InvalidInputError: If there is no such module, or nothing in it of this name.
    """
    module, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # which a command that is installed does not look into
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInputError(
            f"expected a judge as MODULE:NAME, cannot find {name!r}: {error}",
            hint="give a function from a prompt to a text, or a chat model, in a module that "
            "Python finds: `--judge my_judges:judge` for `judge` in my_judges.py",
        ) from error
