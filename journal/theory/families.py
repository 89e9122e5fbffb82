"""Families of models by `model_type`: what their layers hold beside what every config.json states.

Each row follows the modelling code of Hugging Face transformers (models/<model_type>) or, for
models that bring their own code, of vLLM (model_executor/models). A test counts the parameters of
each and finds the number that transformers counts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

QkNorm = Literal["head", "full", "layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """The habits of a family. `qkv_bias`: the projections to queries, keys and values have biases
    even where the config does not say so; `out_bias`: the output projection has one wherever those
    have (or, with `always_out_bias`, alone). `gated`: the MLP has three matrices instead of two.
    `norms` of a layer, each with a bias where `norm_bias`; `qk_norm` of queries and keys: over one
    head, over all heads, or over each head by itself. `tied`: the head is the embedding unless the
    config says otherwise. `positions`: a table of learned positions with so many extra rows.
    `state` is the kind of layer that its linear or state-space layers are; `window_every`: every
    so manieth layer has no window, the others have. `mla`: latent attention. `shared_gate`: the
    shared expert has a gate of its own; `correction`: the router has a bias for each expert."""

    qkv_bias: bool = False
    out_bias: bool = True
    always_out_bias: bool = False
    mlp_bias: bool = False
    gated: bool = True
    norms: int = 2
    norm_bias: bool = False
    norm_weights: bool = True
    qk_norm: QkNorm | None = None
    tied: bool = False
    positions: int | None = None
    embedding_norms: int = 0
    final_norms: int = 1
    head_bias: bool = False
    state: str | None = None
    window_every: int | None = None
    shared_gate: bool = False
    correction: bool = False
    router_bias: bool = False
    expert_bias: bool = False
    sinks: bool = False
    query_gate: bool = False
    head_gate: bool = False


_PLAIN = ModelFamily()
_TWO = ModelFamily(gated=False, norm_bias=True, qkv_bias=True, mlp_bias=True)
_QWEN3 = ModelFamily(qk_norm="head")
_GEMMA = ModelFamily(tied=True)
_GEMMA2 = ModelFamily(tied=True, norms=4, window_every=2)
_GEMMA3 = ModelFamily(tied=True, norms=4, qk_norm="head", window_every=6)
_LATENT = ModelFamily(correction=True)
_NEXT = ModelFamily(qk_norm="head", state="delta", query_gate=True, shared_gate=True)
_GRANITE = ModelFamily(tied=False)

FAMILIES: Mapping[str, ModelFamily] = MappingProxyType(
    {
        # Llama's own form, and those that keep to it
        "llama": _PLAIN,
        "llama4_text": replace(_PLAIN, window_every=4),
        "mistral": _PLAIN,
        "ministral": _PLAIN,
        "ministral3": _PLAIN,
        "mixtral": _PLAIN,
        "phi3": _PLAIN,
        "granite": _GRANITE,
        "granitemoe": _GRANITE,
        "granitemoeshared": _GRANITE,
        "internlm": _PLAIN,
        "internlm2": _PLAIN,
        "internlm3": ModelFamily(out_bias=True),
        "baichuan": _PLAIN,
        "exaone": _PLAIN,
        "yi": _PLAIN,
        "xverse": _PLAIN,
        "orion": ModelFamily(norm_bias=True),
        "aquila": _PLAIN,
        "minicpm": ModelFamily(tied=True),
        "smollm3": ModelFamily(tied=True),
        "helium": _PLAIN,
        "seed_oss": ModelFamily(out_bias=False),
        "ernie4_5": ModelFamily(tied=True),
        "ernie4_5_moe": ModelFamily(tied=True, correction=True),
        "bitnet": ModelFamily(tied=True, norms=2),
        "solar": _PLAIN,
        "arcee": ModelFamily(gated=False),
        "apertus": ModelFamily(gated=False, qk_norm="head"),
        "hunyuan_v1_dense": ModelFamily(qk_norm="head", tied=True),
        "hunyuan_v1_moe": ModelFamily(qk_norm="head", tied=True),
        # Qwen
        "qwen": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_vl": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_vl_text": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_5_vl": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_5_vl_text": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_5_omni_text": ModelFamily(qkv_bias=True, out_bias=False),
        "qwen2_moe": ModelFamily(qkv_bias=True, out_bias=False, shared_gate=True),
        "qwen3": _QWEN3,
        "qwen3_moe": _QWEN3,
        "qwen3_vl_text": _QWEN3,
        "qwen3_vl_moe_text": _QWEN3,
        "qwen3_omni_moe_text": _QWEN3,
        "qwen3_next": _NEXT,
        "qwen3_5": _NEXT,
        "qwen3_5_text": _NEXT,
        "qwen3_5_moe": _NEXT,
        "qwen3_5_moe_text": _NEXT,
        # Gemma
        "gemma": _GEMMA,
        "gemma2": _GEMMA2,
        "vaultgemma": replace(_GEMMA2, norms=2),
        "gemma3": _GEMMA3,
        "gemma3_text": _GEMMA3,
        "gemma3n_text": replace(_GEMMA3, window_every=5),
        "gemma4_text": replace(_GEMMA3, window_every=6),
        "gemma4_unified_text": replace(_GEMMA3, window_every=6),
        "recurrent_gemma": ModelFamily(
            tied=True, state="recurrent", always_out_bias=True, mlp_bias=True
        ),
        # Layer norms, two matrices in the MLP, biases
        "gpt2": replace(_TWO, tied=True, positions=0),
        "gpt_bigcode": replace(_TWO, tied=True, positions=0),
        "gpt_neo": ModelFamily(
            gated=False, norm_bias=True, mlp_bias=True, tied=True, positions=0, always_out_bias=True
        ),
        "gptj": ModelFamily(gated=False, norm_bias=True, mlp_bias=True, norms=1, head_bias=True),
        "codegen": ModelFamily(gated=False, norm_bias=True, mlp_bias=True, norms=1, head_bias=True),
        "gpt_neox": _TWO,
        "persimmon": replace(_TWO, qk_norm="layer"),
        "opt": replace(_TWO, tied=True, positions=2),
        "bloom": replace(_TWO, tied=True, embedding_norms=1),
        "mpt": ModelFamily(gated=False, tied=True),
        "falcon": ModelFamily(gated=False, norm_bias=True, norms=1, tied=True),
        "starcoder2": replace(_TWO, tied=True),
        "stablelm": ModelFamily(norm_bias=True, out_bias=False, qk_norm="full"),
        "phi": replace(_TWO, norms=1, head_bias=True, qk_norm="layer"),
        "phimoe": ModelFamily(norm_bias=True),
        "nemotron": ModelFamily(gated=False, norm_bias=True),
        "whisper": replace(_TWO, tied=True, positions=0),
        # Others
        "cohere": ModelFamily(norms=1, tied=True, qk_norm="full"),
        "cohere2": ModelFamily(norms=1, tied=True, window_every=4),
        "olmo": ModelFamily(norm_weights=False),
        "olmo2": ModelFamily(qk_norm="full"),
        "olmo3": ModelFamily(qk_norm="full", window_every=4),
        "olmoe": ModelFamily(qk_norm="full"),
        "flex_olmo": ModelFamily(qk_norm="full"),
        "exaone4": ModelFamily(qk_norm="head", window_every=4),
        "glm": ModelFamily(qkv_bias=True, out_bias=False),
        "glm4": ModelFamily(qkv_bias=True, out_bias=False, norms=4),
        "glm4v_text": ModelFamily(qkv_bias=True, out_bias=False, norms=4),
        "chatglm": ModelFamily(out_bias=False),
        "glm4_moe": ModelFamily(correction=True, out_bias=False, qk_norm="head"),
        "glm4v_moe_text": ModelFamily(correction=True, out_bias=False),
        "dots1": ModelFamily(correction=True, qk_norm="head"),
        "afmoe": ModelFamily(
            correction=True, qk_norm="head", norms=4, window_every=4, head_gate=True
        ),
        "solar_open": ModelFamily(correction=True),
        "gpt_oss": ModelFamily(
            qkv_bias=True, router_bias=True, expert_bias=True, sinks=True, window_every=2
        ),
        "minimax_m2": ModelFamily(correction=True, qk_norm="full"),
        "minimax": ModelFamily(state="lightning"),
        "minimax_text_01": ModelFamily(state="lightning"),
        "dbrx": ModelFamily(),
        # Latent attention
        "deepseek_v2": ModelFamily(),
        "deepseek_v3": _LATENT,
        "deepseek_v32": _LATENT,
        "kimi_k2": _LATENT,
        "glm4_moe_lite": _LATENT,
        "glm_moe_dsa": _LATENT,
        "minicpm3": ModelFamily(tied=True),
        "youtu": ModelFamily(tied=True),
        "longcat_flash": _LATENT,
        "kimi_linear": ModelFamily(correction=True, state="kda"),
        # State-space layers, alone or between others
        "mamba": ModelFamily(norms=1, tied=True, state="mamba"),
        "falcon_mamba": ModelFamily(norms=1, tied=True, state="mamba"),
        "mamba2": ModelFamily(norms=1, tied=True, state="mamba2"),
        "jamba": ModelFamily(state="mamba"),
        "zamba": ModelFamily(state="mamba", tied=True),
        "zamba2": ModelFamily(state="mamba2", tied=True),
        "bamba": ModelFamily(state="mamba2"),
        "granitemoehybrid": ModelFamily(state="mamba2"),
        "nemotron_h": ModelFamily(gated=False, norms=1, state="mamba2"),
        "falcon_h1": ModelFamily(state="mamba2"),
        "lfm2": ModelFamily(qk_norm="head", tied=True, state="conv"),
        "lfm2_moe": ModelFamily(qk_norm="head", tied=True, state="conv", correction=True),
        "olmo_hybrid": ModelFamily(qk_norm="full", state="delta"),
    }
)
# "minimax" and "cohere2" are also in the names of models whose layers are alike.
_MIXED = re.compile(
    "|".join(
        rf"{re.sub('(?<=[a-z])(?=[0-9])|_', '[._-]?', name.removesuffix('_text'))}(?![0-9])"
        for name, family in FAMILIES.items()
        if (family.state or family.window_every) and name not in ("minimax", "cohere2")
    )
    + "|granite-4[._]0-h"
)


def is_named_mixed(name: str) -> bool:
    """Whether the `name` of a model is that of a family whose layers keep different spans of a
    sequence. False says nothing: many names tell no family."""
    return _MIXED.search(name.lower()) is not None
