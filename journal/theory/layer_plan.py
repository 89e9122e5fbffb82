"""The kinds of the layers of a decoder, in order: how each one looks back, and whether its MLP is
one of several experts. Families state it in a dozen ways; the rules are those of their modelling
code in transformers, or in vLLM."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from journal.errors import SpecError
from journal.theory.families import FAMILIES

# What families call the kinds of a layer, and their names here. "state" is the kind of linear or
# state-space layer that the family has; "both" is attention beside such a state.
WORDS: Mapping[str, str] = {
    **dict.fromkeys(("full_attention", "attention", "global", "global_attention", "full"), "full"),
    **dict.fromkeys(("*", "a", "F", "G", "nope", "indexed_attention"), "full"),
    **dict.fromkeys(("sliding_attention", "sliding", "local", "local_attention", "L"), "sliding"),
    **dict.fromkeys(("sliding_window_attention", "swa", "windowed"), "sliding"),
    **dict.fromkeys(("chunked_attention", "chunked"), "chunked"),
    **dict.fromkeys(
        ("linear_attention", "linear", "mamba", "mamba2", "conv", "recurrent"), "state"
    ),
    **dict.fromkeys(("M", "m", "kda", "gated_deltanet"), "state"),
    **dict.fromkeys(("hybrid", "parallel"), "both"),
    **dict.fromkeys(("mlp", "-", "moe", "E"), "none"),
}
# Families all of whose layers are of one kind beside attention.
ONLY: Mapping[str, str] = {
    "bamba": "state",
    "granitemoehybrid": "state",
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba"), "state"),
    "falcon_h1": "both",
}
# Families whose configs need not list their layers, and the pattern that they then have.
PATTERNS: Mapping[str, tuple[str, ...]] = {
    "recurrent_gemma": ("state", "state", "full"),
    "minimax": ("full", "state"),
    "kimi_linear": ("state", "state", "state", "full"),
}
DSA = {"deepseek_v32", "glm_moe_dsa"}


def mixers(fields: Mapping[str, Any]) -> list[str]:
    """The kind of each layer: full, sliding, chunked, state, both or none. Raises SpecError for a
    kind that is not known here."""
    count = fields["num_hidden_layers"]
    words = _stated(fields, count)
    if words is not None:
        kinds = [_kind(word, fields) for word in islice(cycle(words), count)]
    else:
        kinds = _by_rule(fields, count)
    window, context = fields.get("sliding_window"), fields.get("max_position_embeddings")
    endless = not window or (isinstance(context, int) and window >= context)
    if endless or fields.get("use_sliding_window") is False:
        kinds = ["full" if kind == "sliding" else kind for kind in kinds]
    if fields["model_type"] == "recurrent_gemma":
        kinds = ["sliding" if kind == "full" else kind for kind in kinds]
    return kinds


def feed_forwards(fields: Mapping[str, Any]) -> list[str]:
    """The MLP of each layer: mlp, moe, or none. In NemotronH's form a layer is either a mixer or an
    MLP."""
    count, family = fields["num_hidden_layers"], fields["model_type"]
    pattern = _nemotron(fields, count)
    if pattern is not None:
        word = {"-": "mlp", "mlp": "mlp", "E": "moe", "moe": "moe"}
        return [word.get(kind, "none") for kind in pattern]
    if family in ("mamba", "mamba2", "falcon_mamba"):
        return ["none"] * count
    if fields.get("num_experts", 1) in (0, 1):
        return ["mlp"] * count
    if fields.get("enable_moe_block") is False:
        return ["mlp"] * count
    return ["moe" if _is_sparse(fields, layer) else "mlp" for layer in range(count)]


def _stated(fields: Mapping[str, Any], count: int) -> Sequence[str] | None:
    """The words of a config that lists its layers, in one of the ways to do so."""
    pattern = _nemotron(fields, count)
    if pattern is not None:
        return pattern
    types = fields.get("layer_types")
    if isinstance(types, list) and types:
        return [str(word) for word in types]
    if isinstance(fields.get("attn_type_list"), list):  # MiniMax-Text-01
        return ["full" if one == 1 else "linear" for one in fields["attn_type_list"]]
    for name, here, there in (
        ("attn_layer_indices", "full", "mamba"),
        ("full_attn_idxs", "full", "conv"),
        ("hybrid_layer_ids", "hybrid", "mamba"),
        ("cross_attention_layers", "cross", "full"),
    ):
        places = fields.get(name)
        if isinstance(places, list) and places:
            return [here if layer in places else there for layer in range(count)]
    if isinstance(fields.get("full_attn_layers"), list):  # Kimi Linear counts from 1
        places = fields["full_attn_layers"]
        return ["full" if layer + 1 in places else "linear" for layer in range(count)]
    return None


def _nemotron(fields: Mapping[str, Any], count: int) -> list[str] | None:
    pattern = fields.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return list(pattern[:count])
    if fields["model_type"] == "nemotron_h" and isinstance(fields.get("layer_types"), list):
        return [str(word) for word in fields["layer_types"]][:count]
    return None


def _kind(word: str, fields: Mapping[str, Any]) -> str:
    if word in ("cross", *WORDS.values()):
        return word
    if word not in WORDS:
        raise SpecError(
            f"this {fields['model_type']} model has layers of a kind that is not known here"
            f" ({word!r}): what they keep of a sequence cannot be said"
        )
    return WORDS[word]


def _by_rule(fields: Mapping[str, Any], count: int) -> list[str]:
    """The kinds of layers that a config gives by a period, or its family by habit."""
    family, layers = fields["model_type"], range(count)
    if family in ONLY:
        return [ONLY[family]] * count
    if family in PATTERNS:
        return list(islice(cycle(PATTERNS[family]), count))
    if family == "zamba":
        first = ["state", "state", "both"]
        period, offset = fields["attn_layer_period"], fields["attn_layer_offset"]
        rest = ["both" if i % period == offset else "state" for i in range(count - 3)]
        return (first + rest)[:count]
    state = FAMILIES[family].state if family in FAMILIES else None
    if fields.get("attn_layer_period"):
        period, offset = fields["attn_layer_period"], fields.get("attn_layer_offset", 0)
        return ["full" if layer % period == offset else "state" for layer in layers]
    if state == "delta":
        every = fields.get("full_attention_interval") or 4
        return ["full" if (layer + 1) % every == 0 else "state" for layer in layers]
    if family == "llama4_text":
        return _llama4(fields, count)
    return _windowed(fields, count)


def _llama4(fields: Mapping[str, Any], count: int) -> list[str]:
    """Layers with positions (1 in no_rope_layers) attend to their own chunk only."""
    listed = fields.get("no_rope_layers") or []
    every = fields.get("no_rope_layer_interval") or 4
    rope = listed or [int((layer + 1) % every != 0) for layer in range(count)]
    chunked = "chunked" if fields.get("attention_chunk_size") else "full"
    return [chunked if one else "full" for one in rope[:count]]


def _windowed(fields: Mapping[str, Any], count: int) -> list[str]:
    """Layers with windows: by a pattern, or from a layer on, or all."""
    family = fields["model_type"]
    habit = FAMILIES[family].window_every if family in FAMILIES else None
    pattern = fields.get("sliding_window_pattern") or fields.get("global_attn_every_n_layers")
    if isinstance(pattern, str):
        return [_kind(word, fields) for word in islice(cycle(pattern), count)]
    every = pattern or habit
    if every:
        return ["full" if (layer + 1) % every == 0 else "sliding" for layer in range(count)]
    first = fields.get("max_window_layers") if family.startswith("qwen") else 0
    return ["sliding" if layer >= (first or 0) else "full" for layer in range(count)]


def _is_sparse(fields: Mapping[str, Any], layer: int) -> bool:
    """Whether a router picks experts in `layer`."""
    get: Callable[..., Any] = fields.get
    if layer in (get("mlp_only_layers") or ()):
        return False
    types = get("mlp_layer_types")
    if isinstance(types, list) and layer < len(types):
        return str(types[layer]) in ("sparse", "moe")
    if get("moe_layers"):
        return layer in get("moe_layers")
    frequency = get("moe_layer_freq")
    if isinstance(frequency, list):
        return layer < len(frequency) and bool(frequency[layer])
    if get("interleave_moe_layer_step"):
        return bool((layer + 1) % get("interleave_moe_layer_step") == 0)
    if get("expert_layer_period"):
        return bool(layer % get("expert_layer_period") == get("expert_layer_offset", 0))
    dense = get("first_k_dense_replace") or get("num_dense_layers") or 0
    if fields["model_type"] == "glm4_moe_lite":
        dense = dense or 1
    start, end = get("moe_layer_start_index") or 0, get("moe_layer_end_index")
    if isinstance(start, list):
        start = min(start)
    if layer < dense or layer < start or (isinstance(end, int) and 0 <= end < layer):
        return False
    interval = get("moe_layer_interval") or frequency or 1
    if get("decoder_sparse_step"):
        return bool((layer + 1) % get("decoder_sparse_step") == 0)
    return bool((layer + (1 if get("moe_layer_interval") else 0)) % interval == 0)
