"""Tiny models as GGUF files, written the way llama.cpp's converter does, in float32.

Independent of what memkit writes: llama.cpp has to compute with a file what transformers does.
"""

import json

import gguf
import numpy as np

ARCHITECTURES = {"mistral": "llama"}  # by `model_type`; others have their own name
ROTATED = {"llama", "mistral", "smollm3", "granite"}  # rotary dimensions are interleaved


def interleaved(weight, heads):
    """llama.cpp's order of rotary dimensions."""
    weight = weight.reshape(len(weight), -1)
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows, columns)


def write_gguf(path, model):
    """Write a tiny model and its tokenizer."""
    config, kind = model.model.config, model.model.config.model_type
    architecture = ARCHITECTURES.get(kind, kind)
    writer = gguf.GGUFWriter(str(path), architecture)
    describe(writer, config)
    write_tokenizer(writer, model.tokenizer)
    number = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    for name, tensor in model.model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weight = tensor.numpy()
        stem, _, kind_of = name.rpartition(".")
        leaf = stem.rpartition(".")[2]
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        if kind in ROTATED and leaf in heads:
            weight = interleaved(weight, heads[leaf]).reshape(weight.shape)
        if kind.startswith("gemma") and "norm" in leaf:
            weight = weight + 1  # transformers adds it when it computes
        writer.add_tensor(f"{names.get_name(stem)}.{kind_of}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def describe(writer, config):
    """What llama.cpp has to know of a configuration."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if hasattr(config, "rms_norm_eps"):
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    else:
        writer.add_layer_norm_eps(config.norm_epsilon)
    if config.model_type == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "granite":
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def write_tokenizer(writer, tokenizer):
    """Write a byte-level BPE."""
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    special = set(tokenizer.all_special_tokens)
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.NORMAL}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([kinds[token in special] for token in vocabulary])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_unk_token_id(tokenizer.pad_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_chat_template(tokenizer.chat_template)
