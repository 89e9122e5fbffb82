"""The layers that a config describes, each with its caches, its state and its matrices."""

from collections.abc import Mapping
from typing import Any

from journal.errors import SpecError
from journal.theory.families import FAMILIES, ModelFamily
from journal.theory.layer_plan import DSA, feed_forwards, mixers
from journal.theory.layers import (
    Cache,
    Layer,
    Matrices,
    Parts,
    attention,
    experts,
    feed_forward,
    heads,
    latent_attention,
)
from journal.theory.state_layers import state_layer

INDEX_BYTES = 4  # of the scale beside the fp8 vector of DeepSeek's indexer, one for 128 elements
GEMMA_BLOCKS = {"gemma3n_text", "gemma4_text", "gemma4_unified_text"}
ENCODER_TOKENS = "max_source_positions"


# Sizes that some families list for each layer; a shorter list is of other parts, the text first.
BY_LAYER = (
    *("intermediate_size", "num_key_value_heads", "num_attention_heads"),
    *("num_experts", "num_experts_per_tok", "moe_intermediate_size", "n_shared_experts"),
)


def layers_of(fields: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers of a decoder in order. Raises SpecError for a kind of layer that is not known
    here. The layers of an unknown family have caches and no matrices."""
    family = FAMILIES.get(fields["model_type"])
    kinds, inner = mixers(fields), feed_forwards(fields)
    return tuple(
        _layer(_of_layer(fields, number, kind), number, kind, mlp, family)
        for number, (kind, mlp) in enumerate(zip(kinds, inner, strict=True))
    )


def _of_layer(fields: Mapping[str, Any], number: int, kind: str) -> dict[str, Any]:
    """The fields as they hold for one layer: some families list a size for each, or have other
    heads where a layer looks at everything."""
    count = fields["num_hidden_layers"]
    own = {
        name: value[number if len(value) >= count else 0]
        for name in BY_LAYER
        if isinstance(value := fields.get(name), list) and value
    }
    if fields["model_type"].startswith("gemma4"):
        own |= _gemma4(fields, number, kind)
    return {**fields, **own}


def _gemma4(fields: Mapping[str, Any], number: int, kind: str) -> dict[str, Any]:
    """Layers of Gemma 4 that look at everything have larger heads, and may use their keys as
    values; those that share their keys may have wider MLPs."""
    by_layer = fields.get("per_layer_config") or {}
    own: dict[str, Any] = dict(by_layer.get(f"{number:02d}") or by_layer.get(str(number)) or {})
    if kind == "full" and not by_layer:
        own["head_dim"] = fields.get("global_head_dim") or 512
    if kind == "full" and fields.get("attention_k_eq_v"):
        own["keys_are_values"] = True
        if fields.get("num_global_key_value_heads"):
            own["num_key_value_heads"] = fields["num_global_key_value_heads"]
    if fields.get("use_double_wide_mlp") and not _has_keys(fields, number):
        own["intermediate_size"] = 2 * fields["intermediate_size"]
    return own


def _has_keys(fields: Mapping[str, Any], number: int) -> bool:
    """Whether a layer has keys and values of its own; the last `num_kv_shared_layers` use those of
    earlier layers, and with cross-layer attention all but the first of each few do."""
    shared = fields.get("num_kv_shared_layers") or 0
    if number >= fields["num_hidden_layers"] - shared:
        return False
    if fields.get("use_cla"):
        return bool(number % (fields.get("cla_share_factor") or 2) == 0)
    return True


def _layer(
    fields: Mapping[str, Any], number: int, kind: str, mlp: str, family: ModelFamily | None
) -> Layer:
    caches: tuple[Cache, ...] = ()
    if kind in ("full", "sliding", "chunked", "both", "cross") and _has_keys(fields, number):
        caches = _caches(fields, kind)
    state_bytes, parts = 0, Parts()
    if kind in ("state", "both"):
        if family is None or family.state is None:
            raise SpecError(
                f"{fields['model_type']!r} models keep a state in some layers, whose size is not "
                "known here"
            )
        parts, state_bytes = state_layer(family.state, fields)
    if family is None:
        return Layer(caches=caches, state_bytes=state_bytes)
    if fields["model_type"] in ("zamba", "zamba2"):
        parts += _zamba(fields, family, number, kind)
    else:
        if kind not in ("state", "none"):
            parts += _attention(fields, family, own_keys=_has_keys(fields, number))
        parts += _mlp(fields, family, mlp)
    parts += Parts((), _norms(fields, family, mlp))
    if fields["model_type"] in GEMMA_BLOCKS:
        parts += _gemma_block(fields)
    return Layer(caches=caches, state_bytes=state_bytes, matrices=parts.matrices, other=parts.other)


def _caches(fields: Mapping[str, Any], kind: str) -> tuple[Cache, ...]:
    if fields.get("kv_lora_rank") and fields.get("use_mla", True):
        rank, rope = fields["kv_lora_rank"], fields.get("qk_rope_head_dim") or 0
        caches: tuple[Cache, ...] = (
            Cache(kind="latent", heads=1, head_values=rank + rope, vectors=1),
        )
        if fields.get("index_head_dim") and fields["model_type"] in DSA:
            size = fields["index_head_dim"] + INDEX_BYTES
            caches += (Cache(kind="index", heads=1, head_values=0, vectors=1, fixed_bytes=size),)
        return caches * (2 if fields["model_type"] == "longcat_flash" else 1)
    _, kv, size = heads(fields)
    values = size + (fields.get("v_head_dim") or size)
    if kind == "sliding":
        window = fields.get("sliding_window")
        return (Cache(kind="sliding", heads=kv, head_values=values, window=window),)
    if kind == "chunked":
        window = fields["attention_chunk_size"]
        return (Cache(kind="chunked", heads=kv, head_values=values, window=window),)
    own: tuple[Cache, ...] = (Cache(kind="full", heads=kv, head_values=values),)
    if fields.get(ENCODER_TOKENS):  # a decoder of speech looks at its encoder in every layer
        window = fields[ENCODER_TOKENS]
        own += (Cache(kind="cross", heads=kv, head_values=values, window=window),)
    return own


def _attention(fields: Mapping[str, Any], family: ModelFamily, *, own_keys: bool) -> Parts:
    if fields.get("kv_lora_rank"):
        parts = latent_attention(fields)
        return parts + parts if fields["model_type"] == "longcat_flash" else parts
    parts = attention(fields, family, own_keys=own_keys)
    if fields.get("keys_are_values") and own_keys:
        _, kv, size = heads(fields)
        less = fields["hidden_size"] * kv * size
        parts += Parts((Matrices(place="attention", weights=-less, used=-less),), 0)
    if fields.get(ENCODER_TOKENS):
        parts += parts
    return parts


def _mlp(fields: Mapping[str, Any], family: ModelFamily, mlp: str) -> Parts:
    kind = fields["model_type"]
    if mlp == "none":
        return Parts()
    if mlp == "moe":
        parts = experts(fields, family)
        if kind == "longcat_flash":
            dense = {**fields, "intermediate_size": fields.get("ffn_hidden_size")}
            return parts + feed_forward(dense, family) + feed_forward(dense, family)
        if kind.startswith("gemma4"):  # its router scales its input, and each expert's part
            scales = fields["hidden_size"] + fields["num_experts"]
            return parts + feed_forward(fields, family) + Parts((), scales)
        return parts
    width = fields.get("intermediate_size_mlp")
    if kind in ("granitemoehybrid", "granitemoeshared") and fields.get("shared_intermediate_size"):
        width = fields["shared_intermediate_size"]
    if kind in ("lfm2", "lfm2_moe"):
        width = _lfm2_width(fields)
    return feed_forward(fields, family, width)


def _lfm2_width(fields: Mapping[str, Any]) -> int:
    """LFM2 adjusts the inner width of its MLP: two thirds of it, in whole multiples."""
    width = int(fields.get("block_ff_dim") or fields["intermediate_size"])
    if fields["model_type"] == "lfm2_moe" or not fields.get("block_auto_adjust_ff_dim", True):
        return width
    width = int(2 * width / 3)
    if fields.get("block_ffn_dim_multiplier") is not None:
        width = int(fields["block_ffn_dim_multiplier"] * width)
    multiple = fields.get("block_multiple_of") or 256
    return int(multiple * ((width + multiple - 1) // multiple))


def _norms(fields: Mapping[str, Any], family: ModelFamily, mlp: str) -> int:
    if not family.norm_weights:
        return 0
    count, model = family.norms, fields["model_type"]
    if model == "falcon":
        parallel = fields.get("parallel_attn", True)
        two = fields.get("new_decoder_architecture") or not parallel
        count = fields.get("num_ln_in_parallel_attn") or (2 if two else 1)
    if model == "stablelm" and fields.get("use_parallel_residual"):
        count = 1
    if model == "longcat_flash":
        count = 4
    if model in ("zamba", "zamba2"):
        count = 1
    if fields.get(ENCODER_TOKENS):
        count += 1
    if model.startswith("gemma4") and mlp == "moe":
        count += 3
    return int(count * fields["hidden_size"] * (2 if family.norm_bias else 1))


def _zamba(fields: Mapping[str, Any], family: ModelFamily, number: int, kind: str) -> Parts:
    """The blocks of attention that layers of Zamba share: each is held once, by the first layer
    that has it; every such layer has a matrix of its own, and in Zamba 2 adapters."""
    if kind != "both":
        return Parts()
    hidden = fields["hidden_size"]
    own = hidden * hidden
    before = mixers(fields)[:number].count("both")
    parts = Parts()
    if before < (fields.get("num_mem_blocks") or 1):
        parts = _attention(fields, family, own_keys=True) + feed_forward(fields, family)
        parts += Parts((), 3 * hidden)
    rank, inner = fields.get("adapter_rank") or 0, fields["intermediate_size"]
    if fields["model_type"] == "zamba2":
        own += rank * (hidden + 2 * inner)
        if fields.get("use_shared_attention_adapter"):
            own += 6 * rank * (fields.get("attention_hidden_size") or 2 * hidden)
    return parts + Parts((Matrices(place="mlp", weights=own, used=own),), 0)


def _gemma_block(fields: Mapping[str, Any]) -> Parts:
    """What a layer of Gemma 3n and 4 has besides: the input of its own, LAuReL and AltUp."""
    hidden, own = fields["hidden_size"], fields.get("hidden_size_per_layer_input") or 0
    weights = 2 * hidden * own
    other = hidden if own else 0
    if fields["model_type"] == "gemma3n_text":
        rank, inputs = fields["laurel_rank"], fields["altup_num_inputs"]
        weights += 2 * hidden * rank
        other += 2 * hidden + inputs * inputs + inputs**3 + hidden * inputs + hidden
    else:
        other += 1  # the scalar of the layer
    return Parts((Matrices(place="mlp", weights=weights, used=weights),), other)
