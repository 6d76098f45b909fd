"""Looks for what is left of erased texts, in every byte of a memory's files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memkit.files import files_below
from memkit.ledger.engine import file_handles as handles

_SAMPLE = 64  # characters; short enough to lie within one page of SQLite's
_SAMPLES = 8  # of one text
_START = 8  # bytes; texts that are shorter turn up anywhere by chance
_NUMBERS = 16  # of a vector that are looked for
_BLOCK = 1 << 20  # bytes that are searched at once


def samples(text: str) -> list[str]:
    """Pieces from all over a text: a long one is in no file as a whole."""
    step = max(_SAMPLE, len(text) // _SAMPLES)
    return [text[start : start + _SAMPLE] for start in range(0, len(text), step)]


def vector_samples(vectors: Mapping[str, NDArray[np.float32]]) -> tuple[bytes, ...]:
    """A piece of each vector as files have it, from its first number on that is not 0."""
    pieces: dict[bytes, None] = {}
    for rows in vectors.values():
        for row in rows:
            start = int((row != 0).argmax())
            piece = row[start : start + _NUMBERS].astype("<f4").tobytes()
            pieces[piece] = None
    return tuple(pieces)


def remains(directory: Path, texts: Iterable[str]) -> list[str]:
    """Those of the texts that some file holds; see `search_files`."""
    return search_files(directory, texts, ())[0]


def search_files(
    directory: Path, texts: Iterable[str], pieces: Iterable[bytes]
) -> tuple[list[str], list[bytes]]:
    """Those of the texts, in UTF-8 or UTF-16, and of the byte strings that some file holds.

    One pass over the files, however many there are. What is of less than eight bytes is left
    out, and so is SQLite's "-shm" file: it has no texts but numbers of pages and locks, which
    would be lost if it was opened beside SQLite.
    """
    spelled = {
        text.encode(code): text
        for text in texts
        if len(text.encode()) >= _START
        for code in ("utf-8", "utf-16-le", "utf-16-be")
    }
    pieces = [piece for piece in pieces if len(piece) >= _START]
    if not (spelled or pieces):
        return [], []
    finder = _Finder({*spelled, *pieces})
    searched = [path for path in files_below(directory) if not path.name.endswith("-shm")]
    left = {needle for path in searched for needle in finder.in_file(path)}
    in_texts = dict.fromkeys(text for needle, text in spelled.items() if needle in left)
    return list(in_texts), [piece for piece in pieces if piece in left]


class _Finder:
    """Finds byte strings of at least eight bytes; the effort does not grow with their number."""

    def __init__(self, needles: Collection[bytes]) -> None:
        self._needles = frozenset(needles)
        self._lengths = sorted({len(needle) for needle in needles})
        starts = b"".join(needle[:_START] for needle in needles)
        self._starts = np.unique(np.frombuffer(starts, "<u8"))
        self._pairs = np.zeros(1 << 16, dtype=bool)  # which two bytes a needle starts with
        self._pairs[self._starts & np.uint64(0xFFFF)] = True

    def in_file(self, path: Path) -> set[bytes]:
        """The needles that a file holds."""
        # Read, not mapped into memory: another process may cut the file meanwhile.
        needles: set[bytes] = set()
        window = b""
        with suppress(FileNotFoundError):
            for block in handles.blocks(path, _BLOCK):
                window = window[1 - self._lengths[-1] :] + block
                needles |= self._in_window(window)
        return needles

    def _in_window(self, window: bytes) -> set[bytes]:
        return {
            window[place : place + length]
            for place in self._places(window)
            for length in self._lengths
            if window[place : place + length] in self._needles
        }

    def _places(self, window: bytes) -> list[int]:
        """Where the first eight bytes of some needle lie."""
        octets: NDArray[np.uint8] = np.frombuffer(window, np.uint8)
        ends = len(octets) - _START + 1
        if ends < 1:
            return []
        pairs = octets[:ends].astype(np.uint16) | octets[1 : ends + 1].astype(np.uint16) << 8
        likely = np.flatnonzero(self._pairs[pairs])
        words = np.zeros(len(likely), np.uint64)
        for place in range(_START):
            words |= octets[likely + place].astype(np.uint64) << np.uint64(8 * place)
        exact: list[int] = likely[np.isin(words, self._starts)].tolist()
        return exact
