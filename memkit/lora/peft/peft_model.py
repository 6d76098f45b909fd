"""An adapter as a model of PEFT's, for everything that other programs do with one."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from transformers import PreTrainedModel

from memkit.errors import UnsupportedOperationError
from memkit.lora.peft.peft_config import config_of
from memkit.lora.peft.peft_format import state_dict_of
from memkit.lora.serving.hooks import Scaled, copy_without_hooks, stores_transposed
from memkit.models.language_model import TransformersModel


def peft_model(base: TransformersModel, part: Scaled, *, trainable: bool = False) -> PeftModel:
    """A model of PEFT's with one adapter, which computes what memkit serves.

    It is a copy of the base model, weights included. PEFT replaces layers, and its merges write
    into the weights: nothing that is done to the copy may reach the answers of the memory. So
    it costs the memory of the base model once more, until it is let go of.

    Args:
        base: The base model.
        part: The adapter, such as `memkit.lora.lora_backend.LoraBackend.stored` gives.
        trainable: Whether the adapter's factors want gradients.

    Returns:
        In eval mode, on the base model's device and in its precision; the adapter is "default".

    Raises:
        UnsupportedOperationError: If PEFT puts it on other layers: for some mixtures of experts
            (DeepSeek, Qwen3-Next) it takes the names of dense layers for those of experts.
    """
    with base.hold():  # so that no adapter is in place in what is copied
        model = copy_without_hooks(base.model)
    config = config_of(part, base_model=None, conv1d=stores_transposed(model), trainable=trainable)
    adapted = _adapted(model, config, part)
    config.base_model_name_or_path = base.name  # PEFT put the weights' folder there
    set_peft_model_state_dict(adapted, state_dict_of(part.adapter))
    return adapted.eval()


def check_layers(base: TransformersModel, part: Scaled) -> None:
    """Check that PEFT adapts the layers that an adapter is for; no weights are made for that.

    Raises:
        UnsupportedOperationError: As `peft_model`.
    """
    kind: Any = type(base.model)
    with torch.device("meta"):
        model = kind(base.model.config)
    config = config_of(part, base_model=None, conv1d=stores_transposed(model))
    _adapted(model, config, part)


def _adapted(model: PreTrainedModel, config: LoraConfig, part: Scaled) -> PeftModel:
    # The factors stay in the base model's precision, as memkit serves them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what is looked at next
        # PEFT asks transformers under an old name: nobody who exports can do anything about it.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    tuner: Any = adapted.base_model  # annotated as any module
    if others := set(part.adapter) ^ set(tuner.targeted_module_names):
        raise UnsupportedOperationError(
            f"expected PEFT to adapt the layers of the module in a model of type "
            f"{model.config.model_type!r}, it takes {len(others)} for others, such as "
            f"{min(others)!r}",
            hint="train with `LoraSpec(target_modules='attention')` to use modules of this model "
            "in PEFT",
        )
    return adapted
