"""Tiny models with random weights, one of each architecture that training is tried on."""

from typing import Any, Final

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from thumbline.pipeline.engines.head import with_own_attention
from thumbline.pipeline.training.dropout import turn_off_modules, without_dropout
from thumbline.pipeline.training.policy import Policy
from thumbline.pipeline.training.scorer import Scorer

_SHAPE: Final[dict[str, Any]] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_EXPERTS: Final = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_GPT: Final = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
_WINDOW: Final = {"sliding_window": 16}
_LATENT: Final = {
    "kv_lora_rank": 8,
    "q_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
_LINEAR: Final = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}

# Those whose layers attend over segments, by model type, with what their configs are given beside the shape.
SHARED: Final[dict[str, dict[str, Any]]] = {
    "arcee": {},
    "biogpt": {},
    "cohere": {},
    "cohere2": _WINDOW,
    "deepseek_v3": _EXPERTS | _LATENT,
    "exaone4": _WINDOW,
    "gemma": {},
    "gemma2": _WINDOW,
    "gemma3_text": _WINDOW,
    "glm4": {},
    "gpt2": _GPT,
    "gpt_neox": {},
    "gpt_oss": _EXPERTS | _WINDOW | {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    "granite": {},
    "granitemoe": _EXPERTS,
    "llama": {},
    "mistral": _WINDOW,
    "mixtral": _EXPERTS,
    "olmo2": {},
    "olmo3": _WINDOW,
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "phi": {},
    "phi3": {},
    "qwen2": {},
    "qwen3": {},
    "qwen3_moe": _EXPERTS,
    "smollm3": {},
    "starcoder2": {},
}
# Those that a layer, or a state, keeps from it.
PADDED: Final[dict[str, dict[str, Any]]] = {
    "bloom": {},
    "codegen": _GPT | {"rotary_dim": 8},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 16},
    "jamba": _EXPERTS | {"mamba_d_state": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba": {},
    "minimax": {},
    "nemotron": {},
    "qwen3_next": _EXPERTS | _LINEAR,
    "recurrent_gemma": {},
    "stablelm": {},
}


def tiny_policy(name: str, *, dtype: torch.dtype | None = None, checkpointing: bool = False, **settings: Any) -> Policy:
    """A policy on a model of an architecture.

    Args:
        name: A key of `SHARED` or `PADDED`.
        dtype: Autocast's; None for float32.
        checkpointing: Whether layers run again in the backward pass.
        settings: For its config, beside those above.
    """
    config = AutoConfig.for_model(name, **(_SHAPE | (SHARED | PADDED)[name] | settings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(with_own_attention(without_dropout(config)), dtype=torch.float32)
    turn_off_modules(model)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    return Policy(model, Scorer(model, dtype), torch.device("cpu"), torch.float32)
