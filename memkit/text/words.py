"""English words that are special: those of most sentences, which tell little, and the months."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

# Words that are in most English questions and tell nothing about their subject.
STOP_WORDS = frozenset(
    """
    a about am an and any are as at be been but by can could did do does for from had has have
    he her his how i if in into is it its me my no not of on or our please s she should so some
    t tell than that the their them then there these they this those to us was we were what
    when where which who whom whose why will with would you your
    """.split()
)

MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)

_PUNCTUATION = ".,;:!?\"'()[]“”’"


def content_words(text: str) -> list[str]:
    """The words of a text that tell something, in order, without punctuation around them.

    Example:
        >>> content_words("What is the extension of Nora Feldt?")
        ['extension', 'Nora', 'Feldt']
    """
    words = [word.strip(_PUNCTUATION) for word in text.split()]
    return [word for word in words if word and word.lower() not in STOP_WORDS]


LONGEST = 32  # words of a question that are weighed

_POSSESSIVE = re.compile(r"['’]s\b")


def stem(word: str) -> str:
    """A word without its plural ending, in lower case.

    Example:
        >>> [stem(word) for word in ("Numbers", "cities", "glass", "bus")]
        ['number', 'city', 'glass', 'bus']
    """
    word = word.lower()
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def telling(text: str) -> list[str]:
    """Stems of the words of a text that tell something, each once, in order.

    Example:
        >>> telling("What is Nora's phone number, and what is Emil's?")
        ['nora', 'phone', 'number', 'emil']
    """
    return list(occurrences(text))[:LONGEST]


def occurrences(text: str) -> Counter[str]:
    """How often each telling word of a text is in it, in the order of the first of them."""
    words = split_words(_POSSESSIVE.sub("", text))
    return Counter(stem(word) for word in words if word.lower() not in STOP_WORDS)


def echoes(question: str, answer: str) -> bool:
    """Whether a question is made of the words of its answer, as prose is asked for.

    Example:
        >>> echoes("What can you tell me about harbour fees?", "The harbour raised its fees.")
        True
    """
    return set(telling(question)) <= set(telling(answer))


def mass(words: Iterable[str], weights: Mapping[str, float]) -> float:
    """What words tell together."""
    return sum(weights[word] for word in words)


MAX_WORDS = 200  # a whole document as a query would take its time


def match_expression(words: Iterable[str]) -> str:
    """Write an FTS5 expression that matches any of some words, as `telling_words` gives them."""
    return " OR ".join(f'"{word}"' for word in words)


def telling_words(query: str) -> list[str]:
    """The different words of a query, at most 200: without stop words if there are others."""
    words = {word.lower(): word for word in split_words(query)}
    telling = [word for lower, word in words.items() if lower not in STOP_WORDS]
    return (telling or list(words.values()))[:MAX_WORDS]


def split_words(text: str) -> list[str]:
    """Cut where SQLite's unicode61 tokenizer cuts: at all but letters, marks and numbers."""
    return "".join(char if _in_word(char) else " " for char in text).split()


@lru_cache(maxsize=4096)
def _in_word(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LMN" or category == "Co"
