"""The layers of a decoder: what each keeps of a sequence, and the matrices that it holds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from journal.theory.families import ModelFamily

CacheKind = Literal["full", "sliding", "chunked", "latent", "cross", "index"]
Place = Literal["attention", "state", "mlp", "experts", "shared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """The part of the KV cache that one layer fills. A token adds `heads` times `head_values`
    elements, key and value together, in `vectors` vectors for each head (2, or 1 for the latent
    vector of MLA, which has one head). `window` is the number of tokens that are kept: None for
    all of them; for cross attention, those of the encoder, whatever the length of the sequence.
    `fixed_bytes` is the size of a token where no KV type changes it."""

    kind: CacheKind
    heads: int
    head_values: int
    vectors: int = 2
    window: int | None = None
    fixed_bytes: int | None = None

    def on_one_of(self, gpu_count: int) -> "Cache":
        """The part of it on one of so many GPUs: heads are dealt out, and copied where the GPUs
        outnumber them."""
        return replace(self, heads=max(1, self.heads // gpu_count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrices:
    """Matrices of one layer in one `place`: the number of their weights, and the part of them that
    one token passes. `biases` are beside them."""

    place: Place
    weights: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer. `state_bytes` is what it keeps of a sequence however long that is; `other` counts
    norms, biases, routers and whatever else no packing touches."""

    caches: tuple[Cache, ...] = ()
    state_bytes: int = 0
    matrices: tuple[Matrices, ...] = ()
    other: int = 0

    def on_one_of(self, gpu_count: int) -> "Layer":
        """What one of so many GPUs keeps of a sequence in this layer."""
        caches = tuple(cache.on_one_of(gpu_count) for cache in self.caches)
        return replace(self, caches=caches, state_bytes=self.state_bytes // gpu_count)


@dataclass(frozen=True, slots=True)
class Parts:
    """Matrices by their place and other parameters, before they are a layer."""

    matrices: tuple[Matrices, ...] = ()
    other: int = 0

    def __add__(self, more: "Parts") -> "Parts":
        return Parts(self.matrices + more.matrices, self.other + more.other)


def heads(fields: Mapping[str, Any]) -> tuple[int, int, int]:
    """The numbers of attention heads and of KV heads, and the size of a head. Multi-query attention
    has one KV head; without a number there are as many as attention heads."""
    count = fields["num_attention_heads"]
    wide = 2 if fields["model_type"].startswith("zamba") else 1  # layer and embedding, side by side
    size = fields.get("head_dim") or wide * fields["hidden_size"] // count
    kv = fields.get("num_key_value_heads")
    if fields.get("new_decoder_architecture") or fields.get("multi_query") is False:
        return count, kv or count, size
    if fields.get("multi_query"):
        return count, 1, size
    if fields.get("multi_query_attention"):
        return count, fields.get("multi_query_group_num") or 1, size
    return count, kv or count, size


def attention(fields: Mapping[str, Any], family: ModelFamily, *, own_keys: bool = True) -> Parts:
    """The projections of attention with their biases, the norms of queries and keys, gates and
    sinks. Without `own_keys` the layer uses the keys and values of an earlier one."""
    hidden, (count, kv, size) = fields["hidden_size"], heads(fields)
    queries, values = count * size, count * (fields.get("v_head_dim") or size)
    keys = kv * size + kv * (fields.get("v_head_dim") or size)
    zamba = fields["model_type"].startswith("zamba")
    width = (fields.get("attention_hidden_size") or 2 * hidden) if zamba else hidden
    weights = width * queries * (2 if family.query_gate else 1)
    weights += values * hidden + (width * keys if own_keys else 0)
    weights += hidden * queries if family.head_gate else 0
    other = _biases(fields, family, queries, keys if own_keys else 0)
    if fields.get("qk_layernorm", fields.get("use_qk_norm", True)):
        kind = family.qk_norm
        both = 1 if not own_keys else 2
        other += {"head": both * size, "full": queries + kv * size, "layer": 4 * size}.get(
            kind or "", 0
        )
    if family.sinks:
        other += count
    return Parts((Matrices(place="attention", weights=weights, used=weights),), other)


def _biases(fields: Mapping[str, Any], family: ModelFamily, queries: int, keys: int) -> int:
    stated = fields.get("attention_bias", fields.get("use_bias", fields.get("bias")))
    on = family.qkv_bias or bool(stated)
    if fields.get("no_bias") or fields.get("use_bias") is False:
        on = False
    out = fields.get("attention_out_bias", on and family.out_bias) or family.always_out_bias
    return (queries + keys if on else 0) + (fields["hidden_size"] if out else 0)


def latent_attention(fields: Mapping[str, Any]) -> Parts:
    """The projections of multi-head latent attention.

    Source: DeepSeek-AI 2024, "DeepSeek-V2", 2.1.
    """
    hidden, count = fields["hidden_size"], fields["num_attention_heads"]
    rank, rope = fields["kv_lora_rank"], fields.get("qk_rope_head_dim") or 0
    size = heads(fields)[2]
    nope, value = fields.get("qk_nope_head_dim") or size, fields.get("v_head_dim") or size
    query_rank, query = fields.get("q_lora_rank"), count * (nope + rope)
    weights = hidden * (rank + rope) + rank * count * (nope + value) + count * value * hidden
    weights += hidden * query_rank + query_rank * query if query_rank else hidden * query
    other = rank + (query_rank or 0)
    if fields.get("attention_bias"):
        other += rank + rope + hidden + (query_rank or 0)
    if fields.get("index_n_heads"):
        index = fields["index_n_heads"] * fields["index_head_dim"]
        weights += (query_rank or hidden) * index + hidden * fields["index_head_dim"]
        other += hidden * fields["index_n_heads"] + 2 * fields["index_head_dim"]
    return Parts((Matrices(place="attention", weights=weights, used=weights),), other)


def feed_forward(fields: Mapping[str, Any], family: ModelFamily, width: int | None = None) -> Parts:
    """The matrices of an MLP of the given inner width, by default the config's."""
    hidden = fields["hidden_size"]
    inner = width or fields.get("intermediate_size") or 4 * hidden
    if fields["model_type"] in ("qwen", "recurrent_gemma"):
        inner //= 2  # these state the width of gate and input together
    weights = (3 if family.gated else 2) * hidden * inner
    bias = family.mlp_bias or bool(fields.get("mlp_bias"))
    if fields["model_type"] in ("starcoder2", "ernie4_5"):
        bias = bool(fields.get("use_bias", family.mlp_bias))
    if fields["model_type"] in ("falcon",):
        bias = bool(fields.get("bias"))
    other = ((2 if family.gated else 1) * inner + hidden) if bias else 0
    return Parts((Matrices(place="mlp", weights=weights, used=weights),), other)


def experts(fields: Mapping[str, Any], family: ModelFamily) -> Parts:
    """The experts of a layer, of which a router picks some for each token, the experts that every
    token passes, and the router."""
    get, hidden = fields.get, fields["hidden_size"]
    count, used = get("num_experts", 1), get("num_experts_per_tok", 1)
    inner = get("moe_intermediate_size") or get("intermediate_size") or 4 * hidden
    matrices_of_one = 3 if family.gated else 2
    one = matrices_of_one * hidden * inner
    latent = get("moe_latent_size")
    if latent:
        one = matrices_of_one * latent * inner
    parts = Parts(
        (Matrices(place="experts", weights=count * one, used=used * one),),
        hidden * count
        + (count if family.correction or family.router_bias else 0)
        + (count * (2 * inner + hidden) if family.expert_bias else 0),
    )
    shared = _shared_width(fields, inner)
    if shared:
        weights = matrices_of_one * hidden * shared
        gate = hidden if family.shared_gate else 0
        parts += Parts((Matrices(place="shared", weights=weights, used=weights),), gate)
    if latent:
        weights = 2 * hidden * latent
        parts += Parts((Matrices(place="shared", weights=weights, used=weights),), 0)
    return parts


def _shared_width(fields: Mapping[str, Any], inner: int) -> int:
    """The inner width of the experts that every token passes, all together."""
    get = fields.get
    for name in (
        *("shared_expert_intermediate_size", "shared_intermediate_size"),
        "moe_shared_expert_intermediate_size",
    ):
        if get(name):
            return int(fields[name]) * (get("n_shared_experts") or 1)
    if fields["model_type"] == "llama4_text":
        return int(fields["intermediate_size"])
    return inner * int(get("n_shared_experts") or 0)
