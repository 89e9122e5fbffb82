"""The sizes of a model by its config.json: parameters by kind, and the shape of its KV cache.

Parameters are counted from the definition of each architecture, as in the modelling code of
Hugging Face transformers (models/llama, mistral, mixtral, qwen2, qwen3, phi3, gemma, gemma2 and
gemma3). A test compares the counts with the published ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from journal.errors import SpecError

# Beside the two norms of a layer: biases of q, k and v; norms of q and k; more norms of a layer.
QKV_BIAS = {"qwen2"}
QK_NORM = {"qwen3", "gemma3_text"}
FOUR_NORMS = {"gemma2", "gemma3_text"}
TIED_UNLESS_SAID = {"gemma", "gemma2", "gemma3_text"}
COUNTED = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", *TIED_UNLESS_SAID}

KEYS = tuple(
    """
    model_type num_hidden_layers hidden_size num_attention_heads vocab_size num_key_value_heads
    head_dim intermediate_size tie_word_embeddings max_position_embeddings num_local_experts
    num_experts_per_tok sliding_window use_sliding_window layer_types sliding_window_pattern
    kv_lora_rank qk_rope_head_dim attention_bias dtype torch_dtype
    """.split()
)
PACKED_KEYS = tuple(
    "quant_method bits w_bit group_size q_group_size load_in_8bit config_groups".split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Numbers of parameters. `linear` counts the layers' matrices, which quantisation packs;
    `used` counts the part of them that one token passes (less than all where a router picks
    experts). `embedding` is the table of input vectors, `head` the output matrix (0 where it is
    the same table), `other` norms, biases and routers."""

    linear: int
    used: int
    embedding: int
    head: int
    other: int

    @property
    def total(self) -> int:
        """All parameters of the model."""
        return self.linear + self.embedding + self.head + self.other


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The sizes of a decoder. `windowed_layers` of its `layers` look back `window` tokens only.
    `latent` is the number of elements that MLA keeps for a token in a layer instead of keys and
    values. `context` is the longest sequence in tokens that the config allows, `dtype` the type
    of its weights. `quantisation` names the packing of the checkpoint (awq, gptq, fp8,
    bitsandbytes or another name), `bits` is the size of a packed weight, and `group` the number
    of weights that share a scale: None where a channel or more shares one."""

    kind: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    context: int | None = None
    experts: int = 1
    experts_used: int = 1
    window: int | None = None
    windowed_layers: int = 0
    latent: int | None = None
    attention_bias: bool = False
    dtype: str | None = None
    quantisation: str | None = None
    bits: int | None = None
    group: int | None = None


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The sizes in a config.json; those of the text part where a model has several parts. Raises
    SpecError where a size is missing."""
    text = config.get("text_config") or config
    kind = text.get("model_type", config.get("model_type"))
    try:
        layers, hidden = text["num_hidden_layers"], text["hidden_size"]
        heads, vocabulary = text["num_attention_heads"], text["vocab_size"]
    except (KeyError, TypeError) as error:
        raise SpecError(
            f"the config.json of this {kind or 'unnamed'} model lacks {error}: its memory cannot be"
            " computed from it"
        ) from error
    window, windowed = _window(text, kind, layers)
    rank = text.get("kv_lora_rank")
    dtype = _given(text, "dtype", _given(text, "torch_dtype", config.get("torch_dtype")))
    return Architecture(
        kind=kind or "",
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=_given(text, "num_key_value_heads", heads),
        head_dim=_given(text, "head_dim", hidden // heads),
        intermediate=_given(text, "intermediate_size", 4 * hidden),
        vocabulary=vocabulary,
        tied=_given(text, "tie_word_embeddings", kind in TIED_UNLESS_SAID),
        context=text.get("max_position_embeddings"),
        experts=_given(text, "num_local_experts", 1),
        experts_used=_given(text, "num_experts_per_tok", 1),
        window=window,
        windowed_layers=windowed,
        latent=None if rank is None else rank + _given(text, "qk_rope_head_dim", 0),
        attention_bias=_given(text, "attention_bias", kind in QKV_BIAS),
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        **_packing(config.get("quantization_config") or {}),
    )


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config.json that `architecture` reads, which is stored with each run."""
    text = config.get("text_config") or config
    kept = {key: part[key] for part in (config, text) for key in KEYS if key in part}
    packed = config.get("quantization_config")
    if packed:
        kept["quantization_config"] = {key: packed[key] for key in PACKED_KEYS if key in packed}
    return kept


def parameters(model: Architecture) -> Parameters:
    """The parameters of `model` by kind. Raises SpecError for an architecture that is not in
    COUNTED."""
    if model.kind not in COUNTED:
        raise SpecError(
            f"the parameters of a {model.kind!r} model cannot be counted here (only those of"
            f" {', '.join(sorted(COUNTED))}): give the folder of its checkpoint instead"
        )
    queries, keys = model.heads * model.head_dim, model.kv_heads * model.head_dim
    attention = 2 * model.hidden * queries + 2 * model.hidden * keys
    expert = 3 * model.hidden * model.intermediate
    norms = (4 if model.kind in FOUR_NORMS else 2) * model.hidden
    if model.kind in QK_NORM:
        norms += 2 * model.head_dim
    biases = 0
    if model.attention_bias:
        biases = queries + 2 * keys + (0 if model.kind in QKV_BIAS else model.hidden)
    router = model.hidden * model.experts if model.experts > 1 else 0
    table = model.vocabulary * model.hidden
    return Parameters(
        linear=model.layers * (attention + model.experts * expert),
        used=model.layers * (attention + model.experts_used * expert),
        embedding=table,
        head=0 if model.tied else table,
        other=model.layers * (norms + biases + router) + model.hidden,
    )


def _window(text: Mapping[str, Any], kind: str | None, layers: int) -> tuple[int | None, int]:
    """The sliding window in tokens and the number of layers that have it, as vLLM reads a config:
    by `layer_types` where given, else in every second layer of Gemma 2, in all but every sixth of
    Gemma 3, and in all layers of others."""
    window = text.get("sliding_window")
    if not window or text.get("use_sliding_window") is False:
        return None, 0
    types = text.get("layer_types")
    if types is not None:
        windowed = sum(kind_of_layer == "sliding_attention" for kind_of_layer in types)
    elif kind == "gemma2":
        windowed = (layers + 1) // 2
    elif kind == "gemma3_text":
        windowed = layers - layers // _given(text, "sliding_window_pattern", 6)
    else:
        windowed = layers
    return (window, windowed) if windowed else (None, 0)


def _packing(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The packing of the weights in a quantization_config, under the keys that various tools
    write there, as fields of Architecture."""
    method = packed.get("quant_method")
    if method is None:
        return {}
    if method == "compressed-tensors":
        return _compressed(packed)
    bits = packed.get("bits", packed.get("w_bit"))
    if method == "bitsandbytes":
        bits = 8 if packed.get("load_in_8bit") else None  # 4 bits come in several forms
    if "fp8" in method:
        method, bits = "fp8", 8
    group = packed.get("group_size", packed.get("q_group_size"))
    return {"quantisation": str(method), "bits": bits, "group": _positive(group)}


def _compressed(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The packing of the first group of layers of compressed-tensors; most tools write one group
    only. Integers of 4 bits are packed as those of GPTQ."""
    groups = (packed.get("config_groups") or {}).values()
    weights: Mapping[str, Any] = next((g["weights"] for g in groups if g.get("weights")), {})
    forms = {"float 8": "fp8", "int 4": "gptq"}
    form = f"{weights.get('type')} {weights.get('num_bits')}"
    return {
        "quantisation": forms.get(form, "compressed-tensors"),
        "bits": weights.get("num_bits"),
        "group": _positive(weights.get("group_size")),
    }


def _positive(value: Any) -> int | None:
    """A group size; None for -1 and 0, which mean that weights have no groups."""
    return value if isinstance(value, int) and value > 0 else None


def _given(text: Mapping[str, Any], key: str, default: Any) -> Any:
    """The value of `key`; `default` where it is missing or null, which mean the same in a
    config.json."""
    value = text.get(key)
    return default if value is None else value
