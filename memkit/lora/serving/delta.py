"""What is in place beside one linear layer: ``y = W x + B (gain * A x)``, in few calls.

At the widths of adapters every call costs more than its arithmetic. So layers that read the
same input (query, key and value; gate and up) share one product with their stacked ``A``, and
``B`` is added to the layer's own output in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear


class Gains:
    """How much each row of a batch takes of each adapter; one for all layers in place.

    Args:
        gain: Shape ``(b, R)``: ``w_i s_i`` over the rank of adapter i.
    """

    def __init__(self, gain: Tensor) -> None:
        self.set(gain)

    def set(self, gain: Tensor) -> None:
        """Take other gains."""
        self.row = gain[:, None]
        self._tiled: dict[int, Tensor] = {1: self.row}

    def tiled(self, layers: int) -> Tensor:
        """The gains for layers side by side, shape ``(b, 1, layers * R)``."""
        if layers not in self._tiled:
            self._tiled[layers] = self.row.repeat(1, 1, layers)
        return self._tiled[layers]


class Product:
    """``gain * A x`` for the layers that read one input.

    Args:
        a: Shape ``(layers, R, in)``; or ``(layers, b, R, in)`` if each row of the batch has a
            stack of its own.
        gains: Applied to the product.
    """

    __slots__ = ("_flat", "_input", "_parts", "_widths", "a", "gains")

    def __init__(self, a: Tensor, gains: Gains) -> None:
        self.a = a
        self.gains = gains
        self._widths = [a.shape[-2]] * a.shape[0]
        self._flat = a.flatten(0, 1) if a.dim() == 3 else None  # (layers * R, in)
        self._input: Tensor | None = None
        self._parts: Sequence[Tensor] = ()

    def part(self, x: Tensor, index: int) -> Tensor:
        """The product for one of the layers, shape ``(b, t, R)``.

        Args:
            x: The layer's input, shape ``(b, t, in)``.
            index: Which of the layers.
        """
        if index == 0 or x is not self._input:
            if self._flat is None:
                self._parts = (torch.matmul(x, self.a.mT) * self.gains.row).unbind()
            else:
                hidden = linear(x, self._flat).mul_(self.gains.tiled(len(self._widths)))
                self._parts = hidden.split_with_sizes(self._widths, -1)
            self._input = x
        part = self._parts[index]
        if index == len(self._widths) - 1:  # let go of the input
            self._input, self._parts = None, ()
        return part

    def alone(self, x: Tensor, index: int) -> Tensor:
        """The same without sharing: a function of nothing but its arguments."""
        return torch.matmul(x, self.a[index].mT) * self.gains.row


class Delta:
    """What one layer adds to its output.

    Args:
        product: ``gain * A x``, shared with the layers that read the same input.
        index: Which of them this is.
        b: Shape ``(1, R, out)``, or ``(b, R, out)`` with a stack for each row of the batch.
    """

    __slots__ = ("_rows", "b", "index", "product")

    def __init__(self, product: Product, index: int, b: Tensor) -> None:
        self.product = product
        self.index = index
        self.b = b
        self._rows = b  # for every row of the last batch

    def add(self, x: Tensor, output: Tensor) -> Tensor:
        """Add it to a layer's output, shape ``(b, t, out)``, which may change in place."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._recorded(x, output)
        part = self.product.part(x, self.index)
        if self._rows.shape[0] != part.shape[0]:
            self._rows = self.b.expand(part.shape[0], -1, -1)
        return output.baddbmm_(part, self._rows)

    def add_in_rows(self, x: Tensor, output: Tensor, acting: Tensor | None) -> Tensor:
        """The same where tokens are not in rows, or adapters act on some of them only.

        Args:
            x: Shape ``(b, t, in)``, or ``(b * t, in)`` as the feed-forward layers of OPT and
                the shared experts of others get it.
            output: Of the layer, shaped alike.
            acting: Shape ``(b, t)``, True where adapters act; None for everywhere.
        """
        # With one gain for all, rows need not be told apart.
        rows = x if x.dim() == 3 else x.reshape(len(self.product.gains.row), -1, x.shape[-1])
        if acting is not None:
            rows = rows * acting.view(*rows.shape[:2], 1)
        added = self.add(rows, output.reshape(*rows.shape[:2], -1))
        return added.view(output.shape)

    def _recorded(self, x: Tensor, output: Tensor) -> Tensor:
        """For gradients and compilers: one product for all rows, nothing kept in between."""
        compiling = torch.compiler.is_compiling()
        part = (self.product.alone if compiling else self.product.part)(x, self.index)
        if self.b.shape[0] > 1:
            return torch.baddbmm(output, part, self.b)
        flat = torch.addmm(output.flatten(0, -2), part.flatten(0, -2), self.b[0])
        return flat.view(output.shape)
