"""Gradient checkpointing: decoder layers keep what enters them, and are computed again backwards.

transformers' own switch does not serve here. It acts in training mode only, which turns on
dropout as well, and it takes away the keys and values of the prefix, which is read once and without
adapters. So its `GradientCheckpointingLayer` only tells which layers can be computed again. The
second pass gets what the first one found: keys and values, adapters, and the tokens on which they
act.

Source:
    Chen et al. 2016 (arXiv 1604.06174), by `torch.utils.checkpoint`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer

from memkit.lora.serving.delta import Delta
from memkit.lora.serving.hooks import AdapterLayers
from memkit.models.language_model import TransformersModel

Forward = Callable[..., Any]  # layers take and give what they like

_CACHE = object()  # stands for it among arguments that are kept


class Checkpointing:
    """The decoder layers of a base model, which can be computed again in the backward pass.

    Args:
        base: The base model.
        adapters: The hooks on its linear layers.
    """

    def __init__(self, base: TransformersModel, adapters: AdapterLayers) -> None:
        self._base = base
        self._adapters = adapters
        self._layers = list(_outermost(base.decoder))

    @property
    def supported(self) -> bool:
        """Whether the model has layers that can be computed again."""
        return bool(self._layers)

    @contextmanager
    def on(self) -> Iterator[None]:
        """Keep of each layer only what enters it, in the enclosed forward passes.

        The caller holds the model. In the backward pass nobody may: a layer that is computed
        again holds it for as long as that takes.
        """
        before = [vars(layer).get("forward") for layer in self._layers]
        for layer in self._layers:
            layer.forward = partial(self._keep_little, layer.forward)
        try:
            yield
        finally:
            for layer, own in zip(self._layers, before, strict=True):
                del layer.forward
                if own is not None:  # of others who replace it, such as accelerate
                    layer.forward = own

    def _keep_little(self, forward: Forward, *args: object, **kwargs: object) -> object:
        """What ``forward`` gives; its activations are not kept."""
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        as_before = partial(self._as_before, self._adapters.installed, self._base.acting.mask)
        # Frozen models draw nothing at random, so that there is no state of that to be kept.
        return checkpoint(
            _Twice(forward, args, kwargs, as_before), use_reentrant=False, preserve_rng_state=False
        )

    @contextmanager
    def _as_before(self, deltas: Mapping[str, Delta], acting: Tensor | None) -> Iterator[None]:
        """Hold the model, with the adapters of an earlier pass in place."""
        with (
            self._base.hold(),
            self._adapters.install(deltas),
            self._base.acting.only(acting),
        ):
            yield


class _Twice:
    """A layer's pass that can be repeated: then with keys and values as they were before it.

    Args:
        forward: The layer's own.
        args: What it gets.
        kwargs: What it gets by name.
        as_before: Makes all else as it was, for a repetition.
    """

    def __init__(
        self,
        forward: Forward,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
        as_before: Callable[[], AbstractContextManager[None]],
    ) -> None:
        given = (*args, *kwargs.values())
        self._cache = next((value for value in given if isinstance(value, DynamicCache)), None)
        self._args = [_without_cache(value) for value in args]
        self._kwargs = {name: _without_cache(value) for name, value in kwargs.items()}
        self._forward = forward
        self._as_before = as_before
        self._found: list[Any] | None = None  # layers of the cache, before the first pass

    def __call__(self) -> object:
        if self._found is None:
            return self._first()
        cache = DynamicCache()
        cache.layers = [copy.copy(layer) for layer in self._found]
        with self._as_before():
            return self._with(cache)

    def _first(self) -> object:
        layers: list[Any] = [] if self._cache is None else self._cache.layers
        before = [copy.copy(layer) for layer in layers]
        output = self._with(self._cache)
        # Only what it has added to: keys and values of the layers below would be kept with them.
        self._found = [
            old if old.keys is not new.keys else type(old)()
            for old, new in zip(before, layers, strict=False)  # without a prefix, layers are added
        ]
        self._cache = None
        return output

    def _with(self, cache: DynamicCache | None) -> object:
        return self._forward(
            *(cache if value is _CACHE else value for value in self._args),
            **{name: cache if value is _CACHE else value for name, value in self._kwargs.items()},
        )


def _without_cache(value: object) -> object:
    return _CACHE if isinstance(value, DynamicCache) else value


def _outermost(module: nn.Module) -> Iterator[nn.Module]:
    """The layers that transformers computes again, and none inside another."""
    for child in module.children():
        if isinstance(child, GradientCheckpointingLayer):
            yield child
        else:
            yield from _outermost(child)
