"""The adapters in memory, and mixtures of them put in place per row of a batch.

An adapter is read from disk when it is first needed, and copied from memory, the device's where
there is one, into the buffers of a mixture (`memkit.lora.serving.buffers`). The most recently
used ones stay in memory. A mixture in use is a copy in the buffers, so that evicting or dropping
an adapter does not change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from memkit.lora.serving.buffers import AdapterBuffers, Slot, StackPlan
from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.serving.layout import Row
from memkit.types import CacheUse
from memkit.types.bounded_cache import BoundedCache

Mixture = Mapping[str, float]  # adapter key -> weight; empty for the base model

# A product with the stack of all adapters costs rows times its width; products of each row with
# a stack of its own cost five times as much by width, and copies of what several rows use
# (measured, docs/benchmarks.md).
_WIDER = 5
_COPIES = 2


class AdapterBank:
    """Loads adapters when they are first needed and keeps the most recently used ones.

    Args:
        layers: The hooks on the base model.
        load: Reads one adapter by its key; raises if it cannot.
        bound: Bytes that the most recently used adapters may take, besides those in use; and
            that buffers may take that are kept for the next mixture.
        device: Where the base model computes, and adapters stay.
        dtype: In which precision it computes.
    """

    def __init__(
        self,
        layers: AdapterLayers,
        load: Callable[[str], Row],
        *,
        bound: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.layers = layers
        self._load = load
        self._device = device
        self._dtype = dtype
        self._held: BoundedCache[str, Row] = BoundedCache(bound, lambda row: row.data.nbytes)
        self._put: dict[str, Row] = {}  # cannot be loaded again
        self._idle: AdapterBuffers | None = None
        self._dropped = 0

    def __len__(self) -> int:
        return len(self._held) + len(self._put)

    def __contains__(self, key: str) -> bool:
        return key in self._held or key in self._put

    @property
    def cached(self) -> CacheUse:
        """What the adapters in memory take, and may take."""
        return self._held.use

    def put(self, key: str, row: Row) -> None:
        """Hold an adapter that is not stored, until it is dropped."""
        self.drop(key)
        self._put[key] = self._here(row)

    def drop(self, key: str) -> None:
        """Let go of an adapter; unknown keys are no error."""
        self._held.drop(key)
        self._put.pop(key, None)
        self._idle = None
        self._dropped += 1

    def mix(self, rows: Sequence[Mixture]) -> Mixtures:
        """One mixture per row, to be put in place: ``y = W x + sum_i w_i s_i B_i A_i x``.

        Adapters that several rows use are stacked once; a row's weight for an adapter it does
        not use is zero, which makes the sum exact. Nothing is copied if the same adapters are
        in place already.

        Args:
            rows: One mixture per row of the batch, in order.

        Returns:
            A context manager that takes the mixtures out again, also when an error passes.
        """
        keys = sorted({key for row in rows for key in row})
        # Called before the prefixes are encoded: copies to a device run meanwhile.
        held = {key: self._put.get(key) or self._hold(key) for key in keys}
        return Mixtures(self, rows, held, dropped=self._dropped)

    @contextmanager
    def in_place(self, mixtures: Mixtures) -> Iterator[None]:
        """Put mixtures in place for the enclosed block."""
        rows = mixtures.rows
        # In one order whatever the order of the weights: the same mixture gives the same sum.
        held = {key: mixtures.held[key] for key in sorted({key for row in rows for key in row})}
        if not held:
            with self.layers.install({}):
                yield
            return
        # A mixture within a mixture gets buffers of its own.
        buffers, self._idle = self._idle, None
        if buffers is None:
            buffers = AdapterBuffers(self.layers.shapes, device=self._device, dtype=self._dtype)
        plan = plan_for(rows, held)
        gain = gains_of(plan, rows, held).to(self._device, self._dtype)
        try:
            with self.layers.install(buffers.fill(plan, gain, held)):
                yield
        finally:
            # Buffers from before something was dropped may hold what was forgotten.
            if mixtures.dropped == self._dropped and buffers.nbytes <= self._held.bound:
                self._idle = buffers

    def _hold(self, key: str) -> Row:
        """A row, which is the most recently used one now; loaded if it is not there."""
        row = self._held.get(key)
        if row is None:
            row = self._here(self._load(key))
            self._held.put(key, row)
        return row

    def _here(self, row: Row) -> Row:
        """A row where the model computes."""
        if row.data.device.type != self._device.type:
            host = row.data.pin_memory() if self._device.type == "cuda" else row.data
            row = replace(row, data=host.to(self._device, non_blocking=True))
        return row


class Mixtures(AbstractContextManager[None]):
    """Mixtures for the rows of a batch; entered, they are in place.

    Each can be put in place for a row of another batch as well, which is how rows join others
    that are being decoded (`memkit.models.answer_row.RowAdapters`). Whatever is dropped meanwhile,
    what they need stays.

    Args:
        bank: Puts them in place.
        rows: A mixture for each row.
        held: The adapters in them.
        dropped: How many adapters the bank had dropped when these were taken from it.

    Attributes:
        rows: As given.
        held: As given.
        dropped: As given.
    """

    def __init__(
        self,
        bank: AdapterBank,
        rows: Sequence[Mixture],
        held: Mapping[str, Row],
        *,
        dropped: int,
    ) -> None:
        self.rows = rows
        self.held = held
        self.dropped = dropped
        self._bank = bank
        self._in_place = ExitStack()

    @property
    def source(self) -> object:
        """What puts them in place."""
        return self._bank

    def kept(self) -> AbstractContextManager[None]:
        """Keep them usable in the enclosed block, even if the memory is closed meanwhile."""
        return self._bank.layers.kept()

    def among(self, rows: Sequence[tuple[Mixtures, int] | None]) -> Mixtures:
        """Mixtures for another batch, each from a row of one such; None for a row without."""
        acting = [row for row in rows if row is not None]
        return Mixtures(
            self._bank,
            [{} if row is None else row[0].rows[row[1]] for row in rows],
            {key: mixtures.held[key] for mixtures, place in acting for key in mixtures.rows[place]},
            dropped=min(mixtures.dropped for mixtures, _ in acting),
        )

    def __enter__(self) -> None:
        self._in_place.enter_context(self._bank.in_place(self))

    def __exit__(self, *error: object) -> None:
        self._in_place.close()


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
    """Whether rows get stacks, the widest ``own`` wide, instead of one with all adapters."""
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
