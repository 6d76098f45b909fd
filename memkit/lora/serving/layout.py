"""Where the factors of an adapter lie in a row of the bank.

A row is one flat array. Layers that share an input (query, key and value; gate and up) lie
side by side, and the same layers of all decoder layers one behind the other, so that a whole
adapter is put beside others with a handful of strided copies:

    for each kind of layers    A     (decoder layers, members, rank, in)
        for each member        B^T   (decoder layers, rank, out)

``B`` is transposed so that adapters stack along the rank in both factors.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memkit.errors import IncompatibleModelError, NonFiniteError
from memkit.lora.serving.hooks import Adapter, Factors, shapes_of, siblings

Targets = Mapping[str, tuple[int, int]]  # layer name -> (in, out), in the model's order


@dataclass(frozen=True)
class Block:
    """Layers of one kind: for each decoder layer the members, which share an input."""

    names: tuple[tuple[str, ...], ...]
    n_in: int
    n_outs: tuple[int, ...]


@dataclass(frozen=True)
class Views:
    """The factors of one block.

    Shapes: ``a`` (decoder layers, members, rank, in); for each member ``b`` (decoder layers,
    rank, out).
    """

    a: Tensor
    b: tuple[Tensor, ...]


@dataclass(frozen=True)
class Frame:
    """The layers that adapters have in common, so that they can be stacked."""

    targets: Targets

    @cached_property
    def digest(self) -> str:
        """SHA-256 over layers and shapes."""
        layers = [[name, *shape] for name, shape in self.targets.items()]
        return hashlib.sha256(json.dumps(layers).encode()).hexdigest()

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The kinds of layers, in the order in which they lie in a row."""
        kinds: dict[tuple[object, ...], list[tuple[str, ...]]] = {}
        for names in siblings(self.targets):
            kind = tuple((_template(name), self.targets[name]) for name in names)
            kinds.setdefault(kind, []).append(names)
        return tuple(
            Block(
                names=tuple(names),
                n_in=self.targets[names[0][0]][0],
                n_outs=tuple(self.targets[member][1] for member in names[0]),
            )
            for names in kinds.values()
        )


@dataclass(frozen=True)
class Layout:
    """The order of an adapter's factors in a flat array; all have one rank and one type."""

    frame: Frame
    rank: int
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.rank * sum(n_in + n_out for n_in, n_out in self.frame.targets.values())

    def views(self, flat: Tensor) -> list[Views]:
        """The factors of each block, not copied; ``flat`` has at least ``size`` elements."""
        start = 0

        def take(*shape: int) -> Tensor:
            nonlocal start
            piece = flat[start : start + math.prod(shape)].view(shape)
            start += piece.numel()
            return piece

        return [
            Views(
                a=take(len(block.names), len(block.n_outs), self.rank, block.n_in),
                b=tuple(take(len(block.names), self.rank, n) for n in block.n_outs),
            )
            for block in self.frame.blocks
        ]

    def unpack(self, flat: Tensor) -> dict[str, Factors]:
        """The factors of each layer, not copied."""
        by_name = {}
        for block, views in zip(self.frame.blocks, self.views(flat), strict=True):
            for layer, names in enumerate(block.names):
                for member, name in enumerate(names):
                    by_name[name] = Factors(views.a[layer, member], views.b[member][layer].T)
        return {name: by_name[name] for name in self.frame.targets}

    def pack(self, adapter: Adapter) -> Tensor:
        """Write an adapter into a new flat array on the CPU; layers that it lacks become zeros.

        Raises:
            IncompatibleModelError: If it has a layer or shape that this layout has not.
            NonFiniteError: If a weight is NaN or infinite, or too large for ``dtype``.
        """
        flat = torch.zeros(self.size, dtype=self.dtype)
        places = self.unpack(flat)
        for name, factors in adapter.items():
            self._check(name, factors)
            place = places[name]
            place.a.copy_(factors.a)
            place.b.copy_(factors.b)
            if not all(part.isfinite().all() for part in (place.a, place.b)):
                raise NonFiniteError(
                    f"expected weights for {name} that are finite in {self.dtype}, got NaN, "
                    "infinity or more than the type can hold",
                    hint="train with a smaller learning rate, or store rows as float32",
                )
        return flat

    def _check(self, name: str, factors: Factors) -> None:
        n_in, n_out = self.frame.targets.get(name, (0, 0))
        expected = [(self.rank, n_in), (n_out, self.rank)]
        came = [tuple(factors.a.shape), tuple(factors.b.shape)]
        if name not in self.frame.targets or came != expected:
            raise IncompatibleModelError(
                f"expected factors of shapes {expected} for {name}, got {came}"
                if name in self.frame.targets
                else f"the adapter has weights for {name!r}, the layout has no such layer"
            )


@dataclass(frozen=True)
class Row:
    """An adapter as it is stored.

    Attributes:
        layout: Where its factors lie.
        data: Shape (layout.size,), of the layout's type.
        scale: The factor s in ``W + s B A``.
    """

    layout: Layout
    data: Tensor
    scale: float

    @classmethod
    def of(
        cls,
        adapter: Adapter,
        scale: float,
        *,
        frame: Frame | None = None,
        dtype: torch.dtype | None = None,
    ) -> Row:
        """Pack an adapter.

        Args:
            adapter: Factors by layer, all of one rank.
            scale: The factor s in ``W + s B A``.
            frame: The layers of the row; None for those of the adapter.
            dtype: Of the row; None for the adapter's.

        Raises:
            MemkitError: As `Layout.pack`.
        """
        some = next(iter(adapter.values()))
        layout = Layout(frame or Frame(shapes_of(adapter)), some.a.shape[0], dtype or some.a.dtype)
        return cls(layout, layout.pack(adapter), scale)


def union(frames: Sequence[Frame], order: Targets) -> Frame:
    """The frame of several adapters side by side; ``order`` has every layer of the model."""
    if all(frame.digest == frames[0].digest for frame in frames):
        return frames[0]
    adapted = {name for frame in frames for name in frame.targets}
    return Frame({name: shape for name, shape in order.items() if name in adapted})


def _template(name: str) -> str:
    """A layer's name without the number of its decoder layer, the first in the name."""
    return re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", name, count=1)
