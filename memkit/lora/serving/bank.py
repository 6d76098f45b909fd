"""The adapters in memory, and mixtures of them put in place per row of a batch.

An adapter is read from disk into memory when it is first needed, and copied from there into the
buffers of a mixture (`memkit.lora.serving.buffers`); on an accelerator a copy of it stays on the
device, too. Memory and device keep the most recently used adapters. A mixture in use is a copy in
the buffers, so that evicting or dropping an adapter does not change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from memkit.errors import InvalidInputError
from memkit.lora.serving.buffers import AdapterBuffers, Slot, StackPlan
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.serving.layout import Row

Mixture = Mapping[str, float]  # adapter key -> weight; empty for the base model
T = TypeVar("T")

# A product with the stack of all adapters costs rows times its width; products of each row with
# a stack of its own cost five times as much by width, and copies of what several rows use
# (measured, docs/benchmarks.md).
_WIDER = 5
_COPIES = 2


class LruCache(Generic[T]):
    """A dictionary that evicts the least recently used items.

    Args:
        capacity: How many.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: dict[str, T] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def get(self, key: str) -> T | None:
        """Give an item and count it as used."""
        item = self._items.pop(key, None)
        if item is not None:
            self._items[key] = item
        return item

    def put(self, key: str, item: T) -> None:
        """Keep an item, and let go of what is beyond the capacity."""
        self._items.pop(key, None)
        self._items[key] = item
        while len(self._items) > self._capacity:
            del self._items[next(iter(self._items))]

    def drop(self, key: str) -> None:
        """Let go of an item; unknown keys are no error."""
        self._items.pop(key, None)

    def clear(self) -> None:
        """Let go of everything."""
        self._items.clear()


class AdapterBank:
    """Loads adapters when they are first needed and keeps the most recently used ones.

    Args:
        layers: The hooks on the base model.
        load: Reads one adapter by its key; raises if it cannot.
        capacity: How many adapters stay in memory, >= 1, and as many on the device if that is
            not the CPU.
        device: Where the base model computes.
        dtype: In which precision it computes.
    """

    def __init__(
        self,
        layers: AdapterLayers,
        load: Callable[[str], Row],
        *,
        capacity: int = 64,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if capacity < 1:
            raise InvalidInputError(f"`capacity` must be at least 1, got {capacity!r}")
        self.layers = layers
        self._load = load
        self._device = device
        self._dtype = dtype
        self._held: LruCache[Row] = LruCache(capacity)
        self._on_device: LruCache[Tensor] = LruCache(capacity)  # unused on the CPU
        self._idle: AdapterBuffers | None = None
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def put(self, key: str, row: Row) -> None:
        """Hold an adapter that is in memory already."""
        self.drop(key)
        self._held.put(key, row)

    def drop(self, key: str) -> None:
        """Let go of an adapter; unknown keys are no error."""
        self._held.drop(key)
        self._on_device.drop(key)
        self._let_go_of_buffers()

    def clear(self) -> None:
        """Let go of every adapter."""
        self._held.clear()
        self._on_device.clear()
        self._let_go_of_buffers()

    def mix(self, rows: Sequence[Mixture]) -> AbstractContextManager[None]:
        """Put one mixture per row in place: ``y = W x + sum_i w_i s_i B_i A_i x``.

        Adapters that several rows use are stacked once; a row's weight for an adapter it does
        not use is zero, which makes the sum exact. Nothing is copied if the same adapters are
        in place already.

        Args:
            rows: One mixture per row of the batch, in order.

        Returns:
            A context manager that takes the mixtures out again, also when an error passes.
        """
        # In one order whatever the order of the weights: the same mixture gives the same sum.
        held = {key: self._get(key) for key in sorted({key for row in rows for key in row})}
        if not held:
            return self.layers.install({})
        # Called before the prefixes are encoded: copies to a device run meanwhile.
        data = {key: self._data(key, row) for key, row in held.items()}
        return self._in_place(rows, held, data)

    @contextmanager
    def _in_place(
        self, rows: Sequence[Mixture], held: Mapping[str, Row], data: Mapping[str, Tensor]
    ) -> Iterator[None]:
        # A mixture within a mixture gets buffers of its own.
        buffers, self._idle = self._idle or self._new_buffers(), None
        dropped = self._dropped
        plan = plan_for(rows, held)
        gain = gains_of(plan, rows, held).to(self._device, self._dtype)
        try:
            with self.layers.install(buffers.fill(plan, gain, data)):
                yield
        finally:
            if dropped == self._dropped:  # otherwise it may hold what was forgotten
                self._idle = buffers

    def _new_buffers(self) -> AdapterBuffers:
        return AdapterBuffers(self.layers.shapes, device=self._device, dtype=self._dtype)

    def _get(self, key: str) -> Row:
        row = self._held.get(key)
        if row is None:
            row = self._load(key)
            if self._device.type == "cuda":
                row = replace(row, data=row.data.pin_memory())
            self._held.put(key, row)
        return row

    def _data(self, key: str, row: Row) -> Tensor:
        """An adapter's flat array where the model computes."""
        if self._device.type == "cpu":
            return row.data
        data = self._on_device.get(key)
        if data is None:
            data = row.data.to(self._device, non_blocking=True)
            self._on_device.put(key, data)
        return data

    def _let_go_of_buffers(self) -> None:
        self._idle = None
        self._dropped += 1


def plan_for(rows: Sequence[Mixture], held: Mapping[str, Row]) -> StackPlan:
    """Give each adapter one slot for all rows, or one in each row that uses it if shorter."""
    width = sum(row.layout.rank for row in held.values())
    own = max(sum(held[key].layout.rank for key in row) for row in rows)
    if not separate_stacks(width, own, len(rows)):
        return StackPlan(_slots(held, held, 0), width)
    slots = tuple(
        slot for number, row in enumerate(rows) for slot in _slots(sorted(row), held, number * own)
    )
    return StackPlan(slots, own * len(rows), rows=len(rows))


def separate_stacks(width: int, own: int, rows: int) -> bool:
    """Whether rows of a batch get stacks of their own.

    Args:
        width: Of a stack of all adapters.
        own: Of the widest row's stack.
        rows: In the batch.
    """
    return width > _WIDER * own and rows * own <= _COPIES * width


def gains_of(plan: StackPlan, rows: Sequence[Mixture], held: Mapping[str, Row]) -> Tensor:
    """``w_i s_i`` over the rank of adapter i, shape (b, R), float64; R per row if they differ."""
    own = plan.width // plan.rows if plan.rows else plan.width
    gain = torch.zeros(len(rows), own, dtype=torch.float64)
    for slot in plan.slots:
        scale = held[slot.key].scale
        first, start = divmod(slot.start, own)
        for number in [first] if plan.rows else range(len(rows)):
            weight = rows[number].get(slot.key, 0.0)
            gain[number, start : start + slot.layout.rank] = weight * scale
    return gain


def _slots(keys: Iterable[str], held: Mapping[str, Row], start: int) -> tuple[Slot, ...]:
    slots = []
    for key in keys:
        slots.append(Slot(key, start, held[key].layout))
        start += held[key].layout.rank
    return tuple(slots)
