"""A tiny random model of each family of causal language models that memkit was tried with.

The tests in ``tests/unit/test_model_families.py`` hold every entry to what it says of itself, and
``tests/models_page.py`` makes docs/models.md of the table.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from memkit.models.language_model import TransformersModel
from memkit.testing import tiny_llama


@dataclass(frozen=True)
class Family:
    """What is known of one family.

    Attributes:
        known_as: Models of it that people use.
        settings: Of a tiny one.
        left: Last names of linear layers in the decoder layers that are not adapted.
        experts: Whether it has experts, which are never adapted.
        peft: Whether PEFT puts an adapter of all linear layers on the layers that memkit does.
        why: Why it is refused, in the words of the error; None if it works.
    """

    known_as: str
    settings: Mapping[str, Any]
    left: frozenset[str] = frozenset()
    experts: bool = False
    peft: bool = True
    why: str | None = None


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
_MAMBA = {
    "mamba_n_heads": 8,
    "mamba_d_state": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 16,
}
_DELTA_NET = {
    "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
    "linear_value_head_dim": 8, "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
_LONG_ROPE = {  # other frequencies for rows of more than 48 tokens
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4,
    "long_factor": [2.0, 4.0, 6.0, 8.0], "original_max_position_embeddings": 48,
}  # fmt: skip
_GEMMA_3 = _SIZES | _HALF_WINDOW | _HEADS_OF_8 | {"query_pre_attn_scalar": 8}
_GEMMA_4 = _SIZES | _HALF_WINDOW | _HEADS_OF_8 | {
    "global_head_dim": 8, "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0,
}  # fmt: skip
_LLAMA_4 = _SIZES | _LOCAL_EXPERTS | _HEADS_OF_8 | {
    "intermediate_size_mlp": 16, "num_experts_per_tok": 1, "attention_chunk_size": 16,
    "interleave_moe_layer_step": 2,
}  # fmt: skip
_EYE = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
_ZAMBA = _SIZES | {
    "num_hidden_layers": 4, "num_key_value_heads": 4, "attention_hidden_size": 64,
    "attention_head_dim": 16, "mamba_d_state": 8, "n_mamba_heads": 8,
}  # fmt: skip


def _left(*names: str) -> dict[str, Any]:
    return {"left": frozenset(names)}


_MOE: dict[str, Any] = {"experts": True}
_STATE_SPACE = _left("dt_proj", "out_proj")

# The key is the model type of transformers, with a word behind it for variants of one.
KEEPING_KEYS_AND_VALUES = {
    "llama": Family("Llama 1 and 2, SmolLM 1 and 2, TinyLlama, Vicuna, Yi", _SIZES),
    "llama (3.1)": Family("Llama 3, Hermes, R1 distilled into Llama", _SIZES | {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        },
    }),
    "llama (YaRN)": Family("Llamas made longer", _SIZES | {
        "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    }),
    "mistral": Family("Mistral 7B, Nemo and Small", _SIZES | _WINDOW),
    "ministral": Family("Ministral 8B", _SIZES | _HALF_WINDOW | _HEADS_OF_8),
    "ministral3": Family("Ministral 3, text only", _SIZES | _HEADS_OF_8),
    "mixtral": Family("Mixtral", _SIZES | _LOCAL_EXPERTS, **_MOE),
    "qwen2": Family("Qwen 1.5, 2 and 2.5, QwQ, R1 distilled into Qwen", _SIZES),
    "qwen2 (window)": Family("Qwen 2 with its windows on", _SIZES | _WINDOW | {
        "use_sliding_window": True, "max_window_layers": 1,
    }),
    "qwen3": Family("Qwen 3", _SIZES | _HEADS_OF_8),
    "qwen2_moe": Family("Qwen 1.5 and 2, experts", _SIZES | _EXPERTS | {
        "shared_expert_intermediate_size": 16,
    }, **_MOE),
    "qwen3_moe": Family("Qwen 3, experts", _SIZES | _EXPERTS | _HEADS_OF_8, **_MOE),
    "gemma": Family("Gemma 1", _SIZES | _HEADS_OF_8),
    "gemma2": Family("Gemma 2", _GEMMA_3),
    "gemma3_text": Family("Gemma 3, 270M and 1B", _GEMMA_3),
    "gemma3": Family("Gemma 3, 4B and larger", {
        "text_config": _GEMMA_3, "vision_config": _EYE,
    }),
    "gemma3n_text": Family("Gemma 3n", _SIZES | _HALF_WINDOW | _HEADS_OF_8 | {
        "vocab_size_per_layer_input": 100, "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 0, "laurel_rank": 4, "activation_sparsity_pattern": [0.0, 0.0],
        "intermediate_size": [48, 48],
    }),
    "gemma4_text": Family("Gemma 4", _GEMMA_4),
    "gemma4_text (shared)": Family("Gemma 4, E2B and E4B", _GEMMA_4 | {
        "num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 512,
    }),
    "gemma4": Family("Gemma 4 that sees", {"text_config": _GEMMA_4, "vision_config": None}),
    "vaultgemma": Family("VaultGemma", _GEMMA_3),
    "phi": Family("Phi 1, 1.5 and 2", _SIZES),
    "phi3": Family("Phi 3, Phi 4", _SIZES | {"sliding_window": None}),
    "phi3 (LongRoPE)": Family("Phi 3 128k, Phi 3.5, Phi 4 mini", _SIZES | {
        "sliding_window": None, "rope_parameters": _LONG_ROPE,
        "original_max_position_embeddings": 48,
    }),
    "phimoe": Family("Phi 3.5, experts", _SIZES | _LOCAL_EXPERTS, **_MOE, **_left("router")),
    "phimoe (LongRoPE)": Family("the same as published", _SIZES | _LOCAL_EXPERTS | {
        "rope_parameters": _LONG_ROPE | {"short_mscale": 1.1, "long_mscale": 1.3},
        "original_max_position_embeddings": 48,
    }, **_MOE, **_left("router")),
    "smollm3": Family("SmolLM 3", _SIZES),
    "olmo": Family("OLMo 1", _SIZES),
    "olmo2": Family("OLMo 2", _SIZES),
    "olmo3": Family("OLMo 3", _SIZES | _HALF_WINDOW),
    "olmoe": Family("OLMoE", _SIZES | _EXPERTS, **_MOE),
    "granite": Family("Granite 3, dense", _SIZES | {
        "logits_scaling": 8.0, "residual_multiplier": 0.5,
    }),
    "granitemoe": Family("Granite 3, experts", _SIZES | _LOCAL_EXPERTS | {
        "logits_scaling": 8.0,
    }, **_MOE),
    "granitemoeshared": Family("Granite with shared experts", _SIZES | _LOCAL_EXPERTS | {
        "shared_intermediate_size": 16,
    }, **_MOE),
    "falcon": Family("Falcon 7B and 40B", _BARE | {"initializer_range": 0.3}),
    "falcon (ALiBi)": Family("Falcon RW", _BARE | {"initializer_range": 0.3, "alibi": True}),
    "gpt2": Family("GPT-2, DistilGPT2", _GPT),
    "gpt_bigcode": Family("StarCoder 1, SantaCoder", _GPT),
    "starcoder2": Family("StarCoder 2", _SIZES | _WINDOW),
    "gpt_neo": Family("GPT-Neo, TinyStories", {
        "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 16,
        "attention_types": [[["global", "local"], 1]], "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }),
    "gptj": Family("GPT-J", _GPT | {"rotary_dim": 4}),
    "gpt_neox": Family("Pythia, GPT-NeoX, Dolly", _SIZES),
    "gpt_oss": Family("gpt-oss", _SIZES | _LOCAL_EXPERTS | _WINDOW | _HEADS_OF_8, **_MOE),
    "codegen": Family("CodeGen", _GPT | {"rotary_dim": 4}),
    "opt": Family("OPT, Galactica", _BARE | {
        "ffn_dim": 48, "max_position_embeddings": 512, "word_embed_proj_dim": 32, "init_std": 0.3,
    }),
    "bloom": Family("BLOOM, BLOOMZ", {
        "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.3,
    }),
    "xglm": Family("XGLM", {
        "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48, "init_std": 0.3,
        "max_position_embeddings": 512,
    }),
    "biogpt": Family("BioGPT", _SIZES),
    "stablelm": Family("StableLM 2, 3B", _SIZES),
    "persimmon": Family("Persimmon", _SIZES),
    "nemotron": Family("Nemotron 4, Minitron", _SIZES),
    "cohere": Family("Command R, Aya 23", _SIZES),
    "cohere2": Family("Command R7B, Command A", _SIZES | _HALF_WINDOW),
    "dbrx": Family("DBRX", {
        "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "initializer_range": 0.3,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    }, **_MOE, **_left("layer")),
    "deepseek_v2": Family("DeepSeek V2", _SIZES | _LATENT, **_MOE,
                          **_left("kv_b_proj"), peft=False),
    "deepseek_v2 (lite)": Family("DeepSeek V2 Lite", _SIZES | _LATENT | {
        "q_lora_rank": None,
    }, **_MOE, **_left("kv_b_proj"), peft=False),
    "deepseek_v3": Family("DeepSeek V3 and R1, Kimi K2", _SIZES | _LATENT, **_MOE,
                          **_left("kv_b_proj"), peft=False),
    "minicpm3": Family("MiniCPM 3", _SIZES | {
        "num_key_value_heads": 4, "q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4,
        "qk_rope_head_dim": 4, "v_head_dim": 8,
    }, **_left("kv_b_proj")),
    "llama4_text": Family("Llama 4, text only", _LLAMA_4, **_MOE, **_left("router")),
    "llama4": Family("Llama 4", {"text_config": _LLAMA_4, "vision_config": _EYE | {
        "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16,
    }}, **_MOE, **_left("router")),
    "glm": Family("GLM 4 9B", _SIZES | _HEADS_OF_8),
    "glm4": Family("GLM 4 0414", _SIZES | _HEADS_OF_8),
    "glm4_moe": Family("GLM 4.5 and 4.6", _SIZES | _LATENT | {
        "num_key_value_heads": 2,
    }, **_MOE, peft=False),
    "ernie4_5": Family("ERNIE 4.5 0.3B", _SIZES),
    "ernie4_5_moe": Family("ERNIE 4.5, experts", _SIZES | {
        "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16, "moe_layer_start_index": 1,
        "moe_num_shared_experts": 1,
    }, **_MOE, peft=False),
    "exaone4": Family("EXAONE 4", _SIZES | _HALF_WINDOW),
    "hunyuan_v1_dense": Family("Hunyuan, 0.5B to 7B", _SIZES | _HEADS_OF_8),
    "seed_oss": Family("Seed-OSS", _SIZES | _HEADS_OF_8),
    "helium": Family("Helium", _SIZES | _HEADS_OF_8),
    "arcee": Family("AFM 4.5B", _SIZES),
    "apertus": Family("Apertus", _SIZES),
    "nanochat": Family("nanochat", _SIZES),
    "diffllama": Family("DiffLlama", _SIZES),
    "minimax_m2": Family("MiniMax M2", _SIZES | _LOCAL_EXPERTS | _HEADS_OF_8, **_MOE),
}  # fmt: skip
READING_AGAIN = {
    "bart": Family("BART's decoder", {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
        "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48,
        "init_std": 0.3,
    }, **_left("q_proj", "k_proj", "v_proj", "out_proj")),
    "openai-gpt": Family("GPT 1", _GPT),
    "mpt": Family("MPT", {
        "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 512, "initializer_range": 0.3,
    }),
    "mamba": Family("Mamba", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3,
    }, **_STATE_SPACE),
    "mamba2": Family("Mamba 2, Codestral Mamba", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8,
        "n_groups": 1, "chunk_size": 16, "initializer_range": 0.3,
    }, **_left("out_proj")),
    "falcon_mamba": Family("Falcon Mamba", {
        "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "initializer_range": 0.3,
    }, **_STATE_SPACE),
    "lfm2": Family("LFM 2", _SIZES | {"layer_types": ["conv", "full_attention"]}),
    "lfm2_moe": Family("LFM 2, experts", _SIZES | _EXPERTS | {
        "num_dense_layers": 1, "layer_types": ["conv", "full_attention"],
    }, **_MOE),
    "rwkv": Family("RWKV 4", {
        "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32,
        "context_length": 512,
    }),
    "jamba": Family("Jamba", _SIZES | {
        "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "mamba_d_state": 8, "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    }, **_MOE, **_STATE_SPACE),
    "bamba": Family("Bamba", _SIZES | _MAMBA | {"attn_layer_indices": [1]}, **_left("out_proj")),
    "falcon_h1": Family("Falcon H1", _SIZES | _MAMBA | {
        "mamba_d_ssm": 64, "lm_head_multiplier": 0.5,
    }, **_left("out_proj")),
    "nemotron_h": Family("Nemotron H, Nano 2 and 3", _SIZES | _HEADS_OF_8 | {
        "num_hidden_layers": 4, "layers_block_type": ["mamba", "attention", "mlp", "moe"],
        "mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1,
        "chunk_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
        "moe_intermediate_size": 16, "moe_shared_expert_intermediate_size": 16,
    }, **_MOE, **_left("out_proj")),
    "granitemoehybrid": Family("Granite 4", _SIZES | _LOCAL_EXPERTS | _MAMBA | {
        "logits_scaling": 8.0, "shared_intermediate_size": 16,
        "layer_types": ["mamba", "attention"],
    }, **_MOE, **_left("out_proj")),
    "zamba2": Family("Zamba 2", _ZAMBA | {
        "layers_block_type": ["mamba", "hybrid"] * 2, "hybrid_layer_ids": [1, 3],
        "mamba_ngroups": 1, "num_mem_blocks": 1, "use_mem_rope": True, "adapter_rank": 4,
        "use_shared_attention_adapter": True, "chunk_size": 16,
    }, **_left(
        "out_proj", "gate_up_proj_adapter_list", "linear_q_adapter_list", "linear_k_adapter_list",
        "linear_v_adapter_list",
    )),
    "qwen3_next": Family("Qwen 3 Next", _SIZES | _EXPERTS | _HEADS_OF_8 | _DELTA_NET | {
        "shared_expert_intermediate_size": 16,
    }, **_MOE, peft=False, **_left("out_proj")),
    "qwen3_5_text": Family("Qwen 3.5, text only", _SIZES | _HEADS_OF_8 | _DELTA_NET,
                           **_left("out_proj")),
    "qwen3_5_moe_text": Family("Qwen 3.5, experts", _SIZES | _HEADS_OF_8 | _DELTA_NET | _EXPERTS | {
        "shared_expert_intermediate_size": 16,
    }, **_MOE, **_left("out_proj")),
    "olmo_hybrid": Family("OLMo Hybrid", _SIZES | {
        "layer_types": ["linear_attention", "full_attention"],
    }),
    "minimax": Family("MiniMax Text 01, M1", _SIZES | _LOCAL_EXPERTS | _HEADS_OF_8 | {
        "layer_types": ["linear_attention", "full_attention"], "block_size": 16,
    }, **_MOE),
    "recurrent_gemma": Family("RecurrentGemma", _SIZES | _HEADS_OF_8 | {
        "lru_width": 32, "attention_window_size": 16, "block_types": ["recurrent", "attention"],
    }),
    "xlstm": Family("xLSTM", {
        "hidden_size": 32, "num_hidden_layers": 2, "num_heads": 4, "chunk_size": 16,
    }),
    "deepseek_v32": Family("DeepSeek V3.2", _SIZES | _LATENT | {
        "index_n_heads": 2, "index_head_dim": 8, "index_topk": 512,
    }, **_MOE, peft=False, **_left("kv_b_proj", "wq_b", "wk", "weights_proj")),
}  # fmt: skip
_MORE = "makes its logits of more than the last hidden state"
REFUSED = {
    "bert": Family("BERT", _SIZES | {"is_decoder": True}, why=_MORE),
    "roberta": Family("RoBERTa", _SIZES | {"is_decoder": True}, why=_MORE),
    "modernbert-decoder": Family("Ettin", _SIZES | {
        "local_attention": 16, "global_attn_every_n_layers": 2,
    }, why=_MORE),
    "xlnet": Family(
        "XLNet",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
        why="makes of a token what depends on the tokens behind it",
    ),
}  # fmt: skip
WORKING = KEEPING_KEYS_AND_VALUES | READING_AGAIN


def tiny_of(family: str, seed: int = 0) -> TransformersModel:
    """A random model of two layers with the ChatML tokenizer of `tiny_llama`."""
    tokenizer = tiny_llama().tokenizer
    special = ("bos_token_id", "eos_token_id", "pad_token_id")
    own = {name: getattr(tokenizer, name) for name in special} | {"vocab_size": len(tokenizer)}
    settings = {**(WORKING | REFUSED)[family].settings}
    if "text_config" in settings:
        settings["text_config"] = {**settings["text_config"], **own}
    config = AutoConfig.for_model(family.partition(" ")[0], **{**settings, **own})
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice on kernels that are not installed
        torch.manual_seed(seed)
        made = AutoModelForCausalLM.from_config(config)
        for name, weights in made.named_parameters():
            if name.endswith("correct_output_scale"):  # zeros, which would make layers count not
                weights.data.fill_(1.0)
    return TransformersModel(made, tokenizer, name=f"tiny-{family}")
