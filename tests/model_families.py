"""A tiny random model of each family of causal language models that memkit was tried with."""

import warnings

import torch
import transformers

from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,  # wide, so that a random model says something clearly
}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, "initializer_range": 0.3}
_BARE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_WINDOW = {"sliding_window": 16}  # shorter than any prompt
_HALF_WINDOW = {**_WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
_HEADS_OF_8 = {"head_dim": 8}
_LATENT = {
    "num_key_value_heads": 4, "moe_intermediate_size": 16, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
    "v_head_dim": 8, "n_group": 1, "topk_group": 1,
}  # fmt: skip
_MAMBA = {"mamba_n_heads": 8, "mamba_d_state": 8, "mamba_d_head": 8, "mamba_n_groups": 1}
_DELTA_NET = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip

# Class names of transformers begin with the first entry; the second are the settings.
KEEPING_KEYS_AND_VALUES = {
    "llama": ("Llama", _SIZES),
    "mistral": ("Mistral", _SIZES | _WINDOW),
    "qwen2": ("Qwen2", _SIZES),
    "qwen3": ("Qwen3", _SIZES | _HEADS_OF_8),
    "qwen2_moe": ("Qwen2Moe", _SIZES | _EXPERTS | {"shared_expert_intermediate_size": 16}),
    "qwen3_moe": ("Qwen3Moe", _SIZES | _EXPERTS | _HEADS_OF_8),
    "gemma": ("Gemma", _SIZES | _HEADS_OF_8),
    "gemma2": ("Gemma2", _SIZES | _HALF_WINDOW | _HEADS_OF_8 | {"query_pre_attn_scalar": 8}),
    "gemma3_text": ("Gemma3", _SIZES | _HALF_WINDOW | _HEADS_OF_8 | {"query_pre_attn_scalar": 8}),
    "phi": ("Phi", _SIZES),
    "phi3": ("Phi3", _SIZES | {"sliding_window": None}),
    "phimoe": ("Phimoe", _SIZES | _LOCAL_EXPERTS),
    "gpt2": ("GPT2", _GPT),
    "gpt_bigcode": ("GPTBigCode", _GPT),
    "gpt_neo": ("GPTNeo", {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16,
        "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }),
    "gptj": ("GPTJ", _GPT | {"rotary_dim": 4}),
    "gpt_neox": ("GPTNeoX", _SIZES),
    "gpt_oss": ("GptOss", _SIZES | _LOCAL_EXPERTS | _WINDOW | _HEADS_OF_8),
    "codegen": ("CodeGen", _GPT | {"rotary_dim": 4}),
    "opt": ("OPT", _BARE | {
        "ffn_dim": 48, "max_position_embeddings": 512, "word_embed_proj_dim": 32, "init_std": 0.3,
    }),
    "bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3}),
    "falcon": ("Falcon", _BARE | {"initializer_range": 0.3}),
    "falcon (ALiBi)": ("Falcon", _BARE | {"initializer_range": 0.3, "alibi": True}),
    "stablelm": ("StableLm", _SIZES),
    "starcoder2": ("Starcoder2", _SIZES | _WINDOW),
    "persimmon": ("Persimmon", _SIZES),
    "nemotron": ("Nemotron", _SIZES),
    "olmo": ("Olmo", _SIZES),
    "olmo2": ("Olmo2", _SIZES),
    "olmo3": ("Olmo3", _SIZES | _HALF_WINDOW),
    "olmoe": ("Olmoe", _SIZES | _EXPERTS),
    "cohere": ("Cohere", _SIZES),
    "cohere2": ("Cohere2", _SIZES | _HALF_WINDOW),
    "granite": ("Granite", _SIZES | {"logits_scaling": 8.0, "residual_multiplier": 0.5}),
    "granitemoe": ("GraniteMoe", _SIZES | _LOCAL_EXPERTS | {"logits_scaling": 8.0}),
    "mixtral": ("Mixtral", _SIZES | _LOCAL_EXPERTS),
    "dbrx": ("Dbrx", {
        "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "initializer_range": 0.3,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    }),
    "deepseek_v2": ("DeepseekV2", _SIZES | _LATENT),
    "deepseek_v3": ("DeepseekV3", _SIZES | _LATENT),
    "llama4_text": ("Llama4", _SIZES | _LOCAL_EXPERTS | _HEADS_OF_8 | {
        "intermediate_size_mlp": 16, "num_experts_per_tok": 1, "attention_chunk_size": 16,
        "interleave_moe_layer_step": 2,
    }),
    "smollm3": ("SmolLM3", _SIZES),
    "glm": ("Glm", _SIZES | _HEADS_OF_8),
    "glm4": ("Glm4", _SIZES | _HEADS_OF_8),
    "ernie4_5": ("Ernie4_5", _SIZES),
    "exaone4": ("Exaone4", _SIZES | _HALF_WINDOW),
}  # fmt: skip
READING_AGAIN = {
    "bart": ("Bart", {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "init_std": 0.3,
    }),
    "mpt": ("Mpt", {
        "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512, "initializer_range": 0.3,
    }),
    "mamba": ("Mamba", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3,
    }),
    "mamba2": ("Mamba2", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8,
        "n_groups": 1, "chunk_size": 16, "initializer_range": 0.3,
    }),
    "falcon_mamba": ("FalconMamba", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3,
    }),
    "lfm2": ("Lfm2", _SIZES | {"layer_types": ["conv", "full_attention"]}),
    "rwkv": ("Rwkv", {
        "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32,
        "context_length": 512,
    }),
    "jamba": ("Jamba", _SIZES | {
        "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    }),
    "bamba": ("Bamba", _SIZES | _MAMBA | {"attn_layer_indices": [1]}),
    "falcon_h1": ("FalconH1", _SIZES | _MAMBA | {"mamba_d_ssm": 64, "lm_head_multiplier": 0.5}),
    "granitemoehybrid": ("GraniteMoeHybrid", _SIZES | _LOCAL_EXPERTS | _MAMBA | {
        "logits_scaling": 8.0, "shared_intermediate_size": 16,
        "layer_types": ["mamba", "attention"],
    }),
    "qwen3_next": ("Qwen3Next", _SIZES | _EXPERTS | _HEADS_OF_8 | _DELTA_NET | {
        "shared_expert_intermediate_size": 16,
    }),
    "minimax": ("MiniMax", _SIZES | _LOCAL_EXPERTS | _HEADS_OF_8 | {
        "layer_types": ["linear_attention", "full_attention"], "block_size": 16,
    }),
    "recurrent_gemma": ("RecurrentGemma", _SIZES | _HEADS_OF_8 | {
        "lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"],
    }),
    "xlstm": ("xLSTM", {"hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4}),
}  # fmt: skip
REFUSED = {
    "bert": ("Bert", _SIZES, "makes its logits of more than the last hidden state"),
    "xlnet": (
        "XLNet",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
        "makes of a token what depends on the tokens behind it",
    ),
    "t5": (
        "T5",
        {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
        "has an encoder beside its decoder",
    ),
}
WORKING = KEEPING_KEYS_AND_VALUES | READING_AGAIN

_ENDINGS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def tiny_of(family: str, seed: int = 0) -> TransformersModel:
    """A random model of two layers with the ChatML tokenizer of `tiny_llama`."""
    prefix, sizes, *_ = (WORKING | REFUSED)[family]
    tokenizer = tiny_llama().tokenizer
    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    ids = {name: getattr(tokenizer, name) for name in special}
    text = f"{prefix}TextConfig"
    configuration = getattr(transformers, text if family.endswith("_text") else f"{prefix}Config")
    model = next(
        getattr(transformers, prefix + ending)
        for ending in _ENDINGS
        if hasattr(transformers, prefix + ending)
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on kernels that are not installed
        torch.manual_seed(seed)
        made = model(configuration(**{**sizes, **ids, "vocab_size": len(tokenizer)}))
    return TransformersModel(made, tokenizer, name=f"tiny-{family}")
