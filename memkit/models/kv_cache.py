"""What a model has read so far, row by row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor
from transformers import DynamicCache


@dataclass
class KVCache:
    """What the rows of a batch have been fed so far.

    The rows lie in columns, every part padded on the right, so that there may be holes between
    the parts of a row; the mask tells which columns count, and positions skip the holes::

        prefix | hole | question | hole | answer, one column a step

    Attributes:
        cache: Keys and values, one column per column of ``mask``; empty for a model that keeps
            something else and reads all tokens again.
        mask: Shape ``(rows, columns)``, 1 where a token is, 0 in holes.
        lengths: Shape ``(rows,)``, tokens so far: the position of the next one.
        tokens: The tokens of each row so far.
        starts: For each row the length of its prefix, on which no adapter acts.
    """

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor
    tokens: list[tuple[int, ...]]
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.starts = self.starts or [len(row) for row in self.tokens]

    def repeated(self, n: int) -> Self:
        """Every row n times, side by side; this one's own cache is used for it."""
        if n > 1 and self.cache.layers:
            self.cache.batch_repeat_interleave(n)
        return type(self)(
            self.cache,
            self.mask.repeat_interleave(n, dim=0),
            self.lengths.repeat_interleave(n),
            [row for row in self.tokens for _ in range(n)],
            [start for start in self.starts for _ in range(n)],
        )
