"""What of an adapter is learned, and what is put in place: LoRA, DoRA and PiSSA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

from memkit.lora.serving.hooks import Adapter, Factors, linear_layers, new_adapter, weight_of
from memkit.lora.spec import LoraSpec
from memkit.models.language_model import LanguageModel


class Variant(Protocol):
    """An adapter that is being trained."""

    def parameters(self) -> list[Tensor]:
        """What is learned; leaves that want gradients."""
        ...

    def adapter(self, dtype: torch.dtype = torch.float32) -> Adapter:
        """What is put in place; gradients flow to the parameters."""
        ...


def new_variant(
    base: LanguageModel,
    shapes: Mapping[str, tuple[int, int]],
    spec: LoraSpec,
    random: torch.Generator,
) -> Variant:
    """An adapter that changes nothing yet.

    Args:
        base: The base model.
        shapes: ``(in, out)`` of its layers that are adapted.
        spec: Shape and variant.
        random: Draws the initial weights.
    """
    if spec.variant == "pissa":
        weights = _weights(base, shapes)
        first = {name: _principal(w, spec.rank, spec.scale) for name, w in weights.items()}
        return Pissa(first, base.device)
    learned = Stacks(new_adapter(shapes, spec.rank, generator=random), base.device)
    if spec.variant == "dora":
        return Dora(learned, _weights(base, shapes), spec.scale)
    return Lora(learned)


class Stacks:
    """A and B of every layer, those of one shape in one tensor, so that a step handles a few.

    Args:
        adapter: The weights to start from.
        device: Where they are learned.

    Attributes:
        tensors: Leaves that want gradients, by the shape of a factor: ``(n, *shape)``, float32.
    """

    def __init__(self, adapter: Adapter, device: torch.device) -> None:
        self._names = list(adapter)
        parts = [part for factors in adapter.values() for part in (factors.a, factors.b)]
        self._shapes = [part.shape for part in parts]
        stacks: dict[torch.Size, list[Tensor]] = {}
        for part in parts:
            stacks.setdefault(part.shape, []).append(part)
        self.tensors = {
            shape: torch.stack(stack).to(device, torch.float32).requires_grad_()
            for shape, stack in stacks.items()
        }

    def factors(self, dtype: torch.dtype = torch.float32) -> dict[str, Factors]:
        """The factors of every layer; gradients flow to the tensors."""
        return self.split({shape: stack.to(dtype) for shape, stack in self.tensors.items()})

    def split(self, tensors: Mapping[torch.Size, Tensor]) -> dict[str, Factors]:
        """Give every layer its part of tensors that are stacked as these; not copied."""
        left = {shape: iter(stack.unbind()) for shape, stack in tensors.items()}
        parts = [next(left[shape]) for shape in self._shapes]
        return {
            name: Factors(a, b)
            for name, a, b in zip(self._names, parts[::2], parts[1::2], strict=True)
        }


class Lora:
    """``W + s B A`` (Hu et al. 2021, arXiv 2106.09685)."""

    def __init__(self, learned: Stacks) -> None:
        self._learned = learned

    def parameters(self) -> list[Tensor]:
        """A and B of every layer."""
        return list(self._learned.tensors.values())

    def adapter(self, dtype: torch.dtype = torch.float32) -> Adapter:
        """The same, layer by layer."""
        return self._learned.factors(dtype)


class Dora(Lora):
    """``m (W + s B A) / |W + s B A|``, row by row: the length of each row is learned apart.

    Beside the frozen layer this is ``y = W x + g W x + (1 + g) s B A x`` with the gate
    ``g = m / |W + s B A| - 1``. The norm counts as constant in the gradient.

    Source:
        Liu et al. 2024 (arXiv 2402.09353), equations 5 and 11.
    """

    def __init__(self, learned: Stacks, weights: Mapping[str, Tensor], scale: float) -> None:
        super().__init__(learned)
        self._weights = weights  # (out, in)
        self._scale = scale
        self._lengths = {  # (out,)
            name: weight.norm(dim=1).requires_grad_() for name, weight in weights.items()
        }

    def parameters(self) -> list[Tensor]:
        """A, B and the rows' lengths of every layer."""
        return [*super().parameters(), *self._lengths.values()]

    def adapter(self, dtype: torch.dtype = torch.float32) -> Adapter:
        """Factors with gates."""
        placed = {}
        for name, f in self._learned.factors().items():
            with torch.no_grad():
                norm = _norm(self._weights[name], f, self._scale)
            ratio = self._lengths[name] / norm
            gated = Factors(f.a, ratio[:, None] * f.b, ratio - 1.0)
            placed[name] = gated.to(f.a.device, dtype)
        return placed


class Pissa:
    """LoRA that starts from the largest singular triplets of the weights.

    PiSSA trains ``(W - s B0 A0) + s B A`` from ``A = A0, B = B0``. The base weights are shared
    here, so that what it takes away stays part of the adapter: ``W + s [B, -B0] [A; A0]``, of
    twice the rank.

    Source:
        Meng et al. 2024 (arXiv 2404.02948), equations 2 to 4.
    """

    def __init__(self, first: Adapter, device: torch.device) -> None:
        self._first = {name: f.to(device, torch.float32) for name, f in first.items()}
        self._learned = Stacks(self._first, device)

    def parameters(self) -> list[Tensor]:
        """A and B of every layer."""
        return list(self._learned.tensors.values())

    def adapter(self, dtype: torch.dtype = torch.float32) -> Adapter:
        """Factors of twice the rank."""
        placed = {}
        for name, f in self._learned.factors().items():
            first = self._first[name]
            wide = Factors(torch.cat([f.a, first.a]), torch.cat([f.b, -first.b], dim=1))
            placed[name] = wide.to(f.a.device, dtype)
        return placed


def _weights(base: LanguageModel, names: Mapping[str, object]) -> dict[str, Tensor]:
    """The weights of layers as float32 ``(out, in)``."""
    layers = linear_layers(base.model)
    return {name: weight_of(layers[name]).float() for name in names}


def _norm(weight: Tensor, factors: Factors, scale: float) -> Tensor:
    """Length of each row of ``W + s B A``, shape ``(out,)``, without the product ``B A``."""
    a, b = factors.a, factors.b
    cross = ((weight @ a.T) * b).sum(1)
    own = ((b @ (a @ a.T)) * b).sum(1)
    return (weight.square().sum(1) + 2 * scale * cross + scale**2 * own).sqrt()


def _principal(weight: Tensor, rank: int, scale: float) -> Factors:
    """``A`` and ``B`` with ``s B A`` the best approximation of rank ``rank``."""
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    half = (s[:rank] / scale).sqrt()
    return Factors(a=half[:, None] * v[:rank], b=u[:, :rank] * half)
