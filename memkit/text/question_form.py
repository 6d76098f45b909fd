"""Tells questions from what else is said."""

from __future__ import annotations

import re

from memkit.text.sentences import sentences
from memkit.text.words import MONTHS, content_stems

_MARKS = ("?", "？", "؟", "⸮", "՞", "፧")  # of several scripts
# How English questions begin, also without a question mark.
_OPENINGS = re.compile(
    r"(?:who|whom|whose|what|which|when|where|why|how)(?:['’]?(?:s|re|d|ll))?\b"
    r"|(?:is|are|was|were|do|does|did|has|have|had|am)(?:n['’]t)? (?:i|we|you|he|she|it|they|there"
    r"|this|that|the|my|our|your)\b"
    r"|(?:please )?(?:tell|remind) me\b"
    r"|(?:please )?(?:give|show|find|get) me (?:the|my|our|his|her|their)\b",
    re.IGNORECASE,
)
# Polite requests to write something, which end as questions do.
_REQUESTS = re.compile(
    r"(?:please )?(?:can|could|will|would) you (?:please )?(?!tell|remind|say|recall|repeat)",
    re.IGNORECASE,
)

_NAME = re.compile(r"(?<=[\w,;:'’\"“)] )[A-Z][a-z][\w’'-]*")  # not at the beginning
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def ends_as_question(text: str) -> bool:
    """Whether a text ends with a question mark, of whatever script."""
    return text.rstrip().endswith(_MARKS)


def is_question(text: str) -> bool:
    """Whether a text asks for something that may be known, rather than for some work.

    It ends with a question mark, or begins as English questions do.

    Example:
        >>> is_question("which track do we wait at"), is_question("Tell me the code.")
        (True, True)
        >>> is_question("Write a poem."), is_question("Could you write a poem?")
        (False, False)
    """
    if _REQUESTS.match(text.lstrip()):
        return False
    return ends_as_question(text) or _OPENINGS.match(text.lstrip()) is not None


def states_something(text: str) -> bool:
    """Whether a text says something beside what it asks.

    Example:
        >>> states_something("I moved to Oslo. Where can I swim?"), states_something("Who am I?")
        (True, False)
    """
    parts = (part for block in re.split(r"(?<=[?？؟])", text) for part in sentences(block))
    return any(not is_question(part) for part in parts)


def named(question: str) -> list[str]:
    """The proper names in an English question: words with a capital, but months and days.

    Of a question that does not begin as English ones do, none: other languages write other words
    with capitals.

    Example:
        >>> named("When does the Louvre open in May?"), named("Wann öffnet der Louvre?")
        (['Louvre'], [])
    """
    if not _OPENINGS.match(question.lstrip()):
        return []
    dates = (*MONTHS, *_DAYS)
    return [name for name in _NAME.findall(question) if not name.startswith(dates)]


def named_stems(question: str) -> set[str]:
    """The stems of the proper names in an English question; see `named`."""
    return {stem for name in named(question) for stem in content_stems(name)}
