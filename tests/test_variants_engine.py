"""What fields of a request cost on the real vLLM: a LoRA adapter, a JSON schema, and thoughts
before an answer; one start for all tests."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.records.engine import Endpoint
from journal.records.run import Record
from journal.serve import models
from journal.serve import start as engines
from journal.serve.probe import fetch

pytestmark = pytest.mark.engine

HIDDEN, LAYERS, RANK = 576, 30, 8  # of the embedded model, and of the adapter
ADAPTED = ("q_proj", "o_proj")
SCHEMA = {
    "type": "object",
    "required": ["title", "points"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "points": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
    },
}
JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}
THOUGHTS = "Here is my thought process: [a-z ]{60,80}\\. Here is my response: [a-z ]{60,80}\\."
FLAGS = {
    "--structured-outputs-config": json.dumps({"enable_in_reasoning": True}),
    "--reasoning-parser": "granite",  # which needs no tokens of its own
    "--max-lora-rank": str(RANK),
}


def adapter(folder: Path) -> Path:
    """A LoRA adapter of the embedded model's attention with random weights: what it costs is in its
    shapes, and that it is used shows in what it says."""
    import torch
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in range(LAYERS):
        for part in ADAPTED:
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}.lora"
            tensors[f"{name}_A.weight"] = torch.randn(RANK, HIDDEN, generator=random)
            tensors[f"{name}_B.weight"] = torch.randn(HIDDEN, RANK, generator=random)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": list(ADAPTED)}
    config |= {"base_model_name_or_path": models.EMBEDDED, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def server(embedded_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("variants")
    flags = [word for flag in FLAGS.items() for word in flag]
    flags += ["--enable-lora", "--lora-modules", f"made={adapter(folder / 'adapter')}"]
    engine = journal.Engine(
        model=models.EMBEDDED, dtype="float32", max_model_len=1024, flags=tuple(flags)
    )
    with engines.start(engine, folder / "engine.log") as endpoint:
        yield endpoint


def by_variant(server: Endpoint, home: Path, body: Mapping[str, Any], **asked: Any) -> list[Record]:
    """The runs of the same requests without `body` and with it."""
    variants = (journal.Variant(name="plain"), journal.Variant(name="with", body=body))
    load = journal.Load(requests=6, warmup=1, variants=variants)
    result = journal.run(journal.Experiment(name="v", load=load, **asked), home, endpoint=server)
    assert result.ok, [record.error for record in result.records]
    return list(result.records)


def tpot_ratio(plain: Record, other: Record) -> float:
    slow_s, fast_s = other.value("tpot_s.mean"), plain.value("tpot_s.mean")
    assert slow_s is not None and fast_s is not None
    return slow_s / fast_s


def test_an_adapter_answers_for_itself_and_its_cost_is_measured(
    server: Endpoint, tmp_path: Path
) -> None:
    said = {}
    for model in (server.model, "made"):
        asked = {"model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
        answer = fetch(f"{server.base_url}/completions", body=asked)
        said[model] = answer.json()["choices"][0]["text"]
    assert len(set(said.values())) == 2
    grid = journal.Grid(batch=(1,), prompt_tokens=(48,), output_tokens=(24,))
    plain, other = by_variant(server, tmp_path, {"model": "made"}, grid=grid)
    assert tpot_ratio(plain, other) > 0.9


def test_answers_that_are_held_to_a_schema_are_json(server: Endpoint, tmp_path: Path) -> None:
    question = [{"role": "user", "content": "Name two numbers."}]
    asked = {
        "model": server.model,
        "messages": question,
        "max_tokens": 96,
        "temperature": 0,
        **JSON,
    }
    answer = fetch(f"{server.base_url}/chat/completions", body=asked)
    said = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert set(said) == {"title", "points"} and len(said["points"]) == 2
    workload = journal.Workload(prompts="text:en", api="chat", natural_end=True, all_lines=False)
    grid = journal.Grid(batch=(1,), output_tokens=(32,))
    plain, other = by_variant(server, tmp_path, JSON, grid=grid, workload=workload)
    assert tpot_ratio(plain, other) > 0.8


def test_thoughts_come_before_the_answer(server: Endpoint, tmp_path: Path) -> None:
    body = {"structured_outputs": {"regex": THOUGHTS}}
    workload = journal.Workload(prompts="text:en", api="chat", natural_end=True, all_lines=False)
    experiment = journal.Experiment(
        name="thoughts",
        workload=workload,
        grid=journal.Grid(batch=(1,), output_tokens=(96,)),
        load=journal.Load(requests=4, warmup=1, body=body),
    )
    result = journal.run(experiment, tmp_path, endpoint=server)
    assert result.ok, [record.error for record in result.records]
    (record,) = result.records
    first_s, answer_s = record.value("ttft_s.mean"), record.value("ttfo_s.mean")
    assert first_s is not None and answer_s is not None and answer_s > first_s
    assert record.value("reasoning_fraction") is None, "this parser counts no thoughts"
