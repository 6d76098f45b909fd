"""Random models of published shapes, saved as folders; and what they take, by arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from memkit.lora.serving.hooks import AdapterLayers
from memkit.lora.spec import LoraSpec
from memkit.lora.training.step_memory import kept_bytes
from memkit.models.cache_bounds import token_bytes
from memkit.models.gguf import converted
from memkit.models.sources import find_base, quiet
from memkit.testing import tiny_llama

SPEC = LoraSpec(rank=8)
_LLAMA3: dict[str, Any] = {
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
}
# The published configurations of Llama 3.2 1B and Llama 3.1 8B.
SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 512, "tie_word_embeddings": True,
    },
    "1b": {
        **_LLAMA3, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "8b": {
        **_LLAMA3, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": False,
    },
}  # fmt: skip


class Arithmetic(NamedTuple):
    """What a shape takes.

    Attributes:
        parameters: How many there are.
        weights: Bytes of them.
        token: Bytes of keys and values of one token.
        row: Bytes of a stored adapter of `SPEC`, in float16.
        trained_token: Bytes that a training step keeps of a token, about.
        trained_again: The same where layers are computed again in the backward pass.
    """

    parameters: int
    weights: int
    token: int
    row: int
    trained_token: int
    trained_again: int


def reckon(shape: str, dtype: torch.dtype) -> Arithmetic:
    """What a shape takes in a precision; nothing is allocated."""
    config = LlamaConfig(**SHAPES[shape])
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    parameters = sum(weights.numel() for weights in model.parameters())
    targets = AdapterLayers(model).targets(SPEC)
    kept = kept_bytes(config, targets, dtype)
    return Arithmetic(
        parameters=parameters,
        weights=parameters * dtype.itemsize,
        token=token_bytes(config, dtype.itemsize),
        row=2 * SPEC.rank * sum(n_in + n_out for n_in, n_out in targets.values()),
        trained_token=kept.whole,
        trained_again=kept.little,
    )


def save(shape: str, dtype: str, folder: str) -> None:
    """Save a random model of a shape, with the default model's tokenizer; the tiny one has its own.

    Args:
        shape: Name in `SHAPES`.
        dtype: Of the weights in the file.
        folder: Where to.
    """
    torch.manual_seed(0)
    kind: torch.dtype = getattr(torch, dtype)
    tokenizer: Any = tiny_llama().tokenizer
    if shape != "tiny":
        source = find_base()
        tokenizer = AutoTokenizer.from_pretrained(
            converted(source.path) if source.gguf else source.path
        )
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id")}
    config = LlamaConfig(**SHAPES[shape], **ids)
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with quiet():
        model.save_pretrained(Path(folder))
        tokenizer.save_pretrained(Path(folder))
