"""Low-rank deltas beside the frozen linear layers of a base model.

A forward hook on each target layer adds, in output space,

    y = W x + sum_i w_i s_i B_i A_i x

where the adapters in place are stacked along the rank to width R = sum of ranks, and every row
of a batch scales the R-wide hidden vector with its own weights (`memkit.lora.serving.delta`). The
sum is exact, needs no merging, and the base weights are never touched: with nothing in place the
hooks return the layer's own output object.

Training and serving both go through these hooks.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self, TypeVar

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from memkit.errors import IncompatibleModelError
from memkit.lora.serving.delta import Delta, Gains, Product
from memkit.lora.spec import LoraSpec
from memkit.models.acting_tokens import ActingTokens

if TYPE_CHECKING:
    from memkit.models.language_model import TransformersModel


@dataclass(frozen=True)
class Factors:
    """The two factors of one layer's delta ``B A``: ``a`` is (r, in), ``b`` is (out, r)."""

    a: Tensor
    b: Tensor


Model = TypeVar("Model", bound=nn.Module)
Adapter = Mapping[str, Factors]  # layer name -> factors

# Siblings that read the same input. If a model feeds them different ones after all, each
# computes a product of its own: that costs time and changes nothing.
_SHARING = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
# Parts of the names of experts, and of what chooses among them or among the tokens to look at.
_CHOICE = {"experts", "router", "gate", "indexer"}

logger = logging.getLogger(__name__)


def shapes_of(adapter: Adapter) -> dict[str, tuple[int, int]]:
    """``(in, out)`` of the layers of an adapter."""
    return {name: (f.a.shape[1], f.b.shape[0]) for name, f in adapter.items()}


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers inside decoder layers, by their full names.

    Embeddings and head are not among them. Neither are experts, who see some tokens only, and
    what chooses them: another choice would not be a small change. Nor is what goes out of a state
    space, whose kernels take the weights without calling the layer (PEFT refuses it, too).
    """
    spaces = {name for name, module in model.named_modules() if hasattr(module, "A_log")}
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D)
        and decoder_layer(name) >= 0
        and _CHOICE.isdisjoint(name.split("."))
        and not (name.endswith(".out_proj") and name.removesuffix(".out_proj") in spaces)
    }


def shape_of(layer: nn.Module) -> tuple[int, int]:
    """``(in_features, out_features)`` of a linear layer."""
    if isinstance(layer, Conv1D):  # GPT-2 stores (in, out)
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.in_features, layer.out_features  # type: ignore[return-value]


def stores_transposed(model: nn.Module) -> bool:
    """Whether linear layers store their weights as (in, out), like GPT-2's."""
    return any(isinstance(layer, Conv1D) for layer in linear_layers(model).values())


def copy_without_hooks(model: Model) -> Model:
    """A deep copy of a model, weights included, on which no adapter is ever put in place."""
    other = copy.deepcopy(model)
    for layer in linear_layers(other).values():
        # Copied as well, and tied to what the original has in place.
        layer._forward_hooks.clear()  # noqa: SLF001 - only their handles remove them in public
    return other


