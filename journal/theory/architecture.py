"""The sizes of a model by its config.json: parameters by kind, and what its layers keep of a
sequence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from journal.errors import SpecError
from journal.theory.config_fields import (
    AUDIO_PARTS,
    KEPT,
    TEXT_PARTS,
    VISION_PARTS,
    completed,
    text_part,
)
from journal.theory.families import FAMILIES
from journal.theory.layer_building import layers_of
from journal.theory.layers import Cache, Layer, Place, heads
from journal.theory.packing import PACKED_KEYS, Packing, packing
from journal.theory.tables_and_towers import Tables, tables

# Layers and heads are laid out one by one; the deepest models have hundreds.
MOST = {"num_hidden_layers": 10_000, "num_attention_heads": 10_000}
LARGEST = 2**53  # of any other number
NEEDED = ("num_hidden_layers", "hidden_size", "vocab_size")
STATE_ONLY = {"mamba", "mamba2", "falcon_mamba"}
ENCODERS = frozenset(
    "bert roberta xlm-roberta camembert distilbert electra modernbert nomic_bert deberta-v2".split()
)
WITHOUT_ROTATION = STATE_ONLY | {"bloom", "mpt", "jamba", "zamba", "nemotron_h", "whisper"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Numbers of parameters. `linear` counts the layers' matrices, which quantisation packs;
    `used` counts the part of them that one token passes (less than all where a router picks
    experts). `embedding` is the table of input vectors, `head` the output matrix (0 where it is
    the same table), `other` norms, biases and routers, `tower` what sees and hears."""

    linear: int
    used: int
    embedding: int
    head: int
    other: int
    tower: int = 0

    @property
    def total(self) -> int:
        """All parameters of the model."""
        return self.linear + self.embedding + self.head + self.other + self.tower


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The sizes of a decoder and its layers (`plan`). `context` is the longest sequence in tokens
    that the config allows, `dtype` the type of its weights. `packing` is how the checkpoint packs
    its weights; None: not at all. `tables` are embeddings, head and towers; None where its
    family's parameters cannot be counted here. `rotary` is the number of elements in the table of
    rotations that an engine makes beside the weights."""

    kind: str
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    plan: tuple[Layer, ...]
    tables: Tables | None
    context: int | None = None
    experts: int = 1
    experts_used: int = 1
    rotary: int = 0
    dtype: str | None = None
    packing: Packing | None = None

    @property
    def layers(self) -> int:
        """The number of layers."""
        return len(self.plan)

    @cached_property
    def caches(self) -> tuple[Cache, ...]:
        """The caches of all layers, in order."""
        return tuple(cache for layer in self.plan for cache in layer.caches)

    @cached_property
    def cache_counts(self) -> Mapping[Cache, int]:
        """The number of layers with each cache."""
        return Counter(self.caches)

    @cached_property
    def states(self) -> tuple[int, int]:
        """The number of layers that keep a state of constant size, and the bytes of the largest."""
        sizes = [layer.state_bytes for layer in self.plan if layer.state_bytes]
        return len(sizes), max(sizes, default=0)

    @cached_property
    def counts(self) -> Parameters | None:
        """The parameters by kind; None for a family that is not known here."""
        return None if self.tables is None else _counted(self, self.tables)

    @property
    def windowed_layers(self) -> int:
        """The number of layers that look back a window or a chunk only."""
        return sum(cache.kind in ("sliding", "chunked") for cache in self.caches)

    @property
    def window(self) -> int | None:
        """The longest of the windows in tokens; None where no layer has one."""
        windows = [c.window for c in self.caches if c.kind in ("sliding", "chunked") and c.window]
        return max(windows, default=None)

    @property
    def latent(self) -> int | None:
        """The number of elements that MLA keeps for a token in a layer instead of keys and
        values; None for other attention."""
        return next((c.head_values for c in self.caches if c.kind == "latent"), None)

    @property
    def mixed(self) -> bool:
        """Whether layers keep different spans of a sequence, so that tokens times a rate do not
        give the bytes of the cache."""
        return self.states[0] > 0 or self.windowed_layers > 0

    @property
    def quantisation(self) -> str | None:
        """The name of the checkpoint's packing (awq, gptq, fp8, ...); None: not packed."""
        return None if self.packing is None else self.packing.name

    @property
    def bits(self) -> int | None:
        """The size of a packed weight in bits, where its packing states it."""
        return None if self.packing is None else self.packing.bits

    @property
    def group(self) -> int | None:
        """The number of packed weights that share a scale; None where a channel or more does."""
        return None if self.packing is None else self.packing.group


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The sizes in a config.json; those of the text part where a model has several parts, completed
    by the library's defaults. Raises SpecError where a size is missing, or where layers are of a
    kind that is not known here."""
    fields = completed(config)
    kind = fields["model_type"]
    missing = [name for name in NEEDED if not isinstance(fields.get(name), int)]
    if not missing and kind not in STATE_ONLY and not fields.get("num_attention_heads"):
        missing = ["num_attention_heads"]
    if missing:
        raise SpecError(
            f"the config.json of this {kind or 'unnamed'} model lacks {missing[0]!r}: its memory"
            " cannot be computed from it"
        )
    _refuse_beyond(fields)
    if kind in ENCODERS:
        raise SpecError(
            f"a {kind} model only encodes: an engine keeps no KV cache for it, and its weights are"
            " what its files take"
        )
    fields.setdefault("num_attention_heads", 1)
    try:
        return _sized(fields, config)
    except KeyError as error:
        raise SpecError(
            f"the config.json of this {kind} model lacks {error}: its memory cannot be computed"
            " from it"
        ) from error
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise SpecError(
            f"a size in the config.json of this {kind} model is not what it should be ({error}):"
            " fetch it again, or correct it"
        ) from error


def _refuse_beyond(fields: Mapping[str, Any]) -> None:
    """Raises SpecError for a size that no memory could hold."""
    for name, value in fields.items():
        sizes = value if isinstance(value, list) else [value]
        most = MOST.get(name, LARGEST)
        if any(isinstance(size, int) and size > most for size in sizes):
            raise SpecError(
                f"the config.json of this {fields['model_type']} model has {name!r} above {most:,},"
                " the most that is read: fetch it again, or correct it"
            )


def _sized(fields: dict[str, Any], config: Mapping[str, Any]) -> Architecture:
    first = _first_of_lists(fields)
    count, kv, size = heads(first)
    dtype = fields.get("dtype", fields.get("torch_dtype"))
    many = first.get("num_experts") or 1
    family = FAMILIES.get(fields["model_type"])
    tied = fields.get("tie_word_embeddings")
    return Architecture(
        kind=fields["model_type"],
        hidden=fields["hidden_size"],
        heads=count,
        kv_heads=kv,
        head_dim=size,
        intermediate=first.get("intermediate_size") or 4 * fields["hidden_size"],
        vocabulary=fields["vocab_size"],
        tied=bool(tied) if tied is not None else family is not None and family.tied,
        plan=layers_of(fields),
        tables=None if family is None else tables(fields, family, config),
        context=fields.get("max_position_embeddings"),
        experts=many,
        experts_used=(first.get("num_experts_per_tok") or 1) if many > 1 else 1,
        rotary=_rotary(fields, size),
        dtype=None if dtype is None else str(dtype).removeprefix("torch."),
        packing=packing(_quantization(config)),
    )


def essence(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config.json that `architecture` reads, which is stored with each run."""
    kept = {key: value for key, value in config.items() if key in KEPT}
    for name in (*TEXT_PARTS, *VISION_PARTS, *AUDIO_PARTS):
        if isinstance(config.get(name), Mapping):
            kept[name] = essence(config[name])
    packed = _quantization(config)
    if packed:
        kept["quantization_config"] = {key: packed[key] for key in PACKED_KEYS if key in packed}
    return kept


def parameters(model: Architecture) -> Parameters:
    """The parameters of `model` by kind. Raises SpecError for a family that is not known here."""
    if model.counts is None:
        raise SpecError(
            f"the parameters of a {model.kind!r} model cannot be counted here: the folder of its"
            " checkpoint, or its name on the hub, gives them by the headers of its files"
        )
    return model.counts


def _counted(model: Architecture, tables: Tables) -> Parameters:
    return Parameters(
        linear=matrix_weights(model.plan),
        used=sum(part.used for layer in model.plan for part in layer.matrices),
        embedding=tables.embedding,
        head=0 if model.tied else tables.head,
        other=sum(layer.other for layer in model.plan) + tables.other,
        tower=tables.tower,
    )


def matrix_weights(plan: Iterable[Layer], place: Place | None = None) -> int:
    """The number of weights in the matrices of layers, those of one `place` where it is given."""
    return sum(
        part.weights
        for layer in plan
        for part in layer.matrices
        if place is None or part.place == place
    )


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for whole in (config, text_part(config)):
        for name in ("quantization_config", "compression_config"):
            if isinstance(whole.get(name), Mapping) and whole[name]:
                found: Mapping[str, Any] = whole[name]
                return found
    return {}


def _rotary(fields: Mapping[str, Any], head_dim: int) -> int:
    """Elements of the table of rotations: a row of a head's rotated part for each position."""
    family = FAMILIES.get(fields["model_type"])
    context = fields.get("max_position_embeddings")
    learned = family is not None and (family.positions is not None or fields.get("alibi"))
    if not isinstance(context, int) or learned or fields["model_type"] in WITHOUT_ROTATION:
        return 0
    rope = fields.get("rope_parameters") or {}
    part = fields.get("partial_rotary_factor") or rope.get("partial_rotary_factor") or 1
    size = fields.get("qk_rope_head_dim") or head_dim * part
    return round(context * size)


def _first_of_lists(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with the first entry of those that list a size for each layer."""
    return {
        name: value[0] if isinstance(value, list) and value and isinstance(value[0], int) else value
        for name, value in fields.items()
    }
