"""The buffers in which a mixture of adapters lies while it is in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memkit.lora.serving.delta import Delta, Gains, Product
from memkit.lora.serving.layout import Layout, Row, Targets, union


@dataclass(frozen=True)
class Slot:
    """Where an adapter lies in a stack: from ``start`` on, ``layout.rank`` places."""

    key: str
    start: int
    layout: Layout = field(compare=False)


@dataclass(frozen=True)
class StackPlan:
    """Where each adapter of a mixture lies in the stack.

    Attributes:
        width: Of the whole stack, along the rank.
        rows: 0 if the rows of a batch share the stack; else how many there are, each with an
            equal part of the stack for itself.
    """

    slots: tuple[Slot, ...]
    width: int
    rows: int = 0


class AdapterBuffers:
    """Buffers for one mixture, used again for the next one.

    They grow to the largest stack that they have seen; smaller ones start at the same address.

    Args:
        order: The shapes of all layers of the model, in its order.
        device: Where the model computes.
        dtype: In which precision.
    """

    def __init__(self, order: Targets, *, device: torch.device, dtype: torch.dtype) -> None:
        self._order = order
        self._flat = torch.empty(0, device=device, dtype=dtype)
        self._gains = Gains(self._flat[None])
        self._plan: StackPlan | None = None  # what is in place now
        self._deltas: dict[str, Delta] = {}
        self._known: dict[tuple[str, int, int], dict[str, Delta]] = {}

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return self._flat.nbytes

    def fill(
        self, plan: StackPlan, gain: Tensor, adapters: Mapping[str, Row]
    ) -> Mapping[str, Delta]:
        """Put a mixture in place; adapters that lie there already are not copied again.

        Args:
            plan: Where each adapter lies.
            gain: Shape (b, R), R of the plan, per row if rows have their own.
            adapters: By key, on the device of the buffers.

        Returns:
            What to install in the layers.
        """
        if plan != self._plan:
            self._plan = None  # until it is complete
            self._copy(plan, adapters)
            self._plan = plan
        self._gains.set(gain)
        return self._deltas

    def _copy(self, plan: StackPlan, adapters: Mapping[str, Row]) -> None:
        frame = union([slot.layout.frame for slot in plan.slots], self._order)
        layout = Layout(frame, plan.width, self._flat.dtype)
        if self._flat.numel() < layout.size:
            self._flat = self._flat.new_empty(layout.size)
            self._known.clear()
        kind = (frame.digest, plan.width, plan.rows)
        if kind not in self._known:
            self._known[kind] = _deltas_of(plan, layout, self._flat, self._gains)
        self._deltas = self._known[kind]
        alike = [slot.layout.frame.digest == frame.digest for slot in plan.slots]
        if not all(alike) or sum(slot.layout.rank for slot in plan.slots) < plan.width:
            self._flat[: layout.size].zero_()
        for slot, same in zip(plan.slots, alike, strict=True):
            copy = _copy_blocks if same else _copy_layers
            copy(slot, adapters[slot.key].data, layout, self._flat)


def _copy_blocks(slot: Slot, data: Tensor, layout: Layout, flat: Tensor) -> None:
    """Copy an adapter of the stack's own layers: a few copies for all of them."""
    places = slice(slot.start, slot.start + slot.layout.rank)
    for into, views in zip(layout.views(flat), slot.layout.views(data), strict=True):
        into.a[:, :, places].copy_(views.a)
        for b, own in zip(into.b, views.b, strict=True):
            b[:, places].copy_(own)


def _copy_layers(slot: Slot, data: Tensor, layout: Layout, flat: Tensor) -> None:
    """Copy an adapter of other layers than its neighbours', layer by layer."""
    places = slice(slot.start, slot.start + slot.layout.rank)
    into = layout.unpack(flat)
    for name, factors in slot.layout.unpack(data).items():
        into[name].a[places].copy_(factors.a)
        into[name].b[:, places].copy_(factors.b)


def _deltas_of(plan: StackPlan, layout: Layout, flat: Tensor, gains: Gains) -> dict[str, Delta]:
    rows = plan.rows or 1
    width = plan.width // rows
    own = (rows, width) if plan.rows else (width,)
    deltas = {}
    for block, views in zip(layout.frame.blocks, layout.views(flat), strict=True):
        for layer, names in enumerate(block.names):
            product = Product(views.a[layer].view(len(names), *own, block.n_in), gains)
            for member, name in enumerate(names):
                b = views.b[member][layer].view(rows, width, block.n_outs[member])
                deltas[name] = Delta(product, member, b)
    return deltas
