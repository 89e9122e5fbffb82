"""The simulated server keeps to its script, and the openai SDK understands it."""

import contextlib
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from journal.errors import EndpointError
from journal.simulator.http import Script, running

if TYPE_CHECKING:
    from openai import OpenAI

Start = Callable[..., str]
Connect = Callable[[str], "OpenAI"]


@pytest.fixture
def client() -> Iterator[Connect]:
    """Clients of the openai SDK, one for each call, closed with the test."""
    from openai import OpenAI

    with contextlib.ExitStack() as clients:

        def connect(url: str) -> OpenAI:
            sdk = OpenAI(base_url=url, api_key="none", max_retries=0, timeout=20)
            return clients.enter_context(sdk)

        yield connect


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def metric(url: str, name: str) -> float:
    lines = get(url.removesuffix("/v1") + "/metrics").splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def test_it_says_that_it_simulates(fake_server: Start, client: Connect) -> None:
    url = fake_server()
    assert client(url).models.list().data[0].id == "simulated-model"
    root = url.removesuffix("/v1")
    assert json.loads(get(root + "/version")) == {"version": "simulated"}
    with urllib.request.urlopen(root + "/health", timeout=10) as answer:
        assert answer.headers["server"] == "journal-fake-server"


def test_tokens_come_on_schedule_and_never_early(fake_server: Start, client: Connect) -> None:
    url = fake_server(ttft_s=0.1, itl_s=0.02)
    openai_client = client(url)
    openai_client.models.list()
    began = time.monotonic()
    stream = openai_client.completions.create(
        model="simulated-model",
        prompt=[1, 2, 3],
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [(time.monotonic() - began, chunk) for chunk in stream]
    times = [at for at, chunk in chunks if chunk.choices]
    assert len(times) == 5
    for k, at in enumerate(times):
        assert at >= 0.1 + k * 0.02
    usage = chunks[-1][1].usage
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (3, 5)
    assert chunks[-2][1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("quirk", ["empty_first", "gzip", "crlf", "continue", "no_keep_alive"])
def test_quirks_are_correct_ways_to_answer(fake_server: Start, client: Connect, quirk: str) -> None:
    plain, odd = client(fake_server()), client(fake_server(quirks=(quirk,)))
    texts = []
    for server in (plain, odd, odd):
        stream = server.chat.completions.create(
            model="simulated-model",
            messages=[{"role": "user", "content": "two words"}],
            max_tokens=12,
            stream=True,
        )
        texts.append("".join(chunk.choices[0].delta.content or "" for chunk in stream))
    assert (
        texts[0]
        == texts[1]
        == texts[2]
        == ("the engine says née word 模型 by word and means 🙂 none")
    )


def test_whole_answers_and_text_prompts(fake_server: Start, client: Connect) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.0, chat_overhead_tokens=7)
    text = client(url).completions.create(model="simulated-model", prompt="a b c", max_tokens=4)
    assert text.choices[0].text == "the engine says née"
    assert text.usage is not None and text.usage.prompt_tokens == 3
    chat = client(url).chat.completions.create(
        model="simulated-model", messages=[{"role": "user", "content": "a b"}], max_tokens=4
    )
    assert chat.choices[0].message.content == "the engine says née"
    assert chat.usage is not None and chat.usage.prompt_tokens == 9


@pytest.mark.timing
def test_metrics_tell_what_is_in_flight(fake_server: Start, client: Connect) -> None:
    url = fake_server(max_running=2, ttft_s=5.0, kv_blocks=100, block_size=16)
    streams = [
        client(url).completions.create(
            model="simulated-model", prompt=list(range(31)), max_tokens=100, stream=True
        )
        for _ in range(3)
    ]
    assert metric(url, "num_requests_running") == 2
    assert metric(url, "num_requests_waiting") == 1
    assert metric(url, "kv_cache_usage_perc") == pytest.approx(2 * 2 / 100)
    for stream in streams:
        stream.close()
    while metric(url, "num_requests_running"):
        time.sleep(0.01)
    assert metric(url, "kv_cache_usage_perc") == 0.0
    assert metric(url, "prompt_tokens_total") == 31 * 3


def test_requests_beyond_the_capacity_wait(fake_server: Start, client: Connect) -> None:
    url = fake_server(max_running=1, ttft_s=0.5)
    options = {"model": "simulated-model", "prompt": "a", "max_tokens": 1, "stream": True}
    began = time.monotonic()
    streams = [client(url).completions.create(**options) for _ in range(2)]
    for stream in streams:
        list(stream)
    assert time.monotonic() - began >= 2 * 0.5


@pytest.mark.timing
def test_preemption_when_the_kv_cache_is_full(fake_server: Start, client: Connect) -> None:
    url = fake_server(kv_blocks=6, block_size=16, ttft_s=0.01, itl_s=0.01)
    streams = [
        client(url).completions.create(
            model="simulated-model", prompt=list(range(30)), max_tokens=60, stream=True
        )
        for _ in range(2)
    ]
    for stream in streams:
        assert len(list(stream)) == 60
    assert metric(url, "num_preemptions_total") >= 1
    assert metric(url, "kv_cache_usage_perc") == 0.0


def test_prefix_cache_hits_are_counted(fake_server: Start, client: Connect) -> None:
    url = fake_server(prefix_caching=True, block_size=4, ttft_s=0.0, itl_s=0.0)
    cached = []
    for prompt in (range(10), range(10), [*range(4), 99, 98, 97, 96, 95]):
        answer = client(url).completions.create(
            model="simulated-model", prompt=list(prompt), max_tokens=1
        )
        assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
        cached.append(answer.usage.prompt_tokens_details.cached_tokens)
    assert cached == [0, 8, 4]
    assert metric(url, "prefix_cache_queries_total") == 29
    assert metric(url, "prefix_cache_hits_total") == 12


@pytest.mark.alone
def test_steps_share_their_noise(fake_server: Start, client: Connect) -> None:
    """Two streams that run together, with a noise that lasts 200 ms: of ten such stretches the
    slow ones are slow for both."""
    url = fake_server(ttft_s=0.0, itl_s=0.01, noise_fraction=0.5, noise_s=0.2, noise_seed=3)
    openai_client = client(url)
    streams = [
        openai_client.completions.create(
            model="simulated-model", prompt="a", max_tokens=160, stream=True
        )
        for _ in range(2)
    ]
    times: list[list[float]] = [[], []]
    threads = [
        threading.Thread(target=lambda n=n: times[n].extend(time.monotonic() for _ in streams[n]))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pieces = [[at[k + 16] - at[k] for k in range(0, 144, 16)] for at in times]
    assert max(pieces[0]) > 1.5 * min(pieces[0])
    assert statistics.correlation(*pieces) > 0.7


@pytest.mark.alone
def test_a_stall_holds_everything_back(fake_server: Start, client: Connect) -> None:
    url = fake_server(ttft_s=0.0, itl_s=0.01, stall_at_s=0.1, stall_s=0.4)
    stream = client(url).completions.create(
        model="simulated-model", prompt="a", max_tokens=30, stream=True
    )
    times = [time.monotonic() for _ in stream]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) >= 0.35
    assert times[-1] - times[0] >= 0.65


@pytest.mark.parametrize(
    ("script", "request_", "status"),
    [
        (Script(api_key="secret"), {"prompt": "a"}, 401),
        (Script(token_prompts=False), {"prompt": [1, 2]}, 400),
        (Script(completions=False), {"prompt": "a"}, 404),
        (Script(max_model_len=10), {"prompt": "a", "max_tokens": 10}, 400),
        (Script(), {"prompt": "a", "model": "another"}, 404),
        (Script(fault="status", error_status=429), {"prompt": "a"}, 429),
    ],
)
def test_refusals(
    client: Connect, script: Script, request_: dict[str, object], status: int
) -> None:
    from openai import APIStatusError

    with running(script) as url, pytest.raises(APIStatusError) as refused:
        client(url).completions.create(**{"model": "simulated-model", **request_})
    assert refused.value.status_code == status


def test_what_is_switched_off_is_not_found(fake_server: Start) -> None:
    root = fake_server(metrics=False, version=False).removesuffix("/v1")
    for path in ("/metrics", "/version"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(root + path)


def test_a_port_in_use_is_reported(fake_server: Start) -> None:
    port = int(fake_server().removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(EndpointError, match=str(port)), running(port=port):
        pass


def test_serve_answers_until_it_is_interrupted(fake_server: Start) -> None:
    program = (
        "from journal.simulator.http import Script, serve\nimport sys\n"
        "serve(Script(), port=int(sys.argv[1]), on_ready=lambda port: print(port, flush=True))\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(
        [*command, "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        assert "simulated-model" in get(f"http://127.0.0.1:{port}/v1/models")
        taken = subprocess.run([*command, port], capture_output=True, text=True)
        assert f"cannot listen on 127.0.0.1 port {port}" in taken.stderr
        server.send_signal(signal.SIGINT)
        assert server.wait(10) != 0


@pytest.mark.timing
def test_it_ends_with_the_process_that_started_it() -> None:
    program = (
        "import time\nfrom journal.simulator.http import running\n"
        "with running() as url:\n    print(url, flush=True)\n    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    assert "simulated-model" in get(url + "/models")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    with pytest.raises(urllib.error.URLError):
        for _ in range(200):
            get(url + "/models")
            time.sleep(0.05)


@pytest.mark.timing
def test_its_histograms_are_of_vllms_names_and_of_its_own_schedule(
    fake_server: Start, client: Connect
) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    url = fake_server(ttft_s=0.03, itl_s=0.02)
    client(url).completions.create(model="simulated-model", prompt="a b", max_tokens=6)
    page = get(url.removesuffix("/v1") + "/metrics")
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    ttft, itl = "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"
    assert [samples[f"{ttft}_bucket", le] for le in ("0.02", "0.04", "+Inf")] == [0, 1, 1]
    assert samples[f"{ttft}_sum", None] == pytest.approx(0.03, rel=0.1)
    assert [samples[f"{itl}_bucket", le] for le in ("0.01", "0.025", "+Inf")] == [0, 5, 5]
    assert samples["vllm:e2e_request_latency_seconds_sum", None] == pytest.approx(0.13, rel=0.1)
