"""The fields of a config.json under one name each: those of its text part, with what other families
call them, and completed by the library's own defaults where a config leaves a field out."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "text_model_config")
VISION_PARTS = ("vision_config", "vit_config", "vision_encoder_config")
AUDIO_PARTS = ("audio_config", "audio_tower_config", "speech_config", "audio_encoder_config")
# The name used here, and the names that other families give to the same field.
NAMES: Mapping[str, tuple[str, ...]] = {
    "num_hidden_layers": (
        "n_layer",
        "n_layers",
        "num_layers",
        "decoder_layers",
        "num_decoder_layers",
    ),
    "hidden_size": ("n_embd", "d_model", "dim", "model_dim"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "decoder_attention_heads"),
    "num_key_value_heads": (
        "num_kv_heads",
        "n_kv_heads",
        "n_head_kv",
        "kv_n_heads",
        "num_attention_groups",
    ),
    "head_dim": ("kv_channels", "attention_head_dim", "d_kv", "head_size", "attention_head_size"),
    "intermediate_size": (
        *("n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "decoder_ffn_dim", "inner_size"),
        "feed_forward_size",
    ),
    "vocab_size": ("padded_vocab_size", "n_vocab"),
    "max_position_embeddings": (
        *("n_positions", "max_seq_len", "seq_length", "n_ctx", "max_sequence_length"),
        *("max_target_positions", "model_max_length", "context_length"),
    ),
    "num_experts": (
        "num_local_experts",
        "n_routed_experts",
        "moe_num_experts",
        "num_routed_experts",
    ),
    "num_experts_per_tok": (
        "num_experts_per_token",
        "moe_top_k",
        "moe_k",
        "top_k_experts",
        "moe_topk",
    ),
    "moe_intermediate_size": (
        "expert_ffn_hidden_size",
        "expert_hidden_size",
        "moe_ffn_hidden_size",
    ),
    "n_shared_experts": ("num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
    "attention_bias": ("use_qkv_bias", "add_qkv_bias", "qkv_bias"),
    "sliding_window": ("sliding_window_size", "window_size", "attention_window_size"),
    "layer_types": ("layers_block_type", "block_types", "layer_block_types", "block_type"),
    "kv_lora_rank": ("kv_latent_dim",),
}
PARTS_OF_PARTS = ("attn_config", "ffn_config", "linear_attn_config")
# All fields of a text part on which a size depends, beside the names above.
MORE = tuple(
    """
    model_type tie_word_embeddings dtype torch_dtype hidden_act
    multi_query multi_query_attention multi_query_group_num new_decoder_architecture parallel_attn
    num_ln_in_parallel_attn bias use_bias no_bias mlp_bias attention_out_bias qk_layernorm
    use_qk_norm alibi use_parallel_residual lm_head_bias word_embed_proj_dim final_logits_bias
    q_lora_rank qk_nope_head_dim qk_rope_head_dim v_head_dim index_n_heads index_head_dim use_mla
    use_sliding_window max_window_layers sliding_window_pattern global_attn_every_n_layers
    attention_chunk_size no_rope_layers no_rope_layer_interval num_kv_shared_layers use_cla
    cla_share_factor attn_type_list attn_layer_indices full_attn_idxs hybrid_layer_ids
    cross_attention_layers full_attn_layers hybrid_override_pattern attn_layer_period
    attn_layer_offset full_attention_interval max_source_positions encoder_layers encoder_ffn_dim
    num_mel_bins mlp_only_layers mlp_layer_types moe_layers moe_layer_freq interleave_moe_layer_step
    expert_layer_period expert_layer_offset first_k_dense_replace num_dense_layers
    moe_layer_start_index moe_layer_end_index moe_layer_interval decoder_sparse_step
    enable_moe_block moe_latent_size shared_expert_intermediate_size shared_intermediate_size
    moe_shared_expert_intermediate_size intermediate_size_mlp mamba_expand expand mamba_d_state
    state_size d_state mamba_d_conv conv_kernel d_conv conv_kernel_size mamba_dt_rank time_step_rank
    dt_rank mamba_proj_bias mamba_conv_bias use_conv_bias mamba_rms_norm mamba_n_groups
    mamba_ngroups n_groups ssm_state_size mamba_d_head mamba_head_dim mamba_headdim state_head_dim
    mamba_d_ssm mamba_n_heads mamba_num_heads n_mamba_heads mamba_ssm_dtype mamba_ssm_cache_dtype
    linear_num_key_heads linear_key_head_dim linear_num_value_heads linear_value_head_dim
    linear_conv_kernel_dim linear_num_heads linear_head_dim short_conv_kernel_size conv_L_cache
    conv_bias lru_width conv1d_width block_ff_dim block_auto_adjust_ff_dim
    block_ffn_dim_multiplier block_multiple_of global_head_dim attention_k_eq_v
    num_global_key_value_heads per_layer_config use_double_wide_mlp hidden_size_per_layer_input
    vocab_size_per_layer_input laurel_rank altup_num_inputs attention_hidden_size
    attn_output_gate partial_rotary_factor rope_parameters num_mem_blocks adapter_rank
    use_shared_attention_adapter
    """.split()
)
OF_TOWERS = tuple(
    """
    embed_dim depth width layers mlp_dim mlp_ratio patch_size temporal_patch_size spatial_merge_size
    out_hidden_size image_size
    """.split()
)
KEPT = frozenset(
    (
        *NAMES,
        *MORE,
        *OF_TOWERS,
        *PARTS_OF_PARTS,
        *(one for names in NAMES.values() for one in names),
    )
)
NEVER_BY_DEFAULT = frozenset({"dtype", "torch_dtype", "layer_types"})
# Families in which the window is a habit; in others one that is not stated is not there.
WINDOWED = (
    "gemma",
    "cohere2",
    "gpt_oss",
    "olmo3",
    "exaone4",
    "recurrent_gemma",
    "vaultgemma",
    "afmoe",
)


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The text part of a config, which may be a part of a part; the config itself where it has no
    parts."""
    for name in TEXT_PARTS:
        part = config.get(name)
        if isinstance(part, Mapping) and part:
            return text_part(part)
    return config