class AdapterLayers:
    """The hooks on one base model's linear layers, and the adapters in place in them.

    Args:
        model: The model.
        seeing: Names of the layers that see every token as it is read; None for all linear ones.
        acting: On which tokens adapters act; None for all.
    """

    def __init__(
        self,
        model: nn.Module,
        seeing: Collection[str] | None = None,
        acting: ActingTokens | None = None,
    ) -> None:
        layers = linear_layers(model)
        if seeing is not None:
            layers = {name: layer for name, layer in layers.items() if name in seeing}
        self._kind = type(model).__name__
        self._acting = acting or ActingTokens()
        self.shapes = {name: shape_of(layer) for name, layer in layers.items()}
        self.conv1d = stores_transposed(model)
        self._deltas: Mapping[str, Delta] = {}  # in place now, by layer
        self._busy = 0  # how many need the hooks: those in place, and answers under way
        self._counting = threading.Lock()
        self._leaving = False
        self._handles = [
            layer.register_forward_hook(self._hook(name)) for name, layer in layers.items()
        ]

    @classmethod
    def of(cls, base: TransformersModel) -> Self:
        """The hooks on a base model."""
        layers = cls(base.model, base.traits.layers, base.acting)
        if any("experts" in name.split(".") for name, _ in base.model.named_modules()):
            logger.info(
                "adapters of %s act on %s; experts and their choice stay as they are",
                base.name,
                sorted({name.rpartition(".")[2] for name in layers.shapes}),
            )
        return layers

    def targets(self, spec: LoraSpec) -> dict[str, tuple[int, int]]:
        """Shapes of the layers that a spec adapts.

        Raises:
            IncompatibleModelError: If the model has no such layer.
        """
        if not self.shapes:
            raise IncompatibleModelError(
                f"expected linear layers that see every token in the decoder layers of "
                f"{self._kind}, found none: adapters act on nothing else",
                hint="use another base model, or open the memory without 'lora' among `backends`",
            )
        depth = 1 + max((decoder_layer(name) for name in self.shapes), default=-1)
        first, last = round(spec.layers[0] * depth), round(spec.layers[1] * depth)
        adapted = {
            name: shape
            for name, shape in self.shapes.items()
            if first <= decoder_layer(name) < last and spec.adapts(name)
        }
        if not adapted:
            have = sorted({name.split(".")[-1] for name in self.shapes})
            raise IncompatibleModelError(
                f"expected layers {spec.target_modules!r} in decoder layers {first}..{last - 1}, "
                f"the model has {have} in {depth} decoder layers",
                hint="name layers of this model in `target_modules`, or use 'all-linear'",
            )
        return adapted

    def place(self, stack: Adapter, gain: Tensor) -> AbstractContextManager[None]:
        """Put stacked adapters in place for the enclosed forward passes; gradients flow.

        Args:
            stack: Factors by layer, stacked along the rank to width R; other layers stay bare.
            gain: Shape (b, R): ``w_i s_i`` of each row's mixture, repeated over adapter i's
                rank.
        """
        gains = Gains(gain)
        deltas = {}
        for names in siblings(shapes_of(stack)):
            product = Product(torch.stack([stack[name].a for name in names]), gains)
            for place, name in enumerate(names):
                deltas[name] = Delta(product, place, stack[name].b.T[None])
        return self.install(deltas)

    @property
    def installed(self) -> Mapping[str, Delta]:
        """The deltas in place, by layer."""
        return self._deltas

    @contextmanager
    def install(self, deltas: Mapping[str, Delta]) -> Iterator[None]:
        """Put deltas in place for the enclosed forward passes; layers without one stay bare.

        The innermost ones count; the outer ones are back afterwards, also if an error passes.
        """
        before, self._deltas = self._deltas, deltas
        try:
            with self.kept():
                yield
        finally:
            self._deltas = before

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the hooks on in the enclosed block: whoever removes them does so afterwards."""
        with self._counting:
            self._busy += 1
        try:
            yield
        finally:
            with self._counting:
                self._busy -= 1
            if self._leaving:
                self.detach()

    def detach(self) -> None:
        """Remove the hooks, once nobody needs them; the model is then as it was."""
        with self._counting:
            self._leaving = self._busy > 0  # an answer is being streamed with them
        if not self._leaving:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def add_delta(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
            delta = self._deltas.get(name)
            if delta is None:
                return output
            x, acting = args[0], self._acting.mask
            if x.dim() == 3 and acting is None:  # (rows, tokens, in)
                return delta.add(x, output)
            return delta.add_in_rows(x, output, acting)

        return add_delta


def siblings(targets: Mapping[str, tuple[int, int]]) -> list[tuple[str, ...]]:
    """Group the layers that share an input: ``(in, out)`` by layer name, in the model's order."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for name, (n_in, _) in targets.items():
        parent, _, leaf = name.rpartition(".")
        family = next((family for family in _SHARING if leaf in family), leaf)
        groups.setdefault((parent, family, n_in), []).append(name)
    return [tuple(names) for names in groups.values()]


def first_layer(names: Iterable[str]) -> int:
    """The lowest decoder layer that any of these modules lies in."""
    return min(decoder_layer(name) for name in names)


def decoder_layer(name: str) -> int:
    """The decoder layer that a module name lies in, its first numeric part; -1 for none."""
    return next((int(part) for part in name.split(".") if part.isdigit()), -1)


@dataclass(frozen=True)
class Scaled:
    """An adapter with its strength: each layer's delta is ``scale * b @ a``."""

    adapter: Adapter
    rank: int
    scale: float

    def times(self, weight: float) -> Scaled:
        """The same delta, ``weight`` times as strong."""
        return replace(self, scale=self.scale * weight)
