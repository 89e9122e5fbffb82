"""Layers that keep a state of constant size instead of keys and values: state-space models and
linear attention. Their matrices, and the bytes of their state of one sequence.

Shapes of the states are those of vLLM's MambaStateShapeCalculator: the inputs of the convolution
that are still needed, in the model's 16 bits, and the state itself, in 32 bits where the family
asks for it.

Sources: Gu and Dao 2023, "Mamba"; Dao and Gu 2024, "Transformers are SSMs"; Yang et al. 2024,
"Gated Delta Networks"; Kimi Team 2025, "Kimi Linear"; De et al. 2024, "Griffin".
"""

from collections.abc import Callable, Mapping
from typing import Any

from journal.errors import SpecError
from journal.theory.layers import Matrices, Parts

MODEL_BYTES = 2
STATE_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
# Families that keep their state in 32 bits unless told otherwise.
LONG_STATES = {"nemotron_h", "kimi_linear", "minimax_text_01", "minimax", "recurrent_gemma"}


def state_layer(kind: str, fields: Mapping[str, Any]) -> tuple[Parts, int]:
    """The parameters of a layer of that `kind`, and the bytes of its state of one sequence. Raises
    SpecError where the config lacks a size of it."""
    layers: Mapping[str, Callable[[Mapping[str, Any]], tuple[Parts, int]]] = {
        "mamba": _mamba,
        "mamba2": _mamba2,
        "delta": _delta,
        "kda": _kda,
        "lightning": _lightning,
        "conv": _conv,
        "recurrent": _recurrent,
    }
    try:
        return layers[kind](fields)
    except KeyError as error:
        raise SpecError(
            f"the config.json of this {fields['model_type']} model lacks {error}: the size of its"
            " state cannot be computed"
        ) from error


def _first(fields: Mapping[str, Any], *names: str, default: Any = None) -> Any:
    for name in names:
        if fields.get(name) is not None:
            return fields[name]
    if default is None:
        raise KeyError(names[0])
    return default


def _parts(weights: int, other: int) -> Parts:
    return Parts((Matrices(place="state", weights=weights, used=weights),), other)


def _state_bytes(fields: Mapping[str, Any]) -> int:
    stated = fields.get("mamba_ssm_dtype") or fields.get("mamba_ssm_cache_dtype")
    if isinstance(stated, str) and stated in STATE_BYTES:
        return STATE_BYTES[stated]
    return 4 if fields["model_type"] in LONG_STATES else MODEL_BYTES


def _mamba(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden = fields["hidden_size"]
    expand = _first(fields, "mamba_expand", "expand", default=2)
    inner = round(expand * hidden)
    if fields["model_type"] in ("mamba", "falcon_mamba"):
        inner = fields.get("intermediate_size") or inner
    state = _first(fields, "mamba_d_state", "state_size", "d_state", default=16)
    kernel = _first(fields, "mamba_d_conv", "conv_kernel", "d_conv", default=4)
    rank = _first(fields, "mamba_dt_rank", "time_step_rank", "dt_rank", default="auto")
    rank = -(-hidden // 16) if rank == "auto" else rank
    weights = hidden * 2 * inner + inner * (rank + 2 * state) + rank * inner + inner * hidden
    other = inner * kernel + inner * state + 3 * inner  # convolution and its bias, A, D, dt's bias
    if fields.get("mamba_proj_bias") or fields.get("use_bias"):
        other += 2 * inner + hidden
    if fields["model_type"] == "jamba":
        other += rank + 2 * state
    kept = MODEL_BYTES * inner * (kernel - 1) + _state_bytes(fields) * inner * state
    return _parts(weights, other), kept


def _mamba2(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden = fields["hidden_size"]
    state = _first(fields, "mamba_d_state", "ssm_state_size", "state_size", default=128)
    kernel = _first(fields, "mamba_d_conv", "conv_kernel", "conv_kernel_size", default=4)
    groups = _first(fields, "mamba_n_groups", "mamba_ngroups", "n_groups", default=1)
    expand = _first(fields, "mamba_expand", "expand", default=2)
    if fields["model_type"] == "mamba2":
        count, size = fields["num_attention_heads"], fields["head_dim"]
    else:
        names = ("mamba_d_head", "mamba_head_dim", "mamba_headdim", "state_head_dim")
        count = _first(fields, "mamba_n_heads", "mamba_num_heads", "n_mamba_heads")
        size = _first(fields, *names, default="auto")
    if size == "auto":
        size = (fields.get("mamba_d_ssm") or round(expand * hidden)) // count
    inner = count * size
    mixed = inner + 2 * groups * state
    weights = hidden * (inner + mixed + count) + inner * hidden
    other = mixed * kernel + mixed + 3 * count
    other += inner if fields.get("mamba_rms_norm", True) else 0
    if fields.get("mamba_proj_bias") or (
        fields["model_type"] in ("mamba2", "nemotron_h") and fields.get("use_bias")
    ):
        other += inner + mixed + count + hidden
    if fields.get("use_conv_bias") is False or fields.get("mamba_conv_bias") is False:
        other -= mixed
    kept = MODEL_BYTES * mixed * (kernel - 1) + _state_bytes(fields) * count * size * state
    return _parts(weights, other), kept


def _delta(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden = fields["hidden_size"]
    keys = fields["linear_num_key_heads"] * fields["linear_key_head_dim"]
    count, size = fields["linear_num_value_heads"], fields["linear_value_head_dim"]
    kernel = fields.get("linear_conv_kernel_dim") or 4
    values = count * size
    weights = hidden * (2 * keys + 2 * values) + values * hidden
    other = hidden * 2 * count + (2 * keys + values) * kernel + 2 * count + size
    kept = MODEL_BYTES * (2 * keys + values) * (kernel - 1)
    kept += _state_bytes(fields) * count * size * fields["linear_key_head_dim"]
    return _parts(weights, other), kept


def _kda(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden, own = fields["hidden_size"], fields.get("linear_attn_config") or {}
    count = own.get("num_heads") or fields["linear_num_heads"]
    size = own.get("head_dim") or fields["linear_head_dim"]
    kernel = _first(fields, "short_conv_kernel_size", "linear_conv_kernel_dim", default=4)
    inner = count * size
    weights = 4 * hidden * inner + 2 * (hidden * size + size * inner) + hidden * count
    other = 3 * inner * kernel + count + inner + size
    return _parts(weights, other), MODEL_BYTES * 3 * inner * (kernel - 1) + 4 * count * size * size


def _lightning(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden, count = fields["hidden_size"], fields["num_attention_heads"]
    size = fields.get("head_dim") or hidden // count
    weights = 5 * hidden * count * size
    return _parts(weights, count * size), _state_bytes(fields) * count * size * size


def _conv(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden, kernel = fields["hidden_size"], fields.get("conv_L_cache") or 3
    bias = (1 + 3 + 1) * hidden if fields.get("conv_bias") else 0
    return _parts(4 * hidden * hidden, hidden * kernel + bias), MODEL_BYTES * hidden * (kernel - 1)


def _recurrent(fields: Mapping[str, Any]) -> tuple[Parts, int]:
    hidden, heads = fields["hidden_size"], fields["num_attention_heads"]
    width, kernel = fields.get("lru_width") or hidden, fields.get("conv1d_width") or 4
    weights = 3 * hidden * width
    other = 2 * width * (width // heads) + 2 * width + width  # gates, their biases, decay
    other += 2 * width + hidden + width * kernel + width
    return _parts(weights, other), MODEL_BYTES * width * (kernel - 1) + 4 * width
