"""An adapter while it is trained: fresh factors, and the tensors that the optimizer steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from memkit.lora.serving.hooks import Adapter, Factors


def new_adapter(
    shapes: Mapping[str, tuple[int, int]], rank: int, *, generator: torch.Generator
) -> dict[str, Factors]:
    """A fresh adapter whose delta is zero: A Kaiming-uniform, B zero, as in PEFT.

    Source:
        Hu et al. 2021 (arXiv 2106.09685), section 4.1; PEFT's ``init_lora_weights=True``.
    """
    adapter = {}
    for name, (n_in, n_out) in shapes.items():
        bound = n_in**-0.5  # kaiming_uniform with a = sqrt(5)
        a = torch.empty(rank, n_in).uniform_(-bound, bound, generator=generator)
        adapter[name] = Factors(a=a, b=torch.zeros(n_out, rank))
    return adapter


class TrainableAdapter:
    """A and B of every layer, those of one shape in one tensor, so that a step handles a few.

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
        left = {shape: iter(stack.to(dtype).unbind()) for shape, stack in self.tensors.items()}
        parts = [next(left[shape]) for shape in self._shapes]
        return {
            name: Factors(a, b)
            for name, a, b in zip(self._names, parts[::2], parts[1::2], strict=True)
        }