def tower_part(config: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any] | None:
    """The vision or audio part of a config; None where it has none."""
    inner = config.get("thinker_config")
    for whole in (config, inner if isinstance(inner, Mapping) else {}):
        for name in names:
            if isinstance(whole.get(name), Mapping):
                found: Mapping[str, Any] = whole[name]
                return found
    return None


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the text part of `config` under the names of NAMES, null ones left out. A
    field that the config does not state has the value that the transformers library gives it for
    that `model_type` (library_defaults.json); one for which it has none stays out."""
    text = text_part(config)
    outer = str(config.get("model_type", ""))
    kind = str(text.get("model_type") or outer)
    kind = str(library_defaults(kind).get("text") or kind)
    fields = {name: value for name, value in library_defaults(kind).items() if name != "text"}
    stated = _renamed(text)
    for name, others in NAMES.items():  # one that is stated is stated under all its names
        if any(other in text for other in (name, *others)):
            for other in (name, *others):
                fields.pop(other, None)
    for name in text:
        fields.pop(name, None)
    if text is not config:
        for name in ("tie_word_embeddings", "torch_dtype", "dtype"):
            if config.get(name) is not None:
                fields[name] = config[name]
    whole = {**_renamed(fields), **stated, "model_type": kind, "outer_type": outer}
    listed = whole.get("hybrid_override_pattern") or whole.get("layer_types")
    if "num_hidden_layers" not in whole and listed:
        whole["num_hidden_layers"] = len(listed)
    return whole


@cache
def library_defaults(kind: str) -> Mapping[str, Any]:
    """The defaults of the transformers library for a `model_type`, those fields that sizes depend
    on; empty for a type that it does not know."""
    return _all_defaults().get(kind, {})


@cache
def _all_defaults() -> Mapping[str, Mapping[str, Any]]:
    text = files("journal.theory").joinpath("library_defaults.json").read_text()
    types: Mapping[str, Mapping[str, Any]] = json.loads(text)["types"]
    return types


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` that are not null, each under its general name as well; those of inner parts beside
    them."""
    known = {name: value for name, value in fields.items() if value is not None}
    for inner in PARTS_OF_PARTS:
        if isinstance(known.get(inner), Mapping):
            own = {name: value for name, value in known[inner].items() if value is not None}
            if inner == "linear_attn_config":  # the heads in it are not those of attention
                own = {name: own[name] for name in own if name not in ("num_heads", "head_dim")}
            known = {**own, **known}
    for name, others in NAMES.items():
        if name not in known:
            other = next((other for other in others if other in known), None)
            if other is not None:
                known[name] = known[other]
    return known
