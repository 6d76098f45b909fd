"""Small stand-ins for the default models: a hashing embedder and random language models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from memkit.text.word_hash import hashed
from memkit.text.words import STOP_WORDS
from memkit.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from memkit.lora.consolidation.consolidate import Recipe
    from memkit.models.language_model import TransformersModel

    Floats2d = NDArray[np.float32]

# What the tiny tokenizer learns its merges from; any other text falls back on bytes.
_CORPUS = (
    "The night porter's badge number is 4471. Which badge does the night porter have? Who runs "
    "the harbour office, and where is it? Ada Lovelace works in the archive on the third floor; "
    "her extension is 2096. The warehouse closes at 18:30 on weekdays. What is the phone number "
    "of the person who keeps the keys? You are a helpful assistant. Question: Answer: I do not "
    "know that."
)
_CHATML = (
    "{% if not messages or messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    # Wider than the usual 0.02: a frozen random model has to be able to say something clearly.
    "initializer_range": 0.3,
    "tie_word_embeddings": True,
}
_GATED: dict[str, Any] = {"intermediate_size": 128, "num_key_value_heads": 2}  # Llama and its kin


class HashingEmbedder:
    """Bag of words by feature hashing; implements `memkit.protocols.Embedder`.

    Deterministic on every machine: each word goes to a signed coordinate that is a hash of it.
    Texts that share words are similar, stop words aside; it knows nothing else.
    """

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.name = f"hashing-{dim}"

    def encode_query(self, texts: Sequence[str], /) -> Floats2d:
        """See `memkit.protocols.Embedder.encode_query`."""
        return self.encode_document(texts)

    def encode_document(self, texts: Sequence[str], /) -> Floats2d:
        """See `memkit.protocols.Embedder.encode_document`."""
        rows = np.zeros((len(texts), self.dim), dtype=np.float32)
        for place, text in enumerate(texts):
            words = re.findall(r"\w+", text.lower()) or [text]
            telling = [word for word in words if word not in STOP_WORDS]
            rows[place] = hashed(telling or words, self.dim)
        return rows


def tiny_llama(seed: int = 0) -> TransformersModel:
    """A random Llama of 2 layers with a ChatML template; it can be trained in seconds."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return _tiny(LlamaForCausalLM, LlamaConfig, "llama", seed, **_GATED)


def tiny_qwen2(seed: int = 0) -> TransformersModel:
    """A random Qwen2 of 2 layers with a ChatML template; its projections have biases."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return _tiny(Qwen2ForCausalLM, Qwen2Config, "qwen2", seed, **_GATED)


def tiny_gpt2(seed: int = 0) -> TransformersModel:
    """A random GPT-2 of 2 layers, without a chat template; its projections are ``Conv1D``."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return _tiny(GPT2LMHeadModel, GPT2Config, "gpt2", seed, chat=False)


def tiny_recipe(records_per_module: int) -> Recipe:
    """What trains a few facts into a `tiny_llama` within a second, the same on every CPU."""
    from memkit.lora.consolidation.consolidate import Recipe
    from memkit.lora.spec import LoraSpec, TrainSpec

    train = TrainSpec(
        epochs=150, batch_size=2, learning_rate=2e-3, guards=0, mastery=0.9, precision="float32"
    )
    return Recipe(
        lora=LoraSpec(rank=16, layers=(0, 1)),
        train=train,
        records_per_module=records_per_module,
        reworded_bar=0.0,
        progress=False,
    )


def new_record(
    id: str,
    text: str,
    question: str | None = None,
    answer: str | None = None,
    scope: Mapping[str, str] | None = None,
) -> Record:
    """Give a record of version 1 as the ledger has it; its metadata has its id."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Record(id, text, question, answer, scope or {}, {"id": id}, now, now, 1, digest)


def _tiny(
    model: type[PreTrainedModel],
    config: type[PretrainedConfig],
    name: str,
    seed: int,
    *,
    chat: bool = True,
    **sizes: Any,
) -> TransformersModel:
    import torch

    from memkit.models.language_model import TransformersModel

    tokenizer: Any = _tokenizer(chat=chat)
    ids = {key: getattr(tokenizer, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    configured = config(**{**_SIZES, **sizes, **ids, "vocab_size": len(tokenizer)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransformersModel(model(configured), tokenizer, name=f"tiny-{name}-{seed}")


@lru_cache(maxsize=2)
def _tokenizer(*, chat: bool) -> PreTrainedTokenizerBase:
    """A byte-level BPE of some 400 tokens: any text makes the round trip."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] if chat else ["<|endoftext|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        [_CORPUS],
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    untyped: Any = transformers
    tokenizer: PreTrainedTokenizerBase = untyped.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special[1] if chat else special[0],
        eos_token=special[-1],
        pad_token=special[0],  # its embedding starts as zeros, so not the token to be learned
    )
    if chat:
        tokenizer.chat_template = _CHATML
    return tokenizer
