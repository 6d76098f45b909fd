"""What is in place beside one linear layer: ``y = W x + B (gain * A x)``, in few calls.

At the widths of adapters every call costs more than its arithmetic. So layers that read the
same input (query, key and value; gate and up) share one product with their stacked ``A``, and
``B`` is added to the layer's own output in place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Gains:
    """How much each row of a batch takes of each adapter; one for all layers in place.

    Attributes:
        one: Shape ``(b, 1, R)``: ``w_i s_i`` over the rank of adapter i.
    """

    def __init__(self, gain: Tensor) -> None:
        self.set(gain)

    def set(self, gain: Tensor) -> None:
        """Take gains of shape ``(b, R)``."""
        self.one = gain[:, None, :]
        self._tiled: dict[int, Tensor] = {1: self.one}

    def tiled(self, parts: int) -> Tensor:
        """Shape ``(b, 1, parts * R)``: the gains for so many layers side by side."""
        if parts not in self._tiled:
            self._tiled[parts] = self.one.repeat(1, 1, parts)
        return self._tiled[parts]


class Product:
    """``gain * A x`` for the layers that read one input.

    Args:
        a: Shape ``(layers, R, in)``; or ``(layers, b, R, in)`` if each row of the batch has a
            stack of its own.
        gains: Applied to the product.
    """

    __slots__ = ("_input", "_parts", "a", "gains")

    def __init__(self, a: Tensor, gains: Gains) -> None:
        self.a = a
        self.gains = gains
        self._input: Tensor | None = None
        self._parts: tuple[Tensor, ...] = ()

    def part(self, x: Tensor, place: int) -> Tensor:
        """The product for one of the layers, ``(b * t, R)``, or ``(b, t, R)`` with own stacks.

        Args:
            x: The layer's input, shape ``(b, t, in)``.
            place: Which layer.
        """
        if torch.compiler.is_compiling():  # a compiler sees for itself what can be shared
            return self._alone(x, place)
        if place == 0 or x is not self._input:
            self._input, self._parts = x, self._all(x)
        part = self._parts[place]
        if place == len(self._parts) - 1:
            self._input, self._parts = None, ()
        return part

    def _all(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.a.dim() == 4:
            return (torch.matmul(x, self.a.mT) * self.gains.one).unbind()
        layers, width, n_in = self.a.shape
        hidden = linear(x, self.a.view(layers * width, n_in)).mul_(self.gains.tiled(layers))
        return torch.chunk(hidden.view(-1, layers * width), layers, dim=1)

    def _alone(self, x: Tensor, place: int) -> Tensor:
        part = torch.matmul(x, self.a[place].mT) * self.gains.one
        return part if self.a.dim() == 4 else part.flatten(0, 1)


class Delta:
    """What one layer adds to its output.

    Args:
        product: ``gain * A x``, shared with the layers that read the same input.
        place: Which of them this is.
        b: Shape ``(R, out)``, or ``(b, R, out)`` with a stack for each row of the batch.
        gate: Shape ``(b, 1, out)``: what DoRA adds of ``W x`` itself; None for nothing.
    """

    __slots__ = ("b", "gate", "place", "product")

    def __init__(self, product: Product, place: int, b: Tensor, gate: Tensor | None = None) -> None:
        self.product = product
        self.place = place
        self.b = b
        self.gate = gate

    def add(self, layer: nn.Module, x: Tensor, output: Tensor) -> Tensor:
        """Add it to a layer's output, shape ``(b, t, out)``, which is changed in place."""
        if self.gate is not None:
            bias = getattr(layer, "bias", None)
            output = output + self.gate * (output if bias is None else output - bias)
        part = self.product.part(x, self.place)
        if self.b.dim() == 3:
            return output.baddbmm_(part, self.b)
        output.view(-1, output.shape[-1]).addmm_(part, self.b)
        return output
