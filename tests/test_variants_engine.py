"""What fields of a request cost on the real vLLM: a LoRA adapter, a JSON schema, and thoughts
before an answer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.records.engine import Endpoint
from journal.records.run import Record
from journal.serve.probe import fetch

pytestmark = [pytest.mark.engine, pytest.mark.timing]

SCHEMA = {  # as long as it allows, an answer is over before its bound, whatever the model likes
    "type": "object",
    "required": ["title", "points"],
    "additionalProperties": False,
    "properties": {
        "title": {"type": "string", "maxLength": 20},
        "points": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"enum": [1, 2, 3]}},
    },
}
JSON = {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}
THOUGHTS = "Here is my thought process: [a-z ]{20,30}\\. Here is my response: [a-z ]{20,30}\\."


def by_variant(server: Endpoint, home: Path, body: Mapping[str, Any], **asked: Any) -> list[Record]:
    """The runs of the same requests without `body` and with it."""
    variants = (journal.Variant(name="plain"), journal.Variant(name="with", body=body))
    load = journal.Load(requests=4, warmup=1, variants=variants)
    result = journal.run(journal.Experiment(name="v", load=load, **asked), home, endpoint=server)
    assert result.ok, [record.error for record in result.records]
    return list(result.records)


def tpot_ratio(plain: Record, other: Record) -> float:
    slow_s, fast_s = other.value("tpot_s.mean"), plain.value("tpot_s.mean")
    assert slow_s is not None and fast_s is not None
    return slow_s / fast_s


def test_an_adapter_answers_for_itself_and_its_cost_is_measured(
    small_engine: Endpoint, tmp_path: Path
) -> None:
    said = {}
    for model in (small_engine.model, "made"):
        asked = {"model": model, "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
        answer = fetch(f"{small_engine.base_url}/completions", body=asked)
        said[model] = answer.json()["choices"][0]["text"]
    assert len(set(said.values())) == 2
    grid = journal.Grid(batch=(1,), prompt_tokens=(48,), output_tokens=(16,))
    plain, other = by_variant(small_engine, tmp_path, {"model": "made"}, grid=grid)
    assert tpot_ratio(plain, other) > 0.9


def test_answers_that_are_held_to_a_schema_are_json(small_engine: Endpoint, tmp_path: Path) -> None:
    question = [{"role": "user", "content": "Name two numbers."}]
    asked = {
        "model": small_engine.model,
        "messages": question,
        "max_tokens": 192,
        "temperature": 0,
        **JSON,
    }
    answer = fetch(f"{small_engine.base_url}/chat/completions", body=asked)
    said = json.loads(answer.json()["choices"][0]["message"]["content"])
    assert set(said) == {"title", "points"} and len(said["points"]) == 2
    workload = journal.Workload(prompts="text:en", api="chat", natural_end=True, all_lines=False)
    grid = journal.Grid(batch=(1,), output_tokens=(32,))
    plain, other = by_variant(small_engine, tmp_path, JSON, grid=grid, workload=workload)
    assert tpot_ratio(plain, other) > 0.8


def test_thoughts_come_before_the_answer(small_engine: Endpoint, tmp_path: Path) -> None:
    body = {"structured_outputs": {"regex": THOUGHTS}}
    workload = journal.Workload(prompts="text:en", api="chat", natural_end=True, all_lines=False)
    experiment = journal.Experiment(
        name="thoughts",
        workload=workload,
        grid=journal.Grid(batch=(1,), output_tokens=(96,)),
        load=journal.Load(requests=4, warmup=1, body=body),
    )
    result = journal.run(experiment, tmp_path, endpoint=small_engine)
    assert result.ok, [record.error for record in result.records]
    (record,) = result.records
    first_s, answer_s = record.value("ttft_s.mean"), record.value("ttfo_s.mean")
    assert first_s is not None and answer_s is not None and answer_s > first_s
    assert record.value("reasoning_fraction") is None, "this parser counts no thoughts"
