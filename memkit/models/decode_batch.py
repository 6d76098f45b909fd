"""Rows that are decoded together, a token each at a step; they come and go between steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Protocol

import torch
from torch import Tensor

from memkit.models.answer_row import Row, RowAdapters, Speaker
from memkit.models.kv_cache import KVCache
from memkit.types.timings import step


class Reader(Speaker, Protocol):
    """What decoding needs of a model; `memkit.models.language_model.TransformersModel` has it."""

    name: str
    context: int | None
    device: torch.device
    room: int
    token_bytes: int

    @property
    def splits(self) -> bool:
        """Whether rows are always computed part by part, from keys and values."""

    @property
    def shares_passes(self) -> bool:
        """Whether rows can join each other."""

    def past(self, prefixes: Sequence[tuple[int, ...]]) -> KVCache:
        """Encode one prefix per row."""

    def extend(self, past: KVCache, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Feed every row its next tokens; hidden states, shape ``(rows, longest, hidden)``."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, shape ``(n, vocab)``."""


class Batch:
    """The rows of a model that are being decoded; whoever uses it holds the model.

    Args:
        base: The model.
        changes: Whether rows may join later, and leave before the last one is finished.

    Attributes:
        rows: Those that are being decoded, in the order in which they came.
    """

    def __init__(self, base: Reader, *, changes: bool = True) -> None:
        self.rows: list[Row] = []
        self._base = base
        self._changes = changes
        self._past: KVCache | None = None
        self._in_place = ExitStack()  # the adapters of …
        self._placed: list[Row] = []  # … these rows

    def admit(self, rows: Sequence[Row]) -> None:
        """Read the prompts of some rows, and decode the first token of each."""
        self.leave()  # no adapter acts on prefixes
        with torch.no_grad(), step("prefill"):
            past = self._base.past([row.prompt.prefix for row in rows])
            self._place(rows)
            self._decode(past, rows, [row.asked for row in rows])
            if self._past is not None:
                past = self._past.joined(past)
        self.rows, self._past = [*self.rows, *rows], past
        self.drop_finished()

    def step(self) -> None:
        """Decode the next token of each row."""
        if self.rows and self._past is not None:
            self._place(self.rows)
            with torch.no_grad(), step("decode"):
                self._decode(self._past, self.rows, [row.ids[-1:] for row in self.rows])
            self.drop_finished()

    def drop_finished(self) -> None:
        """Let go of rows that need no more tokens."""
        running = [place for place, row in enumerate(self.rows) if not row.finished]
        if not running:
            self.clear()
        elif self._changes and len(running) < len(self.rows) and self._past is not None:
            self.rows = [self.rows[place] for place in running]
            self._past = self._past.only(running)

    def clear(self) -> list[Row]:
        """Let go of all rows, and give them."""
        rows, self.rows, self._past = self.rows, [], None
        return rows

    def leave(self) -> None:
        """Take the adapters out of the model."""
        in_place, self._in_place, self._placed = self._in_place, ExitStack(), []
        in_place.close()

    def _place(self, rows: Sequence[Row]) -> None:
        """Put the adapters of rows in place, unless they are."""
        if self._placed and list(rows) == self._placed:
            return
        self.leave()
        with step("mix"):
            for adapters in self._adapters_of(rows):
                self._in_place.enter_context(adapters)
        self._placed = list(rows)

    def _adapters_of(self, rows: Sequence[Row]) -> Iterator[AbstractContextManager[object]]:
        """What is put in place for rows: one for each source of adapters."""
        sources = {id(row.adapters.source): row.adapters for row in rows if row.adapters}
        for some in sources.values():
            yield some.among([_acting(row, some.source) for row in rows])

    def _decode(self, past: KVCache, rows: Sequence[Row], fed: Sequence[Sequence[int]]) -> None:
        hidden = self._base.extend(past, fed)
        last = torch.tensor([len(ids) - 1 for ids in fed], device=hidden.device)
        logits = self._base.logits(hidden[torch.arange(len(fed), device=hidden.device), last])
        likeliest: list[int] = []  # of all rows, in one transfer
        if any(row.takes_likeliest for row in rows):
            likeliest = logits.argmax(dim=-1).tolist()
        for place, row in enumerate(rows):
            try:
                row.take(likeliest[place] if row.takes_likeliest else row.choose(logits[place]))
            except Exception as error:  # noqa: BLE001 - whoever asked for this row raises it
                row.error = error


def _acting(row: Row, source: object) -> tuple[RowAdapters, int] | None:
    if row.adapters is None or row.adapters.source is not source:
        return None
    return row.adapters, row.place
