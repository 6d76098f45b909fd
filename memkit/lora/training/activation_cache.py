"""The inputs of the first adapted layer, computed once per example.

Below the first layer that an adapter touches, activations depend on the tokens alone. They are
computed once per wording and cached, so that training runs through the upper layers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from memkit.lora.training.encoding import Encoded
from memkit.models.language_model import TransformersModel
from memkit.types import CacheUse
from memkit.types.bounded_cache import BoundedCache

Key = tuple[tuple[int, ...], tuple[int, ...]]


class ActivationCache:
    """Caches what the lower layers of a model make of examples, as far as there is room.

    Args:
        base: The base model.
        first: The first layer that is computed every time; 0 caches nothing, as for models
            whose layers cannot be split (`supports`).
    """

    def __init__(self, base: TransformersModel, first: int) -> None:
        self._base = base
        self._first = first
        self._inner: Any = base.decoder
        width = int(base.model.config.get_text_config().hidden_size)
        self._token = width * base.model.dtype.itemsize  # bytes
        self._cached: BoundedCache[Key, Tensor] = BoundedCache(  # each (t, h)
            base.bounds.activations, lambda row: row.nbytes
        )

    @staticmethod
    def supports(base: TransformersModel) -> bool:
        """Whether the model is embeddings, ``layers`` and ``norm``, in this order and no more.

        Tried on a few tokens: its layers in two halves have to give what they give as a whole.
        The caller holds the model.
        """
        inner: Any = base.decoder
        if not base.splits or not all(hasattr(inner, part) for part in ("layers", "norm")):
            return False
        probe = [Encoded((), (base.chat.end_id,) * 3, 1)]
        cache = ActivationCache(base, len(inner.layers) // 2)
        with torch.no_grad():
            whole = base.extend(base.past([()]), [probe[0].ids])
            inputs = cache.inputs(probe)
            with cache.upper_layers():
                parts = base.extend(base.past([()]), [probe[0].ids], embedded=inputs)
        return bool(torch.equal(whole, parts))

    @property
    def uses(self) -> bool:
        """Whether there are layers below the first that is computed every time."""
        return self._first > 0

    @property
    def cached(self) -> CacheUse:
        """What is cached, and may be."""
        return self._cached.use

    def inputs(self, examples: Sequence[Encoded]) -> Tensor | None:
        """The inputs of layer ``first``, padded on the right: shape ``(b, t, h)``; None for 0.

        No adapter may be in place.
        """
        if not self._first:
            return None
        rows = {_key(example): self._cached.get(_key(example)) for example in examples}
        fresh = _by_length({_key(e): e for e in examples if rows[_key(e)] is None}.values())
        for example, row in zip(fresh, self._computed(fresh), strict=True):
            rows[_key(example)] = row
            if row.nbytes <= self._cached.room:  # others may be needed sooner
                self._cached.put(_key(example), row)
        given: Any = [rows[_key(example)] for example in examples]
        return nn.utils.rnn.pad_sequence(given, batch_first=True)

    def missing(self, examples: Iterable[Encoded]) -> list[Encoded]:
        """What to `compute` ahead, each once, those of like length side by side.

        No more than there is room for beside those that are cached already; these stay, and
        examples of earlier runs have to go.
        """
        if not self._first:
            return []
        wanted = {_key(example): example for example in examples}
        kept = [self._cached.get(key) for key in wanted]
        room = self._cached.bound - sum(row.nbytes for row in kept if row is not None)
        fresh = [e for e, row in zip(wanted.values(), kept, strict=True) if row is None]
        fitting = []
        for example in _by_length(fresh):
            room -= len(example.ids) * self._token
            if room < 0:
                break
            fitting.append(example)
        return fitting

    def compute(self, examples: Sequence[Encoded]) -> None:
        """Compute and cache examples as one batch; no adapter may be in place."""
        for example, row in zip(examples, self._computed(examples), strict=True):
            self._cached.put(_key(example), row)

    def clear(self) -> None:
        """Let go of everything."""
        self._cached.clear()

    def _computed(self, examples: Sequence[Encoded]) -> list[Tensor]:
        """What enters layer ``first`` for each example, shape ``(t, h)``."""
        if not examples:
            return []
        past = self._base.past([example.prefix for example in examples])
        with torch.no_grad(), self._only(0, self._first):
            hidden = self._base.extend(past, [example.ids for example in examples])
        return [row[: len(e.ids)].clone() for e, row in zip(examples, hidden, strict=True)]

    def upper_layers(self) -> AbstractContextManager[None]:
        """Leave the model only the layers from ``first`` on, which the inputs are fed to."""
        return self._only(self._first, None) if self._first else nullcontext()

    @contextmanager
    def _only(self, start: int, stop: int | None) -> Iterator[None]:
        """Leave the model only some of its layers; the norm goes with the last one."""
        inner = self._inner
        layers, norm = inner.layers, inner.norm
        inner.layers = layers[start:stop]
        inner.norm = norm if stop is None else nn.Identity()
        try:
            yield
        finally:
            inner.layers, inner.norm = layers, norm


def _by_length(examples: Iterable[Encoded]) -> list[Encoded]:
    return sorted(examples, key=lambda example: (len(example.prefix), len(example.ids)))


def _key(example: Encoded) -> Key:
    return example.prefix, example.ids
