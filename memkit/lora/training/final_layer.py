"""The last linear layer of a decoder, whose output goes straight into the final norm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from memkit.lora.serving.hooks import linear_layers, shape_of, weight_of
from memkit.models.language_model import LanguageModel


def site_of(base: LanguageModel) -> str | None:
    """Name of the linear layer whose output goes straight into a final RMSNorm; None for none.

    Tried on one token: what is added to its output has to arrive there. The caller holds the
    model's turn.
    """
    head: Any = base.model.get_output_embeddings()  # type: ignore[no-untyped-call]
    plain = isinstance(head, nn.Linear) and head.bias is None
    if not plain or not hasattr(base.model.base_model, "norm"):
        return None
    name, layer = list(linear_layers(base.model).items())[-1]
    tap = Tap(base, name)

    def heard() -> Tensor:
        with torch.no_grad(), tap.open():
            base.extend(base.past([()]), [(base.chat.end_id,)])
        return tap.h.double()

    bare = heard()
    step = float(bare.abs().max())  # large enough to be seen in any precision
    handle = layer.register_forward_hook(lambda _layer, _args, output: output + step)
    try:
        moved = heard() - bare
    finally:
        handle.remove()
    arrives = torch.allclose(moved, torch.full_like(moved, step), rtol=0.05)
    return name if arrives and _divides_by_length(tap, bare.float()) else None


@torch.no_grad()
def _divides_by_length(tap: Tap, h: Tensor) -> bool:
    """Whether the norm is an RMSNorm, tried on states of shape ``(b, t, hidden)``."""
    normed: Tensor = tap.norm(h)
    length = h.square().mean(-1, keepdim=True).sqrt()
    return torch.allclose(normed.float(), h / length * tap.gain(), rtol=0.05, atol=1e-3)


class Tap:
    """What enters the last linear layer and the final norm, as long as it is open.

    Args:
        base: The base model.
        site: Name of the layer, see `site_of`.

    Attributes:
        x: What entered the layer last, shape ``(b, t, in)``.
        h: What entered the norm last, shape ``(b, t, hidden)``.
    """

    def __init__(self, base: LanguageModel, site: str) -> None:
        self.site = site
        self.layer = linear_layers(base.model)[site]
        self.norm: Any = base.model.base_model.norm
        self.x = self.h = torch.empty(0)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen to the enclosed forward passes."""

        def hear_x(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            self.x = args[0].detach()

        def hear_h(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            self.h = args[0].detach()

        handles = [
            self.layer.register_forward_pre_hook(hear_x),
            self.norm.register_forward_pre_hook(hear_h),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def gain(self) -> Tensor:
        """What the norm, an RMSNorm, multiplies each feature by, float32: ``(hidden,)``."""
        device, (_, n_out) = weight_of(self.layer).device, shape_of(self.layer)
        alike = torch.full((1, n_out), 1e3, device=device)  # large beside the norm's epsilon
        gain: Tensor = self.norm(alike)[0]
        return gain.float()
