"""Chunking: cuts a text into the passages that are embedded and cited."""

from __future__ import annotations

import re

from memkit.errors import InvalidInputError
from memkit.ledger.passages.passage_writes import Kind
from memkit.types import Draft, Record

SIZE = 800  # characters; about 200 English word pieces, and common embedders read 256
OVERLAP = 100  # a sentence that a cut goes through is whole in one of the two passages

# Where a passage may end, best place first. Each match ends where the next passage may begin.
_BREAKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\n\s*\n",  # paragraph
        r"[.!?…][\"'”’)\]]*\s+|[。！？]|\n",  # sentence or line
        r"\s+",  # word
    )
)


def split(text: str, *, size: int = SIZE, overlap: int = OVERLAP) -> list[tuple[int, int]]:
    """Cut a text into passages, at the end of paragraphs, sentences or words where possible.

    Args:
        text: Any text.
        size: Longest passage, in characters.
        overlap: How far, at most, a passage reaches back into the one before it, in
            characters; at most half of ``size``.

    Returns:
        Passages ``[start, end)`` in order. Together they cover every character that is not
        white space; passages of white space alone are left out, unless there is no other.

    Example:
        >>> split("Ann sells tea. Bob sells rope.", size=20, overlap=0)
        [(0, 15), (15, 30)]
    """
    if size < 1 or not 0 <= overlap <= size // 2:
        raise InvalidInputError(
            f"expected `size` >= 1 and 0 <= `overlap` <= size / 2, got {size!r} and {overlap!r}"
        )
    spans: list[tuple[int, int]] = []
    start = 0
    while len(text) - start > size:
        end = _cut(text, start + size // 2, start + size)
        spans.append((start, end))
        start = _resume(text, end - overlap, end)
    spans.append((start, len(text)))
    return [(start, end) for start, end in spans if text[start:end].strip()] or spans[:1]


def _cut(text: str, low: int, high: int) -> int:
    """The best place in (low, high] to end a passage; ``high`` in a text without breaks."""
    for pattern in _BREAKS:
        ends = [match.end() for match in pattern.finditer(text, low, high)]
        if ends:
            return ends[-1]
    return high


def _resume(text: str, low: int, high: int) -> int:
    """The first place in [low, high] where a sentence, or else a word, begins."""
    for pattern in _BREAKS[1:]:
        match = pattern.search(text, low, high)
        if match:
            return match.end()
    return low


def slots(draft: Draft | Record) -> list[tuple[Kind, int, int, str]]:
    """Cut a record: kind, offsets and text of each passage, its question last."""
    passages: list[tuple[Kind, int, int, str]] = [
        ("text", start, end, draft.text[start:end]) for start, end in split(draft.text)
    ]
    if draft.question is not None:
        passages.append(("question", 0, len(draft.question), draft.question))
    return passages
