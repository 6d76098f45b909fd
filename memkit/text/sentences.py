"""Splits English text into sentences, each of which is learned by itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

LONGEST = 320  # characters; about 80 tokens

# Paragraphs, and lines that begin with a bullet, a number or a heading's mark. The marks go.
_BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*•#>]+|\d+[.)])\s)")
_MARK = re.compile(r"^\s*(?:[-*•#>]+|\d+[.)])\s+")
# A question mark ends no statement: a question belongs to what follows it.
_END = re.compile(r"[.!…][\"'”’)\]]*\s+|[。！]")
_ABBREVIATIONS = frozenset("approx ca cf dr e.g fig i.e inc mr mrs ms no nr prof sen st vs".split())


def sentences(text: str, *, longest: int = LONGEST) -> list[str]:
    """Cut a text into sentences; runs of white space become one space.

    Args:
        text: Any text; paragraphs and list items are kept apart.
        longest: In characters; longer sentences are cut between words where possible.

    Returns:
        In order. Parts without any letter or figure, such as rules and emoji, are left out.

    Example:
        >>> sentences("Dr. Ann sells tea. Bob, e.g. on Sundays, sells rope.")
        ['Dr. Ann sells tea.', 'Bob, e.g. on Sundays, sells rope.']
    """
    return [
        piece
        for block in _BLOCK.split(text)
        for sentence in _cut(" ".join(_MARK.sub("", block).split()))
        for piece in textwrap.wrap(sentence, longest, break_on_hyphens=False)
        if any(character.isalnum() for character in piece)
    ]


def _cut(block: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(block):
        if _is_end(block, start, match):
            yield block[start : match.end()].rstrip()
            start = match.end()
    yield block[start:]


def _is_end(block: str, start: int, match: re.Match[str]) -> bool:
    """Not after an abbreviation or an initial, and not where the text goes on in lower case."""
    word = block[start : match.start()].rpartition(" ")[2].lstrip("([\"'“‘")
    if match.group()[0] == "." and (len(word) == 1 or word.lower() in _ABBREVIATIONS):
        return word.isdigit()
    return not block[match.end() : match.end() + 1].islower()
