"""Turns a user's query into a full-text query that can never be malformed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from memkit.words import STOP_WORDS

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
