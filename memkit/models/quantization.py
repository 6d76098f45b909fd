"""Base models whose linear layers bitsandbytes quantizes while they are loaded.

Adapters stay in 16 or 32 bits, act beside the quantized layers, and are trained through them
(QLoRA, Dettmers et al. 2023, arXiv 2305.14314).
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from memkit.errors import IncompatibleModelError, MissingDependencyError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_PACKS = "support_avx512bf16_for_cpu"  # bitsandbytes' mark of layers that would pack weights


def quantizing(how: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What transformers has to be told to quantize a model that it loads.

    int8 is without the outliers that LLM.int8() keeps in 16 bits: which columns those are
    depends on all rows of a batch, so that an answer would depend on what is asked beside it.

    Args:
        how: "nf4" or "int8".
        device: Where the model computes.
        dtype: In what it computes; int8 products read their input in float16, whatever it is.

    Raises:
        MissingDependencyError: If bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        raise MissingDependencyError(
            f"expected bitsandbytes for `quantization` {how!r}, it is not installed",
            hint="pip install 'memkit-sdk[quantized]'",
        )
    from transformers import BitsAndBytesConfig

    # It says with every product of int8 that it casts the input.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    make: Any = BitsAndBytesConfig  # has no annotations
    config = (
        make(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
        if how == "nf4"
        else make(load_in_8bit=True, llm_int8_threshold=0.0)
    )
    return {"quantization_config": config, "device_map": {"": device}}


def quantization_of(model: PreTrainedModel) -> str | None:
    """What a model's weights are quantized to, in a word; None if they are not."""
    quantizer: Any = getattr(model, "hf_quantizer", None)
    if quantizer is None:
        return None
    config = quantizer.quantization_config
    if getattr(config, "load_in_4bit", False):
        return str(config.bnb_4bit_quant_type)
    return "int8" if getattr(config, "load_in_8bit", False) else str(config.quant_method.value)


def keep_differentiable(model: PreTrainedModel) -> None:
    """Have bitsandbytes compute on the CPU so that gradients pass through its layers.

    In products without gradients it packs weights in place, for CPUs with AVX-512 BF16; no
    gradient passes through packed ones any more.

    Raises:
        IncompatibleModelError: If that has happened to the model already.
    """
    for name, layer in model.named_modules():
        if getattr(layer, _PACKS, False):
            if getattr(getattr(layer.weight, "quant_state", None), "packing_format_for_cpu", False):
                raise IncompatibleModelError(
                    f"expected a quantized model that can be trained through, the weights of "
                    f"{name!r} were packed when it computed",
                    hint="give memkit the model before it has computed anything",
                )
            setattr(layer, _PACKS, False)
