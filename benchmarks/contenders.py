"""The clients that are compared. Each runs in a process of its own, tied to its cores:

    python -m benchmarks.contenders NAME BASE_URL STREAMS WAVES CORES

and prints what it measured as JSON: a TTFT and an E2E for every request, in s, the CPU time it
took where that can be separated from its start, and how long other programs kept it waiting.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

if TYPE_CHECKING:
    from journal.records.engine import Endpoint
    from journal.records.request import Request

TOKENS = 100
MODEL = "simulated-model"
PROMPT = "one two three four five six seven eight"
BODY = {
    "model": MODEL,
    "prompt": PROMPT,
    "max_tokens": TOKENS,
    "stream": True,
    "stream_options": {"include_usage": True},
}
Measured = dict[str, Any]


def journal(
    url: str, streams: int, waves: int, processes: int = 1, *, meters: bool = False
) -> Measured:
    """Completions of one length."""
    from journal.records.request import Request

    body = json.dumps(BODY).encode()
    count = processes + streams * waves
    requests = [
        Request(index=k, body=body, prompt_tokens=8, output_tokens=TOKENS, warmup=k < processes)
        for k in range(count)
    ]
    return _driven(_endpoint(url), requests, streams, processes, meters)


def journal_lines(url: str, streams: int, waves: int, *, chats: bool) -> Measured:
    """Chats or completions from a file, as `run` sends them: prompts of log-normal lengths, answers
    of 10 to 190 tokens, and all bodies on disk until they are sent."""
    from journal.plan.cells import cells
    from journal.plan.mix import mixed
    from journal.plan.own_prompts import with_workload
    from journal.plan.prompts import requests
    from journal.plan.spool import spooling
    from journal.records.experiment import Experiment, Grid, Load
    from journal.records.workload import Part, Workload

    lengths = mixed((Part(prompt_tokens="256~1", output_tokens="10..190"),), streams * waves, 7)
    with tempfile.TemporaryDirectory() as folder, spooling() as spool:
        path = Path(folder, "lines.jsonl")
        lines = ({**_asked("word " * words, chats), "output_tokens": n} for words, n in lengths)
        path.write_text("\n".join(map(json.dumps, lines)))
        asked = Experiment(
            name="lines",
            grid=Grid(batch=(streams,)),
            load=Load(warmup=1),
            workload=Workload(prompts=str(path)),
        )
        (cell,) = cells(with_workload(asked), model=MODEL)
        endpoint = replace(_endpoint(url), api="chat" if chats else "completions")
        measured = _driven(endpoint, requests(cell, endpoint, "run", spool), streams)
    return {**measured, "chunks": sum(tokens for _, tokens in lengths)}


def _asked(text: str, chat: bool) -> dict[str, Any]:
    """The prompt of a line."""
    return {"messages": [{"role": "user", "content": text}]} if chat else {"prompt": text}


def journal_chats(url: str, streams: int, waves: int) -> Measured:
    return journal_lines(url, streams, waves, chats=True)


def journal_completions(url: str, streams: int, waves: int) -> Measured:
    return journal_lines(url, streams, waves, chats=False)


def _endpoint(url: str) -> "Endpoint":
    from journal.records.engine import Endpoint
    from journal.serve.endpoint import listeners

    (pid,) = listeners(urlsplit(url).port or 80)
    return Endpoint(base_url=url, model=MODEL, has_metrics=True, pid=pid)


def _driven(
    endpoint: "Endpoint",
    requests: "Sequence[Request]",
    streams: int,
    processes: int = 1,
    meters: bool = False,
) -> Measured:
    """The figures of our client. CPU time counts from the end of the warm-up, one request a
    process, when all are ready. `with_fewer` is the part of all chunks that came when a stream had
    ended for good, with fewer in flight."""
    from journal.load.drive import drive
    from journal.measure.sampler import Sampler
    from journal.records.load_shape import Closed
    from journal.records.request import Trace

    spans: list[tuple[float, float]] = []

    def look(trace: Trace) -> None:
        if trace.warmup or trace.index == requests[-1].index:
            workers = psutil.Process().children()
            spans.append((_cpu_s(), sum(waited_s(worker.pid) for worker in workers)))

    origin_s = time.monotonic()
    with Sampler(endpoint, origin_s) if meters else nullcontext():
        traces, health = drive(
            requests,
            endpoint,
            shape=Closed(streams),
            timeout_s=120.0,
            processes=processes,
            origin_s=origin_s,
            on_done=look,
        )
    cpu_s = _cpu_s() - spans[processes - 1][0]
    failed = [trace.error for trace in traces if trace.outcome != "ok"]
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0]}")
    measured = [trace for trace in traces if not trace.warmup]
    last_s = max(trace.start_s for trace in measured)
    fewer_s = min(trace.end_s for trace in measured if trace.end_s > last_s)
    late = sum(at_s > fewer_s for trace in measured for at_s in trace.chunk_s)
    return {
        "ttft_s": [trace.chunk_s[0] - trace.start_s for trace in measured],
        "e2e_s": [trace.end_s - trace.start_s for trace in measured],
        "cpu_s": cpu_s,
        "with_fewer": late / sum(len(trace.chunk_s) for trace in measured),
        "waited_s": waited_s() + spans[-1][1],
        "loop_delay_p99_s": health.loop_delay_p99_s,
    }


def journal_on_two_processes(url: str, streams: int, waves: int) -> Measured:
    return journal(url, streams, waves, processes=2)


def journal_with_meters(url: str, streams: int, waves: int) -> Measured:
    return journal(url, streams, waves, meters=True)


def journal_twice(url: str, streams: int, waves: int) -> Measured:
    """Two loads, independent of each other, on the same cores."""
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "benchmarks.contenders", "journal", url]
    command += [str(streams // 2), str(waves), cores]
    loads = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    parts = [json.loads(load.communicate()[0]) for load in loads]
    return {
        "ttft_s": [ttft_s for part in parts for ttft_s in part["ttft_s"]],
        "e2e_s": [e2e_s for part in parts for e2e_s in part["e2e_s"]],
        "cpu_s": sum(part["cpu_s"] for part in parts),
        "waited_s": sum(part["waited_s"] for part in parts),
    }


def openai_sdk(url: str, streams: int, waves: int, *, aiohttp: bool = False) -> Measured:
    import openai

    ttft_s: list[float] = []
    e2e_s: list[float] = []

    async def lane(client: openai.AsyncOpenAI) -> None:
        for _ in range(waves):
            began = time.monotonic()
            first = None
            stream = await client.completions.create(
                model=MODEL,
                prompt=PROMPT,
                max_tokens=TOKENS,
                stream=True,
                stream_options={"include_usage": True},
            )
            async for chunk in stream:
                if first is None and chunk.choices and chunk.choices[0].text:
                    first = time.monotonic()
            assert first is not None
            ttft_s.append(first - began)
            e2e_s.append(time.monotonic() - began)

    async def main() -> None:
        http_client = openai.DefaultAioHttpClient() if aiohttp else None
        async with openai.AsyncOpenAI(
            base_url=url, api_key="none", max_retries=0, timeout=120, http_client=http_client
        ) as client:
            await asyncio.gather(*(lane(client) for _ in range(streams)))

    cpu_s = _cpu_s()
    asyncio.run(main())
    return {"ttft_s": ttft_s, "e2e_s": e2e_s, "cpu_s": _cpu_s() - cpu_s}


def openai_sdk_on_aiohttp(url: str, streams: int, waves: int) -> Measured:
    return openai_sdk(url, streams, waves, aiohttp=True)


def vllm_bench_serve(url: str, streams: int, waves: int) -> Measured:
    # The console script of vLLM's CPU build does not start; its function does.
    program = (
        "import argparse\nfrom vllm.benchmarks.serve import add_cli_args, main\n"
        "parser = argparse.ArgumentParser()\nadd_cli_args(parser)\nmain(parser.parse_args())\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder, "prompts.jsonl")
        prompts.write_text(json.dumps({"prompt": PROMPT}) + "\n")
        options = f"""--backend openai --base-url {url.removesuffix("/v1")} --model {MODEL}
            --endpoint /v1/completions --skip-tokenizer-init --dataset-name custom
            --dataset-path {prompts} --num-prompts {streams * waves} --max-concurrency {streams}
            --save-result --save-detailed --result-dir {folder} --result-filename result.json
            --disable-tqdm"""
        more = ["--extra-body", json.dumps({"max_tokens": TOKENS})]
        _run([sys.executable, "-c", program, *options.split(), *more])
        result = json.loads(Path(folder, "result.json").read_text())
    return {"ttft_s": result["ttfts"], "e2e_s": result["latencies"], "cpu_s": None}


def guidellm(url: str, streams: int, waves: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        prompts, report = Path(folder, "prompts.jsonl"), Path(folder, "report.json")
        line = json.dumps({"prompt": PROMPT, "output_tokens_count": TOKENS}) + "\n"
        prompts.write_text(line * streams * waves)
        target = url.removesuffix("/v1")
        options = f"""run --disable-console --profile kind=concurrent,streams={streams}
            --backend kind=openai_http,target={target},model={MODEL},request_format=/v1/completions
            --constraint kind=max_requests,count={streams * waves}
            --data kind=json_file,path={prompts} --output kind=json,path={report}"""
        _run(["guidellm", *options.split()])
        requests = json.loads(report.read_text())["benchmarks"][0]["requests"]["successful"]
    return {
        "ttft_s": [request["time_to_first_token_ms"] / 1e3 for request in requests],
        "e2e_s": [request["request_latency"] for request in requests],
        "cpu_s": None,
    }


def _run(command: list[str]) -> None:
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")


def _cpu_s() -> float:
    """CPU time of this process and of its children, those that have ended among them."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    living = [child.cpu_times() for child in psutil.Process().children()]
    used = [own.ru_utime, own.ru_stime, ended.ru_utime, ended.ru_stime]
    return sum(used) + sum(times.user + times.system for times in living)


def waited_s(pid: int | str = "self") -> float:
    """How long a process was ready to run and other programs had its core, in s."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


CONTENDERS: dict[str, Callable[[str, int, int], Measured]] = {
    "journal": journal,
    "journal, completions of mixed lengths": journal_completions,
    "journal, chats of mixed lengths": journal_chats,
    "journal, with its meters": journal_with_meters,
    "journal, 2 processes": journal_on_two_processes,
    "journal, twice": journal_twice,
    "openai SDK": openai_sdk,
    "openai SDK on aiohttp": openai_sdk_on_aiohttp,
    "vllm bench serve": vllm_bench_serve,
    "GuideLLM": guidellm,
}


if __name__ == "__main__":
    _name, _url, _streams, _waves, _cores = sys.argv[1:]
    os.sched_setaffinity(0, {int(core) for core in _cores.split(",")})
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    _measured = CONTENDERS[_name](_url, int(_streams), int(_waves))
    json.dump({"waited_s": waited_s(), **_measured}, sys.stdout)
