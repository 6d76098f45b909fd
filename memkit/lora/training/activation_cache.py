"""What enters the first adapted layer, computed once per example.

Below the first layer that an adapter touches, activations depend on the tokens alone. They are
computed once per wording and kept, so that training runs through the upper layers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from memkit.lora.training.encoding import Encoded
from memkit.models.language_model import LanguageModel


class ActivationCache:
    """The layers of a model that need not be computed twice.

    Args:
        base: The base model.
        first: The first layer that is computed every time; 0 if the model has no trunk, or
            none that can be told apart (`supports`).
    """

    def __init__(self, base: LanguageModel, first: int) -> None:
        self._base = base
        self._first = first
        self._inner: Any = base.model.base_model
        self._kept: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}  # each (t, h)

    @staticmethod
    def supports(base: LanguageModel) -> bool:
        """Whether the model is embeddings, ``layers`` and ``norm``, in this order and no more.

        Tried on a few tokens: its layers cut in two have to give what they give as one. The
        caller holds the model's turn.
        """
        inner: Any = base.model.base_model
        if not all(hasattr(inner, part) for part in ("layers", "norm")):
            return False
        probe = [Encoded((), (base.chat.end_id,) * 3, 1)]
        trunk = ActivationCache(base, len(inner.layers) // 2)
        with torch.no_grad():
            whole = base.extend(base.past([()]), [probe[0].ids])
            entering = trunk.entering(probe)
            with trunk.above():
                parts = base.extend(base.past([()]), [probe[0].ids], embedded=entering)
        return bool(torch.equal(whole, parts))

    def entering(self, examples: Sequence[Encoded]) -> Tensor | None:
        """What enters layer ``first``, padded on the right: shape ``(b, t, h)``; None for 0.

        No adapter may be in place.
        """
        if not self._first:
            return None
        if fresh := self.missing(examples):
            self.compute(fresh)
        rows = [self._kept[example.prefix, example.ids] for example in examples]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def missing(self, examples: Iterable[Encoded]) -> list[Encoded]:
        """What is not computed yet, each once, those of like length side by side."""
        if not self._first:
            return []
        wanted = {(example.prefix, example.ids): example for example in examples}
        fresh = [example for key, example in wanted.items() if key not in self._kept]
        return sorted(fresh, key=lambda example: (len(example.prefix), len(example.ids)))

    def compute(self, examples: Sequence[Encoded]) -> None:
        """Compute and keep examples as one batch; no adapter may be in place."""
        past = self._base.past([example.prefix for example in examples])
        with torch.no_grad(), self._only(0, self._first):
            hidden = self._base.extend(past, [example.ids for example in examples])
        for example, row in zip(examples, hidden, strict=True):
            self._kept[example.prefix, example.ids] = row[: len(example.ids)].clone()

    def above(self) -> AbstractContextManager[None]:
        """Leave the model only the layers from ``first`` on, while they are fed."""
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
