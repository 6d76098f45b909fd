"""Turns a user's query into a full-text query that can never be malformed."""

from __future__ import annotations

import unicodedata

MAX_WORDS = 200  # a whole document as a query would take its time

# Words that are in most English questions and tell nothing about their subject.
STOP_WORDS = frozenset(
    """
    a about am an and any are as at be been but by can could did do does for from had has have
    he her his how i if in into is it its me my no not of on or our please s she should so some
    t tell than that the their them then there these they this those to us was we were what
    when where which who whom whose why will with would you your
    """.split()
)


def match_expression(query: str) -> str:
    """Write an FTS5 expression that matches any word of ``query``; empty if it has no word.

    Args:
        query: Any text. At most the first 200 different words take part.
    """
    words = list(dict.fromkeys(_split(query)))
    telling = [word for word in words if word not in STOP_WORDS]
    return " OR ".join(f'"{word}"' for word in (telling or words)[:MAX_WORDS])


def _split(query: str) -> list[str]:
    """Cut where SQLite's unicode61 tokenizer cuts: at all but letters, marks and numbers."""
    spaced = "".join(char if _in_word(char) else " " for char in query)
    return spaced.lower().split()


def _in_word(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] in "LMN" or category == "Co"
