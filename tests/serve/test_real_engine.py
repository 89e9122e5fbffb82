"""The real vLLM, with real weights, started by this room."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.records.engine import Endpoint
from journal.records.experiment import Engine
from journal.serve import models
from journal.serve import start as engines
from journal.serve.endpoint import attach, listeners
from journal.serve.probe import fetch

pytestmark = pytest.mark.engine


def test_the_embedded_model_is_whole(embedded_cache: Path) -> None:
    directory = Path(models.prepare(Engine(model=models.EMBEDDED)))
    assert directory.is_relative_to(embedded_cache)
    config = models.read_config(models.EMBEDDED)
    assert config is not None
    assert {name: config[name] for name in models.EMBEDDED_CONFIG} == models.EMBEDDED_CONFIG
    assert "<|im_start|>" in (directory / "chat_template.jinja").read_text()
    origin = json.loads((directory / "origin.json").read_text())
    assert origin["made_from"] == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert len(origin["sha256"]) == 64
    assert "dequantised" in origin["note"]


def test_what_it_tells_of_itself(engine_endpoint: Endpoint) -> None:
    facts = engine_endpoint.facts
    assert facts.version is not None
    assert facts.start_s is not None and facts.start_s > 1
    assert facts.kv_pool_bytes is not None and facts.kv_pool_bytes > 0
    assert facts.kv_pool_tokens is not None and facts.kv_pool_tokens > 4096
    assert facts.prefix_caching is False
    assert engine_endpoint.prompt_form == "token_ids"
    assert engine_endpoint.max_model_len == 4096
    assert engine_endpoint.has_metrics
    assert engine_endpoint.extensions
    assert engine_endpoint.absent == ()
    engines.check_alive(engine_endpoint)


def test_it_listens_on_loopback_alone(engine_endpoint: Endpoint) -> None:
    port = int(engine_endpoint.base_url.removesuffix("/v1").rpartition(":")[2])
    assert listeners(port) == listeners(port, "127.0.0.1") == {engine_endpoint.pid}


def test_it_can_be_attached_to_like_any_server(engine_endpoint: Endpoint) -> None:
    attached = attach(engine_endpoint.base_url)
    assert attached.model == engine_endpoint.model
    assert attached.pid == engine_endpoint.pid


def post(endpoint: Endpoint, path: str, **body: Any) -> dict[str, Any]:
    answer = fetch(endpoint.base_url + path, body={"model": endpoint.model, **body})
    assert answer.status == 200, answer.message()
    return answer.json()


def test_prompts_of_token_ids_are_counted_exactly(engine_endpoint: Endpoint) -> None:
    low, high = engine_endpoint.vocabulary
    prompt = [low, high - 1, *range(low, low + 98)]
    fields = {"prompt": prompt, "max_tokens": 7, "ignore_eos": True, "temperature": 0.0}
    answer = post(engine_endpoint, "/completions", **fields)
    again = post(engine_endpoint, "/completions", **fields)
    assert answer["usage"]["prompt_tokens"] == 100
    assert answer["usage"]["completion_tokens"] == 7
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert set(answer["metrics"]) >= {"queue_time_ms", "time_to_first_token_ms"}


def test_the_model_makes_sense(engine_endpoint: Endpoint) -> None:
    """The conversion kept weights and tokenizer apart from noise: it continues in English."""
    fields = {"prompt": "The capital of France is", "max_tokens": 4, "temperature": 0.0}
    answer = post(engine_endpoint, "/completions", **fields)
    assert "Paris" in answer["choices"][0]["text"]


def test_it_chats(engine_endpoint: Endpoint) -> None:
    messages = [{"role": "user", "content": "What is gravity?"}]
    fields = {"messages": messages, "max_tokens": 24, "temperature": 0.0}
    answer = post(engine_endpoint, "/chat/completions", **fields)
    assert "gravity" in answer["choices"][0]["message"]["content"].lower()
