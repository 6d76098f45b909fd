"""Chunking: cuts a text into the passages that are embedded and cited."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from memkit.errors import InvalidInputError
from memkit.ledger.passages.passage_writes import Kind
from memkit.text.scripts import WIDTHS
from memkit.types import Draft, Record
from memkit.types.validate import shown

SIZE = 800  # letters; about 200 English word pieces, and common embedders read 256
OVERLAP = 100  # a sentence that a cut goes through is whole in one of the two passages

# Where a passage may end, best place first. Each match ends where the next passage may begin.
_BREAKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n\s*\n",  # paragraph
        r"[.!?…][\"'”’)\]]*\s+|[。！？｡][」』”’）]*|[؟۔।॥။។]\s*|\n",  # sentence or line
        r"\s+|[，、；：]",  # word; clause, where there are no blanks between words
    )
)


def split(text: str, *, size: int = SIZE, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """Cut a text into passages, at the end of paragraphs, sentences or words where possible.

    Args:
        text: Any text.
        size: Longest passage, in Latin letters: a sign that models read as a token of its own,
            such as a Chinese one, counts as four of them.
        overlap: How far, at most, a passage reaches back into the one before it, in letters as
            well; at most half of ``size``.

    Returns:
        Passages ``[start, end)`` in order. Together they cover every character that is not
        white space; passages of white space alone are left out, unless there is no other.

    Example:
        >>> split("Ann sells tea. Bob sells rope.", size=20, overlap=0)
        [(0, 15), (15, 30)]
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise InvalidInputError(
            f"expected `size` >= 1 and 0 <= `overlap` <= size / 2, "
            f"got {shown(size)} and {shown(overlap)}"
        )
    spans = list(_spans(text, size, overlap))
    return [(start, end) for start, end in spans if text[start:end].strip()] or spans[:1]


def beginning(text: str) -> tuple[int, int]:
    """The first of the passages that `split` cuts a text into."""
    spans = _spans(text, SIZE, OVERLAP)
    return next(((start, end) for start, end in spans if text[start:end].strip()), (0, len(text)))


def _spans(text: str, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    start = end = 0
    while (high := _reach(text, start, size)) < len(text):
        last, end = end, _cut(text, _reach(text, start, size // 2), high)
        if end <= last:  # a wide sign has no room behind what would be repeated
            start = end = last
            continue
        yield start, end
        start = _resume(text, _reach_back(text, end, overlap), end)
    yield start, len(text)


def _reach(text: str, start: int, size: int) -> int:
    """Where ``size`` letters from a place on end; behind one character at least."""
    window = text[start : start + size]
    if window.isascii():
        return start + max(1, len(window))
    return start + max(1, _fitting(window, size))


def _reach_back(text: str, end: int, size: int) -> int:
    """Where the ``size`` letters before a place begin."""
    window = text[max(0, end - size) : end]
    return end - (len(window) if window.isascii() else _fitting(window[::-1], size))


def _fitting(window: str, size: int) -> int:
    """How many characters, from the first on, take no more than so many letters."""
    for place, character in enumerate(window):
        size -= _width(character)
        if size < 0:
            return place
    return len(window)


@lru_cache(maxsize=65_536)
def _width(character: str) -> int:
    return next((width for width, signs in WIDTHS if signs.match(character)), 1)


def _cut(text: str, low: int, high: int) -> int:
    """The best place in (low, high] to end a passage; about ``high`` in a text without breaks."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return ends[-1]
    while high > low + 1 and _is_mark(text[high]):
        high -= 1
    return high


def _resume(text: str, low: int, high: int) -> int:
    """The first place in [low, high] where a sentence, or else a word, begins."""
    for pattern in _BREAKS[1:]:
        match = pattern.search(text, low, high)
        if match:
            return match.end()
    while low < high and _is_mark(text[low]):
        low += 1
    return low


def _is_mark(character: str) -> bool:
    """Whether a character belongs to the letter before it, such as an accent or a vowel sign."""
    return unicodedata.category(character).startswith("M")


def slots(draft: Draft | Record) -> list[tuple[Kind, int, int, str]]:
    """Cut a record: kind, offsets and text of each passage, its question last."""
    passages: list[tuple[Kind, int, int, str]] = [
        ("text", start, end, draft.text[start:end]) for start, end in split(draft.text)
    ]
    if draft.question is not None:
        passages.append(("question", 0, len(draft.question), draft.question))
    return passages
