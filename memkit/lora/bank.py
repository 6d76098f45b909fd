"""The adapters in memory, and mixtures of them put in place per row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch

from memkit.errors import InvalidInputError
from memkit.lora.layers import Adapter, AdapterLayers, stack_adapters
from memkit.lora.spec import LoraSpec

Mixture = Mapping[str, float]  # adapter key -> weight; empty for the base model

_Held = tuple[Adapter, LoraSpec]


class AdapterBank:
    """Loads adapters when they are first needed and keeps the most recently used ones.

    Args:
        layers: The hooks on the base model.
        load: Reads one adapter by its key; raises if it cannot.
        capacity: How many adapters stay in memory, >= 1.
        device: Where the base model computes.
        dtype: In which precision it computes.
    """

    def __init__(
        self,
        layers: AdapterLayers,
        load: Callable[[str], tuple[Adapter, LoraSpec]],
        *,
        capacity: int = 64,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if capacity < 1:
            raise InvalidInputError(f"`capacity` must be at least 1, got {capacity!r}")
        self.layers = layers
        self._load = load
        self._capacity = capacity
        self._device = device
        self._dtype = dtype
        self._held: dict[str, _Held] = {}  # the least recently used first

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: str, adapter: Adapter, spec: LoraSpec) -> None:
        """Hold an adapter that is in memory already."""
        self._hold(key, self._moved(adapter, spec))

    def drop(self, key: str) -> None:
        """Let go of an adapter; unknown keys are no error."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Let go of every adapter."""
        self._held.clear()

    def mix(self, rows: Sequence[Mixture]) -> AbstractContextManager[None]:
        """Put one mixture per row in place: ``y = W x + sum_i w_i s_i B_i A_i x``.

        Adapters that several rows use are stacked once; a row's weight for an adapter it does
        not use is zero, which makes the sum exact.

        Args:
            rows: One mixture per row of the batch, in order.

        Returns:
            A context manager that takes the mixtures out again, also when an error passes.
        """
        keys = list(dict.fromkeys(key for row in rows for key in row))
        held = [self._get(key) for key in keys]
        ranks = [spec.rank for _, spec in held]
        gains = [
            [row.get(key, 0.0) * spec.scale for key, (_, spec) in zip(keys, held, strict=True)]
            for row in rows
        ]
        gain = torch.tensor(gains, device=self._device, dtype=self._dtype)  # (b, U)
        widths = torch.tensor(ranks, device=self._device, dtype=torch.long)
        stack = stack_adapters([adapter for adapter, _ in held], ranks)
        return self.layers.place(stack, gain.repeat_interleave(widths, dim=1))  # (b, R)

    def _get(self, key: str) -> _Held:
        held = self._held.get(key) or self._moved(*self._load(key))
        self._hold(key, held)
        return held

    def _moved(self, adapter: Adapter, spec: LoraSpec) -> _Held:
        return {name: f.to(self._device, self._dtype) for name, f in adapter.items()}, spec

    def _hold(self, key: str, held: _Held) -> None:
        """Hold it as the most recently used; let go of what is beyond the capacity."""
        self._held.pop(key, None)
        self._held[key] = held
        while len(self._held) > self._capacity:
            del self._held[next(iter(self._held))]
