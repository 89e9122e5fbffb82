"""Models of 2024 to 2026 by the sizes of their config.json: parameters as published, KV bytes of a
token by the layers that keep one."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.errors import SpecError
from journal.theory.architecture import architecture, parameters
from journal.theory.memory import kv_bytes_per_token

MODELS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("todays_configs.json").read_text()
)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_today_is_counted(name: str) -> None:
    expected = MODELS[name]
    model = architecture(expected["config"])
    if expected["billions"] is not None:
        assert parameters(model).total == pytest.approx(expected["billions"] * 1e9, rel=0.005)
    if expected["kv_bytes_per_token"] is not None:
        assert kv_bytes_per_token(model) == expected["kv_bytes_per_token"]


def test_a_size_that_is_listed_by_layer_is_read_layer_by_layer() -> None:
    config = MODELS["hunyuan a13b"]["config"]
    fewer = {**config, "moe_topk": [8] * 16 + [4] * 16}
    whole, less = (architecture(one) for one in (config, fewer))
    used = [sum(p.used for layer in m.plan for p in layer.matrices) for m in (whole, less)]
    assert used[0] - used[1] == 16 * 4 * 3 * 4096 * 3072


@pytest.mark.parametrize("kind", ["bert", "modernbert", "xlm-roberta"])
def test_a_model_that_only_encodes_has_no_kv_cache(kind: str) -> None:
    config = {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12}
    with pytest.raises(SpecError, match="only encodes: an engine keeps no KV cache"):
        architecture({**config, "model_type": kind, "vocab_size": 30522})
