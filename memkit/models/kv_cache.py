"""What a model has read so far, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers import DynamicCache


@dataclass
class KVCache:
    """What the rows of a batch have been fed so far.

    The rows lie in columns, every part padded on the right, so that there may be holes between
    the parts of a row; the mask tells which columns count, and positions skip the holes::

        prefix | hole | question | hole | answer, one column a step

    Attributes:
        cache: Keys and values, one column per column of ``mask``.
        mask: Shape ``(rows, columns)``, 1 where a token is, 0 in holes.
        lengths: Shape ``(rows,)``, tokens so far: the position of the next one.
    """

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor
