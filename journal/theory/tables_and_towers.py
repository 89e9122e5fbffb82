"""What a model holds beside its layers: tables of embeddings, the head, and the towers that see and
hear."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from journal.theory.config_fields import AUDIO_PARTS, VISION_PARTS, tower_part
from journal.theory.families import ModelFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """Numbers of parameters beside the layers: the `embedding`, the `head` as if it were not tied,
    `other` (norms, learned positions, projections of inputs), and the towers."""

    embedding: int
    head: int
    other: int
    tower: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """A vision tower as its family publishes it, where its config leaves sizes out: a transformer
    over patches of `patch_values` values. `gated`: its MLP has three matrices; `bias`: all its
    projections have biases. `merged` patches become one input of the text part through `mergers`
    of two matrices, the first `wide` (or as wide as the merged patches)."""

    layers: int
    hidden: int
    intermediate: int
    patch_values: int
    positions: int = 0
    gated: bool = False
    bias: bool = True
    merged: int = 1
    mergers: int = 1
    square_first: bool = True
    other: int = 0


_SIGLIP = Vision(
    layers=27, hidden=1152, intermediate=4304, patch_values=3 * 14 * 14, positions=4096
)
_PIXTRAL = Vision(
    layers=24, hidden=1024, intermediate=4096, patch_values=3 * 14 * 14, gated=True, bias=False
)
_CLIP = Vision(layers=24, hidden=1024, intermediate=4096, patch_values=3 * 14 * 14, positions=577)
_QWEN3 = Vision(
    layers=27,
    hidden=1152,
    intermediate=4304,
    patch_values=3 * 2 * 16 * 16,
    positions=2304,
    merged=4,
)
VISIONS: Mapping[str, Vision] = {
    "qwen2_vl": Vision(
        layers=32, hidden=1280, intermediate=5120, patch_values=3 * 2 * 14 * 14, merged=4
    ),
    "qwen2_5_vl": Vision(
        layers=32,
        hidden=1280,
        intermediate=3420,
        patch_values=3 * 2 * 14 * 14,
        gated=True,
        merged=4,
    ),
    "qwen3_vl": Vision(
        layers=27,
        hidden=1152,
        intermediate=4304,
        patch_values=3 * 2 * 16 * 16,
        positions=2304,
        merged=4,
        mergers=4,
    ),
    "qwen3_5": _QWEN3,
    "gemma3": _SIGLIP,
    "paligemma": _SIGLIP,
    "mistral3": _PIXTRAL,
    "pixtral": _PIXTRAL,
    "llava": _CLIP,
    "internvl": Vision(
        layers=24,
        hidden=1024,
        intermediate=4096,
        patch_values=3 * 14 * 14,
        positions=1025,
        merged=4,
    ),
    "llama4": Vision(
        layers=34,
        hidden=1408,
        intermediate=5632,
        patch_values=3 * 14 * 14,
        positions=577,
    ),
}
# Towers that are no plain transformers, counted in the published checkpoints.
GEMMA3N_VISION, GEMMA3N_AUDIO = 312_000_000, 697_000_000
GLM4V_VISION = 892_498_432
GEMMA4_AUDIO = 308_000_000


WITH_TOWERS = (
    *("gemma3n", "gemma3", "mistral3", "qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_vl_moe"),
    *("paligemma", "glm4v", "glm4v_moe"),
)


def tables(fields: Mapping[str, Any], family: ModelFamily, config: Mapping[str, Any]) -> Tables:
    """What the model of these completed `fields` holds beside its layers."""
    hidden, rows = fields["hidden_size"], fields["vocab_size"]
    width = fields.get("word_embed_proj_dim") or hidden
    head = rows * width + (rows if family.head_bias or fields.get("lm_head_bias") else 0)
    norm = hidden * (2 if family.norm_bias else 1) if family.norm_weights else 0
    other = norm * (family.final_norms + family.embedding_norms)
    if family.positions is not None and not fields.get("alibi"):
        other += (fields.get("max_position_embeddings", 0) + family.positions) * hidden
    if width != hidden:
        other += 2 * width * hidden
    if fields.get("final_logits_bias"):
        other += rows
    embedding = rows * width
    own = fields.get("hidden_size_per_layer_input")
    if own:
        layers = fields["num_hidden_layers"]
        embedding += (fields.get("vocab_size_per_layer_input") or rows) * layers * own
        other += hidden * layers * own + own
    if fields["model_type"] == "gemma3n_text":
        other += 2 * (fields["altup_num_inputs"] - 1) * hidden * hidden
    return Tables(
        embedding=embedding,
        head=head,
        other=other,
        tower=_vision(fields, config) + _audio(fields, config),
    )


def _vision(fields: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """The parameters of the vision tower and of what joins it to the text part."""
    stated, outer = tower_part(config, VISION_PARTS), fields["outer_type"]
    if stated is None and outer in WITH_TOWERS:
        stated = {}  # the library builds one all the same
    if stated is None:
        return 0
    if outer == "gemma3n":
        return GEMMA3N_VISION
    if outer.startswith("glm4v"):
        return GLM4V_VISION
    known = next(
        (
            VISIONS[name]
            for name in sorted(VISIONS, key=len, reverse=True)
            if outer.startswith(name)
        ),
        None,
    )
    return _count(_completed_vision(stated, known, outer), fields["hidden_size"], outer)


def _completed_vision(stated: Mapping[str, Any], known: Vision | None, outer: str) -> Vision:
    base = known or _CLIP
    get: Callable[..., Any] = stated.get
    # Where sizes are stated, what the family publishes for the rest may be another size's.
    hidden = get("embed_dim") or get("hidden_size") or get("width") or base.hidden
    if outer == "qwen2_vl":
        hidden = get("embed_dim") or base.hidden
    if outer.startswith("qwen2_5") and get("out_hidden_size") is None:
        hidden = base.hidden
    layers = get("depth") or get("num_hidden_layers") or get("layers") or base.layers
    inner = get("intermediate_size") or get("mlp_dim")
    if inner is None and get("mlp_ratio") and hidden:
        inner = int(hidden * get("mlp_ratio"))
    if inner is None:
        inner = base.intermediate if hidden == base.hidden else 4 * hidden
    patch = base.patch_values
    if isinstance(get("patch_size"), int):
        patch = 3 * (get("temporal_patch_size") or 1) * get("patch_size") ** 2
    return Vision(
        layers=layers if isinstance(layers, int) else base.layers,
        hidden=hidden,
        intermediate=inner,
        patch_values=patch,
        positions=base.positions,
        gated=base.gated,
        bias=base.bias,
        merged=(get("spatial_merge_size") or 0) ** 2 or base.merged,
        mergers=base.mergers,
    )


def _count(vision: Vision, text_hidden: int, outer: str) -> int:
    hidden, inner = vision.hidden, vision.intermediate
    layer = 4 * hidden * hidden + (3 if vision.gated else 2) * hidden * inner + 4 * hidden
    if vision.bias:
        layer += 5 * hidden + (2 if vision.gated else 1) * inner
    total = vision.layers * layer + hidden * (vision.patch_values + vision.positions + 3)
    if outer == "gemma3" or outer == "paligemma":
        return total + hidden * text_hidden
    if outer == "mistral3":
        return total + 4 * hidden * hidden + hidden * text_hidden + text_hidden * text_hidden
    wide = hidden * vision.merged
    if vision.merged == 1:
        return total + hidden * text_hidden + text_hidden * text_hidden + 2 * text_hidden
    return total + vision.mergers * (wide * wide + wide * text_hidden + 3 * wide + text_hidden)


def _audio(fields: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    """The parameters of an encoder of speech of Whisper's form and of what joins it to the text
    part."""
    stated = tower_part(config, AUDIO_PARTS)
    hidden = fields["hidden_size"]
    if stated is None and fields["outer_type"] == "gemma3n":
        stated = {}
    if stated is None:
        if fields["model_type"] != "whisper":
            return 0
        stated = fields
    if fields["outer_type"] == "gemma3n":
        return GEMMA3N_AUDIO
    if fields["outer_type"].startswith("gemma4"):
        return GEMMA4_AUDIO
    get = stated.get
    width = get("d_model") or get("hidden_size") or 1280
    layers = get("encoder_layers") or get("num_hidden_layers") or 32
    inner = get("encoder_ffn_dim") or get("intermediate_size") or 4 * width
    layer = 4 * width * width + 2 * width * inner + 9 * width + inner
    mels = get("num_mel_bins") or 128
    first = 3 * mels * width + 3 * width * width + 2 * width
    positions = (get("max_source_positions") or 1500) * width
    join = 0 if fields["model_type"] == "whisper" else width * hidden + hidden
    return int(layers * layer + first + positions + join + 2 * width)
