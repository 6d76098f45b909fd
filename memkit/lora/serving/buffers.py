"""The buffers in which a mixture of adapters lies while it is in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memkit.lora.serving.delta import Delta, Gains, Product
from memkit.lora.serving.layout import Layout, Targets, union


@dataclass(frozen=True)
class Seat:
    """Where an adapter lies in a stack.

    Attributes:
        key: Names the adapter.
        start: The first of its ``layout.rank`` places along the rank.
        layout: The adapter's own.
    """

    key: str
    start: int
    layout: Layout = field(compare=False)


@dataclass(frozen=True)
class Plan:
    """Who lies where in a stack.

    Attributes:
        seats: The adapters.
        width: Of the whole stack, along the rank.
        rows: 0 if the rows of a batch share the stack; else how many there are, each with an
            equal part of the stack for itself.
    """

    seats: tuple[Seat, ...]
    width: int
    rows: int = 0

    @property
    def full(self) -> bool:
        """Whether the seats leave no place free."""
        return sum(seat.layout.rank for seat in self.seats) == self.width


class AdapterBuffers:
    """Buffers for one mixture, used again for the next one.

    They grow to the largest stack that they have seen; smaller ones start at the same address.

    Args:
        order: The shapes of all layers of the model, in its order.
        device: Where it computes.
        dtype: In which precision.
    """

    def __init__(self, order: Targets, *, device: torch.device, dtype: torch.dtype) -> None:
        self._order = order
        self._flat = torch.empty(0, device=device, dtype=dtype)
        self._gains = Gains(self._flat[None])
        self._plan: Plan | None = None  # what lies in it
        self._deltas: dict[str, Delta] = {}
        self._known: dict[tuple[str, int, int], dict[str, Delta]] = {}

    def fill(self, plan: Plan, gain: Tensor, data: Mapping[str, Tensor]) -> Mapping[str, Delta]:
        """Put a mixture in place; adapters that lie there already are not copied again.

        Args:
            plan: Who lies where.
            gain: Shape (b, R), R of the plan, per row if rows have their own.
            data: Each adapter's flat array.

        Returns:
            What to install in the layers.
        """
        if plan != self._plan:
            self._plan = None  # until it is complete
            self._copy(plan, data)
            self._plan = plan
        self._gains.set(gain)
        return self._deltas

    def _copy(self, plan: Plan, data: Mapping[str, Tensor]) -> None:
        frame = union([seat.layout.frame for seat in plan.seats], self._order)
        layout = Layout(frame, plan.width, self._flat.dtype)
        if self._flat.numel() < layout.size:
            self._flat = self._flat.new_empty(layout.size)
            self._known.clear()
        kind = (frame.digest, plan.width, plan.rows)
        if kind not in self._known:
            self._known[kind] = _deltas_of(plan, layout, self._flat, self._gains)
        self._deltas = self._known[kind]
        alike = [seat.layout.frame.digest == frame.digest for seat in plan.seats]
        if not (all(alike) and plan.full):
            self._flat[: layout.size].zero_()
        for seat, same in zip(plan.seats, alike, strict=True):
            copy = _copy_blocks if same else _copy_layers
            copy(seat, data[seat.key], layout, self._flat)


def _copy_blocks(seat: Seat, data: Tensor, layout: Layout, flat: Tensor) -> None:
    """Copy an adapter of the stack's own layers: a few copies for all of them."""
    places = slice(seat.start, seat.start + seat.layout.rank)
    for into, views in zip(layout.views(flat), seat.layout.views(data), strict=True):
        into.a[:, :, places].copy_(views.a)
        for b, own in zip(into.b, views.b, strict=True):
            b[:, places].copy_(own)


def _copy_layers(seat: Seat, data: Tensor, layout: Layout, flat: Tensor) -> None:
    """Copy an adapter of other layers than its neighbours', layer by layer."""
    places = slice(seat.start, seat.start + seat.layout.rank)
    into = layout.unpack(flat)
    for name, factors in seat.layout.unpack(data).items():
        into[name].a[places].copy_(factors.a)
        into[name].b[:, places].copy_(factors.b)


def _deltas_of(plan: Plan, layout: Layout, flat: Tensor, gains: Gains) -> dict[str, Delta]:
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
