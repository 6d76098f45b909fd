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


class ActivationCache:
    """Caches what the lower layers of a model make of examples.

    Args:
        base: The base model.
        first: The first layer that is computed every time; 0 caches nothing, as for models
            whose layers cannot be split (`supports`).
    """

    def __init__(self, base: TransformersModel, first: int) -> None:
        self._base = base
        self._first = first
        self._inner: Any = base.decoder
        self._cached: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}  # each (t, h)

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

    def inputs(self, examples: Sequence[Encoded]) -> Tensor | None:
        """The inputs of layer ``first``, padded on the right: shape ``(b, t, h)``; None for 0.

        No adapter may be in place.
        """
        if not self._first:
            return None
        if fresh := self.missing(examples):
            self.compute(fresh)
        rows = [self._cached[example.prefix, example.ids] for example in examples]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def missing(self, examples: Iterable[Encoded]) -> list[Encoded]:
        """What is not computed yet, each once, those of like length side by side."""
        if not self._first:
            return []
        wanted = {(example.prefix, example.ids): example for example in examples}
        fresh = [example for key, example in wanted.items() if key not in self._cached]
        return sorted(fresh, key=lambda example: (len(example.prefix), len(example.ids)))

    def compute(self, examples: Sequence[Encoded]) -> None:
        """Compute and cache examples as one batch; no adapter may be in place."""
        past = self._base.past([example.prefix for example in examples])
        with torch.no_grad(), self._only(0, self._first):
            hidden = self._base.extend(past, [example.ids for example in examples])
        for example, row in zip(examples, hidden, strict=True):
            self._cached[example.prefix, example.ids] = row[: len(example.ids)].clone()

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
