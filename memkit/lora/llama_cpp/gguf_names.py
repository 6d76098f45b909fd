"""What llama.cpp calls the linear layers of a model, and in which order it has their rows.

The names are gguf's own table. The order is the rule of llama.cpp's converter: it computes rotary
embeddings of some architectures on neighbouring dimensions (x0 x1), (x2 x3), ..., where
transformers pairs the first half of a head with the second. So the rows of the query and key
projections change places, and with them the rows of an adapter's ``b``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gguf
from torch import Tensor
from transformers import PreTrainedConfig

from memkit.errors import UnsupportedOperationError

_ROTATED = ("q_proj", "k_proj")


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp makes of a type of model.

    Attributes:
        name: In GGUF files, as ``general.architecture``.
        neighbours: Whether rotary embeddings pair neighbouring dimensions.
    """

    name: str
    neighbours: bool = False


# By `model_type` of transformers. Each was run in llama.cpp beside transformers with an adapter on
# every linear layer (tests/parity/test_llama_cpp.py); others are refused.
ARCHITECTURES = {
    "gemma": Architecture("gemma"),
    "gemma2": Architecture("gemma2"),
    "granite": Architecture("granite", neighbours=True),
    "llama": Architecture("llama", neighbours=True),
    "mistral": Architecture("llama", neighbours=True),
    "olmo2": Architecture("olmo2"),
    "phi3": Architecture("phi3"),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "smollm3": Architecture("smollm3", neighbours=True),
    "starcoder2": Architecture("starcoder2"),
}


class GGUFNames:
    """The layers of one model, as llama.cpp has them.

    Args:
        config: The model's configuration.

    Raises:
        UnsupportedOperationError: If it is of a type whose layers in GGUF are not known.
    """

    def __init__(self, config: PreTrainedConfig) -> None:
        self._config: Any = config.get_text_config()
        found = ARCHITECTURES.get(self._config.model_type)
        if found is None:
            raise UnsupportedOperationError(
                f"expected a base model of a type in {sorted(ARCHITECTURES)} for GGUF, got one of "
                f"type {self._config.model_type!r}",
                hint="export for PEFT (`format='peft'`); llama.cpp's convert_lora_to_gguf.py may "
                "convert what is written",
            )
        self.architecture = found
        number = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[found.name]
        self._names = gguf.get_tensor_name_map(number, self._config.num_hidden_layers)

    def tensor(self, layer: str) -> str:
        """The name of a layer's weights, such as ``blk.0.attn_q.weight``.

        Raises:
            UnsupportedOperationError: If llama.cpp has no such layer.
        """
        name = self._names.get_name(layer)
        if name is None:
            raise UnsupportedOperationError(
                f"expected layers that llama.cpp has in a {self.architecture.name!r} model, got "
                f"an adapter of {layer!r}",
                hint="export for PEFT: `format='peft'`",
            )
        return f"{name}.weight"

    def rows(self, layer: str, weights: Tensor) -> Tensor:
        """Weights of a layer with their rows, the outputs, in llama.cpp's order.

        Args:
            layer: Its name in transformers.
            weights: Shape ``(out, n)``; of an adapter, its ``b``.
        """
        leaf = layer.rpartition(".")[2]
        if not (self.architecture.neighbours and leaf in _ROTATED):
            return weights
        config = self._config
        heads = config.num_attention_heads if leaf == "q_proj" else config.num_key_value_heads
        halves = weights.reshape(heads, 2, -1, weights.shape[1])  # head, half, place in it, n
        return halves.transpose(1, 2).reshape(weights.shape)
