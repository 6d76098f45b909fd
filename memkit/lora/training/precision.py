"""In which precision the base model computes while an adapter is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from memkit.lora.serving.hooks import AdapterLayers, linear_layers
from memkit.lora.spec import TrainSpec
from memkit.models.language_model import LanguageModel


class MixedPrecision(LanguageModel):
    """A base model that multiplies in bfloat16 and adds up in float32.

    The residual stream, which every layer adds to and the norms read, is not rounded; products
    are. That is nearly as fast as bfloat16 throughout and as exact as a fit needs.
    """

    def hidden(
        self, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache | None = None
    ) -> Tensor:
        """As `LanguageModel.hidden`, in float32."""
        if ids.dim() == 2:
            embed: Any = self.model.get_input_embeddings()
            ids = embed(ids)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return super().hidden(ids.float(), mask, positions, cache)

    def logits(self, hidden: Tensor) -> Tensor:
        """As `LanguageModel.logits`, of hidden states in any precision."""
        return super().logits(hidden.to(self.model.dtype))


def chosen_precision(base: LanguageModel, train: TrainSpec) -> str:
    """The precision that a base model trains in.

    Args:
        base: The base model.
        train: Names it. "auto" means that of the model, but on CPUs with matrix units for
            bfloat16 (Intel AMX) that, which is faster there; "mixed", if the last layer is to be
            fitted.
    """
    if train.precision != "auto":
        return train.precision
    if base.device.type == "cpu" and _has_amx():
        return "mixed" if train.readout else "bfloat16"
    return str(base.model.dtype).removeprefix("torch.")


def in_precision(
    base: LanguageModel, layers: AdapterLayers, precision: str
) -> tuple[LanguageModel, AdapterLayers]:
    """The base model in a precision: itself if it has it, else a copy with hooks of its own."""
    mixed = precision == "mixed"
    dtype: torch.dtype = torch.bfloat16 if mixed else getattr(torch, precision)
    if base.model.dtype == dtype and not mixed:
        return base, layers
    model: Any = copy.deepcopy(base.model)  # its `to` carries no usable annotations
    for layer in linear_layers(model).values():
        # Copied as well, and tied to what the original has in place.
        layer._forward_hooks.clear()  # noqa: SLF001 - only their handles remove them in public
    # The fused attention's backward pass is many times slower than its parts in bfloat16.
    model.set_attn_implementation("eager")
    kind = MixedPrecision if mixed else LanguageModel
    other = kind(model.to(dtype), base.tokenizer, name=base.name)
    return other, AdapterLayers(other.model)


def _has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware; False where torch cannot tell."""
    tell: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return bool(tell().get("amx_bf16"))
