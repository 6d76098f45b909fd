"""In which precision the base model computes while an adapter is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from memkit.errors import InvalidInputError
from memkit.lora.serving.hooks import AdapterLayers, copy_without_hooks
from memkit.lora.spec import TrainSpec
from memkit.models.language_model import TransformersModel

_LARGE = 10_000_000  # parameters; below, a step is more calls than products


def chosen_precision(base: TransformersModel, train: TrainSpec) -> str:
    """The precision that a base model trains in: "float32", "bfloat16" or what the model has.

    "auto" means that of the model, but "bfloat16" for models of ten million parameters and more
    on CPUs that multiply it (Intel AMX, AVX-512 BF16): there it is about twice as fast.

    Raises:
        InvalidInputError: If another is asked for than that of a quantized model, which has no
            copy in another.
    """
    own = str(base.model.dtype).removeprefix("torch.")
    if base.quantization is not None:
        if train.precision not in {"auto", own}:
            raise InvalidInputError(
                f"`precision` is {train.precision!r}, a base model that is quantized "
                f"({base.quantization}) trains in that in which it computes, {own}",
                hint="leave `precision` out, or open the memory with another `dtype`",
            )
        return own
    if train.precision != "auto":
        return train.precision
    if base.device.type == "cpu" and base.size >= _LARGE and _multiplies_bfloat16():
        return "bfloat16"
    return own


def in_precision(
    base: TransformersModel, layers: AdapterLayers, precision: str
) -> tuple[TransformersModel, AdapterLayers]:
    """The base model in a precision: itself if it has it, else a copy with hooks of its own.

    Raises:
        InvalidInputError: If a copy would take more memory than the model may.
    """
    dtype: torch.dtype = getattr(torch, precision)
    if base.model.dtype == dtype:
        return base, layers
    model: Any = copy_without_hooks(base.model)  # its `to` carries no usable annotations
    if base.device.type == "cpu":
        # The fused attention's backward pass is many times slower than its parts in bfloat16.
        model.set_attn_implementation("eager")
    left = None if base.max_memory is None else base.max_memory - base.weight_bytes
    other = TransformersModel(model.to(dtype), base.tokenizer, name=base.name, max_memory=left)
    return other, AdapterLayers.of(other)


def _multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; False where torch cannot tell."""
    capabilities: Callable[[], dict[str, object]] = getattr(torch.cpu, "get_capabilities", dict)
    has = capabilities()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))
