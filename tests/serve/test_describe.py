"""The facts of an endpoint from its model's files and the host's GPUs."""

import json
import struct
from pathlib import Path

import pytest

from journal.records.engine import Endpoint, EngineFacts
from journal.records.experiment import Engine
from journal.serve.describe import described
from journal.serve.models import EMBEDDED, EMBEDDED_CONFIG

ENDPOINT = Endpoint(base_url="http://127.0.0.1:8000/v1", model="journal-1")
BF16 = EngineFacts(dtype="bfloat16", weights_bytes=7)


def write_model(folder: Path, config: dict[str, object]) -> None:
    """A checkpoint whose only tensor is of 1,000 float32 zeros."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tensor = {"dtype": "F32", "shape": [10, 100], "data_offsets": [0, 4000]}
    header = json.dumps({"model.norm.weight": tensor}).encode()
    file = struct.pack("<Q", len(header)) + header + bytes(4000)
    (folder / "model.safetensors").write_bytes(file)


def with_facts(facts: EngineFacts) -> Endpoint:
    return Endpoint(base_url=ENDPOINT.base_url, model=ENDPOINT.model, facts=facts)


def test_the_files_of_a_model_of_our_own(tmp_path: Path) -> None:
    write_model(tmp_path / "m", {**EMBEDDED_CONFIG, "bos_token_id": 1})
    facts = described(with_facts(BF16), Engine(model=str(tmp_path / "m")))
    assert facts.config is not None
    assert facts.config["num_hidden_layers"] == 30
    assert "bos_token_id" not in facts.config
    assert facts.checkpoint_bytes == 2000  # 32 bits in the file, 16 as they are served
    assert (facts.weights_bytes, facts.dtype, facts.card) == (7, "bfloat16", None)
    plain = described(ENDPOINT, Engine(model=str(tmp_path / "m")))
    assert plain.checkpoint_bytes == 4000


@pytest.mark.parametrize("broken", ["config.json", "model.safetensors"])
def test_files_that_cannot_be_read_leave_it_unknown(tmp_path: Path, broken: str) -> None:
    write_model(tmp_path / "m", dict(EMBEDDED_CONFIG))
    (tmp_path / "m" / broken).write_text("{")
    facts = described(ENDPOINT, Engine(model=str(tmp_path / "m")))
    assert facts.checkpoint_bytes is None
    assert (facts.config is None) == (broken == "config.json")


def test_a_well_known_model_is_known_without_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    engine = Engine(model="mistralai/Mistral-7B-Instruct-v0.2")
    facts = described(ENDPOINT, engine)
    assert facts.config is not None
    assert facts.config["num_key_value_heads"] == 8
    assert facts.checkpoint_bytes is None
    assert described(ENDPOINT, Engine(model="owner/never-heard-of")) == ENDPOINT.facts
    assert described(ENDPOINT, Engine(model=EMBEDDED)).config is not None


def test_an_engine_of_our_own_is_known_by_its_command_line(tmp_path: Path) -> None:
    write_model(tmp_path / "m", dict(EMBEDDED_CONFIG))
    argv = ("python", "-m", "vllm", "--model", str(tmp_path / "m"), "--served-model-name", "j-1")
    facts = described(with_facts(EngineFacts(argv=argv, dtype="bfloat16")), None)
    assert facts.config is not None
    assert facts.checkpoint_bytes == 2000


def test_the_shape_alone_is_taken_of_another_s_server() -> None:
    theirs = Endpoint(base_url="http://192.0.2.1/v1", model="mistral-7b-instruct-v0.2")
    facts = described(theirs, None)
    assert facts.config is not None
    assert facts.checkpoint_bytes is None
    assert described(ENDPOINT, None) == ENDPOINT.facts
