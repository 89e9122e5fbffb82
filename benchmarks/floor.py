"""How far is the client, and a whole `journal run`, from the least that a client can do?

    python -m benchmarks.floor [--streams 1024] [--waves 8] [--times 3] [--no-write]

A C program that only reads and stamps, the journal's client alone and `journal run` on a new
journal take turns at the same scripted server: the CPU time of each for every chunk. Prints its
section of docs/performance.md and puts it there. Takes some minutes; CPU time says something on a
machine that does other things, too, if less exactly.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.clients import ITL_MS, TTFT_MS, compiled
from benchmarks.contenders import BODY, TOKENS
from benchmarks.page import ROOT, machine, put

FLOOR, CLIENT, WHOLE = "the floor", "journal's client alone", "`journal run`, whole"
LIMIT = 2.0  # times the floor, for the whole
Found = Mapping[str, Sequence[float]]  # us of CPU for each chunk, by client


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor")
    parser.add_argument("--streams", type=int, default=1024)
    parser.add_argument("--waves", type=int, default=8)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="journal-floor-") as folder:
        found = measured(Path(folder), options.streams, options.waves, options.times)
    text = section(found, options.streams, options.waves, load)
    print(text)
    if not options.no_write:
        put("floor", text)


def measured(folder: Path, streams: int, waves: int, times: int) -> Found:
    """The CPU time of each client for each chunk, in turns."""
    clients: dict[str, Callable[[int], float]] = {
        FLOOR: lambda port: of_floor(program, port, streams, waves),
        CLIENT: lambda port: of_client(port, streams, waves),
        WHOLE: lambda port: of_run(folder, port, streams, waves),
    }
    server, program = compiled(folder), compiled(folder, "floor")
    chunks = TOKENS * streams * waves
    found: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(times):
        for name, client in clients.items():
            with serving(server) as served:
                cpu_s = client(served.port)
            sent = served.chunks if name == WHOLE else chunks
            found[name].append(cpu_s / sent * 1e6)
    return found


@dataclass
class Served:
    """The scripted server's port while it runs, and the chunks that it sent once it has ended."""

    port: int
    chunks: int = 0


@contextmanager
def serving(server: Path) -> Iterator[Served]:
    command = [server, "0", str(TTFT_MS), str(ITL_MS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        served = Served(int(process.stdout.readline()))
        try:
            yield served
        finally:
            process.terminate()
        served.chunks = json.loads(process.stdout.read())["chunks"]


def of_floor(program: Path, port: int, streams: int, waves: int) -> float:
    command = [program, str(port), str(streams), str(waves)]
    done = subprocess.run(command, input=json.dumps(BODY).encode(), capture_output=True, check=True)
    cpu_s: float = json.loads(done.stdout)["cpu_s"]
    return cpu_s


def of_client(port: int, streams: int, waves: int) -> float:
    cores = ",".join(map(str, os.sched_getaffinity(0)))
    command = [sys.executable, "-m", "benchmarks.contenders", "journal"]
    command += [f"http://127.0.0.1:{port}/v1", str(streams), str(waves), cores]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    cpu_s: float = json.loads(done.stdout)["cpu_s"]
    return cpu_s


def of_run(folder: Path, port: int, streams: int, waves: int) -> float:
    """The CPU time of the command, from its start to its prompt, and of all that it started."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        command = [sys.executable, "-m", "journal", "run", "--home", home, "--endpoint"]
        command += [f"http://127.0.0.1:{port}/v1", "--concurrency", str(streams)]
        command += ["--requests", str(streams * waves), "--warmup", "0"]
        command += ["--prompt-tokens", "8", "--output-tokens", str(TOKENS)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def section(found: Found, streams: int, waves: int, load: float) -> str:
    floor = median(found[FLOOR])
    rows = "\n".join(
        f"| {name} | {median(us):.1f} us | {min(us):.1f}–{max(us):.1f} us "
        f"| {median(us) / floor:.2f} |"
        for name, us in found.items()
    )
    ratio = median(found[WHOLE]) / floor
    verdict = "met" if ratio <= LIMIT else "**not met in this run**"
    return f"""## The floor

The floor is a C program (`benchmarks/floor.c`) that sends the same requests over as many \
connections and does nothing but read and stamp: no JSON, no HTTP beyond the end of an answer. \
Beside it, in turns at the same scripted server, {len(found[FLOOR])} times: the journal's client \
alone, from the end of its warm-up, and `journal run --endpoint` as a user gives it on a new \
journal, without a warm-up, but with its start, JSON, metrics, database, MLflow (its tables are a \
copy of those that an earlier run left in the cache) and log. Each has \
{streams:,} streams and {streams * waves:,} requests of {TOKENS} chunks; `journal run` has more of \
them before and after, which keep its streams apart, and is divided by all that the server sent. \
What counts is user and system time.

| Client | CPU per chunk | from–to | over the floor |
| --- | ---: | ---: | ---: |
{rows}

### Targets

- The whole `journal run`: at most {LIMIT:g} times the floor; {ratio:.2f} times, {verdict}.

### Machine

{machine("uvloop", "httptools", "mlflow-skinny")} Load average before the first turn: {load:.1f}.
"""


if __name__ == "__main__":
    main()
