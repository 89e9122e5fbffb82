"""The real vLLM, with real weights, started by this room. A start takes a minute or more, so there
are three in all: two that are killed, and the one that every other test of the engine shares."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from journal.errors import EngineError
from journal.records.engine import Endpoint
from journal.records.experiment import Engine
from journal.serve import models
from journal.serve import start as engines
from journal.serve.endpoint import attach, listeners
from journal.serve.probe import fetch

Gone = Callable[..., bool]
pytestmark = pytest.mark.engine

HOLDER = """
import sys
from pathlib import Path
from journal.records.experiment import Engine
from journal.serve import start as engines, models
with engines.start(Engine(model=models.EMBEDDED), Path(sys.argv[1])):
    input()
"""


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


def test_sigkill_of_the_parent_while_it_loads(
    embedded_cache: Path, tmp_path: Path, gone: Gone
) -> None:
    log_path = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(log_path)], stdin=subprocess.PIPE
    ) as holder:
        try:
            while not (log_path.exists() and "Starting to load model" in log_path.read_text()):
                assert holder.poll() is None
                time.sleep(0.1)
            family = [one.pid for one in psutil.Process(holder.pid).children(recursive=True)]
        finally:
            holder.kill()
    assert len(family) >= 4  # the guard, the API server, the core and its worker
    assert gone(family, within_s=30.0)


def test_sigkill_of_the_server_while_it_serves(
    embedded_cache: Path, tmp_path: Path, gone: Gone
) -> None:
    with pytest.raises(EngineError, match=r"was killed .* while it served") as caught:  # noqa: SIM117
        with engines.start(Engine(model=models.EMBEDDED), tmp_path / "log") as endpoint:
            assert endpoint.pid is not None
            family = [one.pid for one in psutil.Process(endpoint.pid).children(recursive=True)]
            assert len(family) >= 2  # the core and its worker
            os.kill(endpoint.pid, signal.SIGKILL)
            assert gone(family), "its core and worker live on"
    assert caught.value.log_tail


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
