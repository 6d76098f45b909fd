"""Loading a language model of transformers, with its tokenizer, to where it computes."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from memkit.errors import CorruptFileError, IncompatibleModelError
from memkit.models.cache_bounds import room_beside
from memkit.models.gguf import converted
from memkit.models.placement import Placement
from memkit.models.quantization import quantizing
from memkit.models.sources import find_base, quiet

logger = logging.getLogger(__name__)


def load_model(
    spec: str | Path | None, placement: Placement
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, str]:
    """Give a model, its tokenizer and its name; see `TransformersModel.load` for the errors."""
    device = placement.torch_device()
    dtype = placement.torch_dtype(device)
    source = find_base(spec)
    folder = converted(source.path) if source.gguf else source.path
    if placement.max_memory is not None and placement.quantization is None:
        weights = stored_parameters(folder) * dtype.itemsize
        room_beside(weights, limit=placement.max_memory, free=0, name=source.name)
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True}
    if placement.attn_implementation is not None:
        options["attn_implementation"] = placement.attn_implementation
    if placement.quantization is not None:
        options |= quantizing(placement.quantization, device, dtype)
    try:
        with quiet():
            _check_type(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    except SafetensorError as error:
        raise _corrupt(folder, error) from error
    except (ImportError, OSError, ValueError, LookupError) as error:
        raise IncompatibleModelError(
            f"expected a causal language model and its tokenizer in {str(folder)!r}, "
            f"transformers cannot load them: {error}",
            hint=_hint(placement.attn_implementation),
        ) from error
    attention = model.config.get_text_config()._attn_implementation  # noqa: SLF001 - nothing public
    logger.info("%s computes on %s in %s, attention by %s", source.name, device, dtype, attention)
    if placement.quantization is None:
        model = model.to(device)
    return model, tokenizer, source.name


def stored_parameters(folder: Path) -> int:
    """How many parameters a folder's model has, by its files' headers; tied ones are stored once.

    Raises:
        CorruptFileError: If a header cannot be read.
    """
    count = 0
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt") as tensors:
                slices = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118
                count += sum(math.prod(each.get_shape()) for each in slices)
        except (SafetensorError, OSError) as error:
            raise _corrupt(folder, error) from error
    return count


def _weight_files(folder: Path) -> list[Path]:
    """The files that transformers loads: others may have the same weights under other names."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if (folder / SAFE_WEIGHTS_NAME).exists() or not index.exists():
        return [file for file in [folder / SAFE_WEIGHTS_NAME] if file.exists()]
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise _corrupt(folder, error) from error
    return [folder / name for name in sorted(names)]


def _corrupt(folder: Path, error: Exception) -> CorruptFileError:
    return CorruptFileError(
        f"the weights in {str(folder)!r} cannot be read: {error}",
        hint="delete the folder, so that it is made or fetched again",
    )


def _check_type(folder: Path) -> None:
    """Refuse what is no causal language model to transformers: what else may see or hear."""
    config = AutoConfig.from_pretrained(folder)
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise IncompatibleModelError(
            f"expected a causal language model in {str(folder)!r}, got a model of type "
            f"{config.model_type!r}, which transformers does not load as one",
            hint="use a decoder-only model of text; docs/models.md lists those that were tried",
        )


def _hint(attention: str | None) -> str:
    if attention is None:
        return ""
    return f"`attn_implementation` is {attention!r}; leave it out if that is what is missing"
