"""What a model has read so far, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache


@dataclass
class KVCache:
    """What the rows of a batch have been fed so far.

    The rows lie in columns, every part padded on the right, so that there may be holes between
    the parts of a row; the mask tells which columns count, and positions skip the holes::

        prefix | hole | question | hole | answer, one column a step

    Rows that have joined others later have a hole in front of them.

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

    def only(self, rows: Sequence[int]) -> Self:
        """Some of the rows, without the columns that are holes in all of them."""
        chosen = torch.tensor(rows, device=self.mask.device)
        mask = self.mask[chosen]
        columns = mask.any(dim=0).nonzero()[:, 0]
        cache = DynamicCache()
        for number, layer in enumerate(_layers(self)):
            parts = (layer.keys[chosen], layer.values[chosen])
            if len(columns) < mask.shape[1]:
                parts = (parts[0][:, :, columns], parts[1][:, :, columns])
            cache.update(*parts, number)
        return type(self)(
            cache,
            mask[:, columns],
            self.lengths[chosen],
            [self.tokens[row] for row in rows],
            [self.starts[row] for row in rows],
        )

    def joined(self, other: Self) -> Self:
        """The rows of both, which end in the same column."""
        widest = max(self.mask.shape[1], other.mask.shape[1])
        both = (self, other)
        missing = [widest - part.mask.shape[1] for part in both]
        cache = DynamicCache()
        for number, layers in enumerate(zip(*map(_layers, both), strict=True)):
            keys, values = (
                torch.cat([
                    pad(getattr(layer, name), (0, 0, columns, 0))
                    for layer, columns in zip(layers, missing, strict=True)
                ])
                for name in ("keys", "values")
            )  # fmt: skip
            cache.update(keys, values, number)
        masks = [pad(part.mask, (n, 0)) for part, n in zip(both, missing, strict=True)]
        return type(self)(
            cache,
            torch.cat(masks),
            torch.cat([self.lengths, other.lengths]),
            [*self.tokens, *other.tokens],
            [*self.starts, *other.starts],
        )


def _layers(past: KVCache) -> Sequence[Any]:
    """Of the union of all kinds of layers, transformers knows only some by keys and values."""
    return past.cache.layers


def cache_argument(decoder: Any) -> str:  # noqa: ANN401 - a module, or torch's wrapper of one
    """What a forward pass calls keys and values; "cache" from transformers 5.24 on."""
    forward = getattr(decoder, "_orig_mod", decoder).forward  # of a compiled one
    return "cache" if "cache" in signature(forward).parameters else "past_key_values"
