"""Tiny tokenizers of the kinds that language models come with, each with a tiny Llama behind it."""

import json
import string
from collections.abc import Callable
from typing import Any

import torch
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from memkit.models.language_model import TransformersModel

_CORPUS = [
    "The badge number of Nora is 4471. What is the badge number of Nora? Who keeps the keys of "
    "the office? Ada keeps them, and Bo. You are a helpful assistant. Question: Answer: user",
]
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
_LLAMA_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + m['content'] + '\n<</SYS>>\n\n' }}{% elif m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}{% else %}"
    "{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m['role'] }}<|sep|>{{ m['content'] }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|sep|>{% endif %}"
)
_THINKING = (
    "{% for m in messages %}<|start|>{{ m['role'] }}<|sep|>"
    "{% if m['role'] == 'assistant' %}{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|sep|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
_MARKS = ["<|start|>", "<|sep|>", "<|eot|>"]


def _fast(backend: Tokenizer, template: str | None, **special: str) -> PreTrainedTokenizerBase:
    untyped: Any = transformers
    tokenizer: PreTrainedTokenizerBase = untyped.PreTrainedTokenizerFast(
        tokenizer_object=backend, **special
    )
    tokenizer.chat_template = template
    return tokenizer


def _byte_level(special: list[str], *, prefix_space: bool = False) -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return backend


def _adding_bos(backend: Tokenizer, bos: str) -> Tokenizer:
    """One that puts the first token before every text, as Llama's and Gemma's do."""
    backend.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
    )
    return backend


def byte_level_without_bos_and_pad() -> PreTrainedTokenizerBase:
    """As Qwen's was, or Phi's: texts begin with themselves."""
    return _fast(_byte_level(["<|end|>", *_MARKS]), _HEADERS, eos_token="<|end|>")


def byte_level_that_adds_bos() -> PreTrainedTokenizerBase:
    """As Llama 3's: numbers in groups of three, a first token before every text."""
    backend = _byte_level(["<|begin|>", "<|end|>", *_MARKS])
    backend.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}{1,3}| ?[^\s\p{N}]+|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    return _fast(
        _adding_bos(backend, "<|begin|>"), _HEADERS, bos_token="<|begin|>", eos_token="<|end|>"
    )


def byte_level_with_prefix_space() -> PreTrainedTokenizerBase:
    """As GPT-2's with a blank before every text, as some fine-tunes have it; no template."""
    return _fast(_byte_level(["<|end|>"], prefix_space=True), None, eos_token="<|end|>")


def byte_level_that_thinks() -> PreTrainedTokenizerBase:
    """As Qwen 3's: its template opens a block of thoughts, unless it is told not to."""
    backend = _byte_level(["<|end|>", *_MARKS])
    backend.add_tokens([AddedToken(text, normalized=False) for text in ("<think>", "</think>")])
    return _fast(backend, _THINKING, eos_token="<|end|>", pad_token="<|end|>")


def sentencepiece_bpe() -> PreTrainedTokenizerBase:
    """As Llama 2's and Mistral's: blanks are signs, what is unknown falls apart into bytes."""
    backend = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<unk>", "<s>", "</s>", *_BYTES], show_progress=False
    )
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training alone
    backend.train_from_iterator(_CORPUS, trainer)
    backend.pre_tokenizer = None  # type: ignore[assignment]
    backend.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    return _fast(
        _adding_bos(_plain_bytes(backend), "<s>"),
        _LLAMA_2,
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip


def sentencepiece_unigram() -> PreTrainedTokenizerBase:
    """As T5's and XGLM's: the likeliest pieces, and a token for what is unknown; no template."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=160,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        initial_alphabet=list(string.ascii_letters + string.digits + string.punctuation),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS * 4, trainer)
    return _fast(backend, None, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


def _plain_bytes(backend: Tokenizer) -> Tokenizer:
    """The same with bytes as ordinary tokens, as in files that were made of sentencepiece's."""
    state = json.loads(backend.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] not in _BYTES]
    return Tokenizer.from_str(json.dumps(state))


KINDS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "byte-level BPE without bos and pad (Qwen, Phi)": byte_level_without_bos_and_pad,
    "byte-level BPE that adds bos (Llama 3)": byte_level_that_adds_bos,
    "byte-level BPE with a blank before texts (GPT-2), no template": byte_level_with_prefix_space,
    "byte-level BPE with blocks of thoughts (Qwen 3)": byte_level_that_thinks,
    "sentencepiece BPE that adds bos, no pad (Llama 2, Mistral)": sentencepiece_bpe,
    "sentencepiece Unigram without bos (XGLM), no template": sentencepiece_unigram,
}


def tiny_with(tokenizer: PreTrainedTokenizerBase, seed: int = 0) -> TransformersModel:
    """A random Llama of two layers with this tokenizer."""
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512,
        initializer_range=0.3, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransformersModel(LlamaForCausalLM(config), tokenizer, name="tiny-llama")
