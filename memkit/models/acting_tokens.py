"""On which tokens of a forward pass adapters act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor


class ActingTokens:
    """Tells the adapters of a model which tokens are theirs, where a pass has others as well.

    A model that keeps keys and values is fed only tokens on which the adapters in place act. One
    that reads everything again is fed the prefix, too, which has to stay as the untouched model
    makes it.

    Attributes:
        mask: Shape ``(rows, tokens)``, True where adapters act; None for everywhere.
    """

    def __init__(self) -> None:
        self.mask: Tensor | None = None

    @contextmanager
    def only(self, mask: Tensor | None) -> Iterator[None]:
        """Let adapters act on these tokens alone in the enclosed forward pass; None for all."""
        self.mask = mask
        try:
            yield
        finally:
            self.mask = None
