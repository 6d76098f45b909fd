"""Adapter settings as PEFT's own `LoraConfig`: written for it, and read and checked by it.

What memkit would compute otherwise than PEFT does is refused: whatever is more than plain LoRA,
``y = W x + s B A x`` with one rank and one scale for all layers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from peft import LoraConfig

from memkit.errors import InvalidInputError
from memkit.lora.serving.hooks import Scaled
from memkit.types.validate import shown

CONFIG = "adapter_config.json"
MAX_RANK = 1024  # 64 modules of rank 16 in one; a file that claims more is a mistake or an attack
_MAX_ALPHA = 1e9

_PLAIN: Mapping[str, Any] = LoraConfig().to_dict()  # type: ignore[no-untyped-call]
# How the adapter was trained: of no effect on a loaded one, and not PEFT's to check.
_OF_TRAINING = frozenset({"eva_config", "init_lora_weights", "runtime_config"})
# Of no effect on a loaded adapter either: the names of its weights say which layers it has.
_WITHOUT_EFFECT = _OF_TRAINING | set(
    "auto_mapping base_model_name_or_path ensure_weight_tying exclude_modules fan_in_fan_out "
    "inference_mode layers_pattern layers_to_transform lora_dropout megatron_core peft_version "
    "qalora_group_size revision target_modules task_type".split()
)
_UNDERSTOOD = frozenset({"alora_invocation_tokens", "peft_type", "r", "lora_alpha", "use_rslora"})
# Others, such as "pissa", go with a changed base model.
_INITS = (None, True, False, "gaussian", "eva", "orthogonal")


def config_of(
    part: Scaled,
    *,
    base_model: str | None,
    conv1d: bool,
    trainable: bool = False,
    invocation: Sequence[int] = (),
) -> LoraConfig:
    """The settings of an adapter.

    The scale goes in as alpha, whatever rule it came from: PEFT 0.21.2 applies rsLoRA's rule
    twice when it merges adapters. ``conv1d`` says that the base stores its weights as (in, out),
    like GPT-2. ``invocation`` has the tokens from which on the adapter acts; none for all tokens.
    """
    return LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_model,
        inference_mode=not trainable,
        r=part.rank,
        lora_alpha=part.scale * part.rank,  # type: ignore[arg-type]  # PEFT takes any number
        fan_in_fan_out=conv1d,
        target_modules=sorted(part.adapter),
        alora_invocation_tokens=list(invocation) or None,
    )


def as_json_values(config: LoraConfig) -> dict[str, Any]:
    """Settings as PEFT saves them, in one order whatever the order of its sets."""
    values: dict[str, Any] = config.to_dict()  # type: ignore[no-untyped-call]
    return {n: sorted(value) if isinstance(value, set) else value for n, value in values.items()}


def checked_config(values: Mapping[str, Any]) -> LoraConfig:
    """Settings from the values of an ``adapter_config.json``, which is not trusted.

    Raises:
        InvalidInputError: If it is not plain LoRA, a value is out of range, or PEFT refuses it.
    """
    _check_plain(values)
    known = {name: values[name] for name in values.keys() & _PLAIN.keys() - _OF_TRAINING}
    try:
        config = LoraConfig(**known)
    except (TypeError, ValueError) as exc:
        raise InvalidInputError(
            f"expected settings that PEFT accepts in {CONFIG}, it says: {str(exc)[:200]}",
            hint="save the adapter again with `save_pretrained`",
        ) from exc
    _check_rank(values.get("r"))
    _check_alpha(values.get("lora_alpha"))
    _check_invocation(values.get("alora_invocation_tokens"))
    return config


def scale_of(config: LoraConfig) -> float:
    """The factor s in ``W + s B A``."""
    return float(config.lora_alpha) / (math.sqrt(config.r) if config.use_rslora else config.r)


def _check_plain(values: Mapping[str, Any]) -> None:
    if values.get("peft_type") != "LORA":
        raise InvalidInputError(
            f"expected an adapter of `peft_type` 'LORA', got {shown(values.get('peft_type'))}"
        )
    foreign = {
        name
        for name, value in values.items()
        if name not in _WITHOUT_EFFECT | _UNDERSTOOD
        and (value or None) != (_PLAIN.get(name) or None)  # PEFT writes {}, None or False for off
    }
    if values.get("init_lora_weights") not in _INITS:
        foreign.add("init_lora_weights")
    if foreign:
        names = ", ".join(f"`{name}`" for name in sorted(foreign))
        raise InvalidInputError(
            f"expected a plain LoRA adapter, {CONFIG} also sets {names[:200]}",
            hint="train or save the adapter without; memkit would not compute what PEFT does",
        )
    if not isinstance(values.get("use_rslora", False), bool):
        raise InvalidInputError(f"expected `use_rslora` to be a boolean in {CONFIG}")


def _check_rank(rank: object) -> None:
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise InvalidInputError(f"expected `r` in 1..{MAX_RANK} in {CONFIG}, got {_short(rank)}")


def _check_alpha(alpha: object) -> None:
    known = isinstance(alpha, int | float) and not isinstance(alpha, bool)
    # Compared, not converted: an integer may be too large for a float.
    if not known or not -_MAX_ALPHA <= alpha <= _MAX_ALPHA:  # type: ignore[operator]
        raise InvalidInputError(
            f"expected `lora_alpha` to be a finite number in {CONFIG}, got {_short(alpha)}"
        )


def _check_invocation(tokens: object) -> None:
    if tokens is not None and not (
        isinstance(tokens, list) and tokens and all(type(token) is int for token in tokens)
    ):
        raise InvalidInputError(
            f"expected `alora_invocation_tokens` to be token ids in {CONFIG}, got {_short(tokens)}"
        )


def _short(value: object) -> str:
    return repr(value)[:40]
