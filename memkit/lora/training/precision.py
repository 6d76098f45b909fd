"""In which precision the base model computes while an adapter is trained."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from memkit.lora.layers import AdapterLayers, linear_layers
from memkit.models.base import BaseModel


def training_dtype(base: BaseModel, precision: str) -> torch.dtype:
    """The precision that a base model trains in.

    Args:
        base: The base model.
        precision: As in `memkit.lora.spec.TrainSpec`. "auto" means bfloat16 on CPUs with
            matrix units for it (Intel AMX), which is faster there, and elsewhere
            what the model has.
    """
    if precision != "auto":
        dtype: torch.dtype = getattr(torch, precision)
        return dtype
    return torch.bfloat16 if base.device.type == "cpu" and _has_amx() else base.model.dtype


def in_precision(
    base: BaseModel, layers: AdapterLayers, dtype: torch.dtype
) -> tuple[BaseModel, AdapterLayers]:
    """The base model in a precision: itself if it has it, else a copy with hooks of its own."""
    if base.model.dtype == dtype:
        return base, layers
    model: Any = copy.deepcopy(base.model)  # its `to` carries no usable annotations
    for layer in linear_layers(model).values():
        # Copied as well, and tied to what the original has in place.
        layer._forward_hooks.clear()  # noqa: SLF001 - only their handles remove them in public
    # The fused attention's backward pass is many times slower than its parts in bfloat16.
    model.set_attn_implementation("eager")
    other = BaseModel(model.to(dtype), base.tokenizer, name=base.name)
    return other, AdapterLayers(other.model)


def _has_amx() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware; False where torch cannot tell."""
    tell: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    return bool(tell().get("amx_bf16"))
