"""How true is a client? Ours and others against the same server of known truth, each in turn.

    python -m benchmarks.clients [--only NAME ...] [--no-write]

The server is written in C, streams on an exact schedule and is tied to core 0; each client is
tied to core 1. Prints its section of docs/performance.md and puts it there. Takes about two
minutes on an idle machine; on a busy one, a turn that other programs disturbed is tried again.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import TOKENS, waited_s
from benchmarks.page import ROOT, machine, put

TTFT_MS, ITL_MS = 50.0, 10.0
E2E_MS = TTFT_MS + (TOKENS - 1) * ITL_MS
ATTEMPTS = 3
DISTURBED_S = 0.1  # a turn that waited longer for a core is tried again
# The clients, with the number of streams and of waves of them.
TURNS = [
    ("journal", 256, 6),
    ("journal", 512, 4),
    ("journal", 1024, 4),
    ("journal, with its meters", 1024, 4),
    ("journal, 2 processes", 1024, 4),
    ("journal, twice", 1024, 4),
    ("openai SDK", 256, 3),
    ("openai SDK", 1024, 1),
    ("openai SDK on aiohttp", 256, 3),
    ("openai SDK on aiohttp", 1024, 1),
    ("vllm bench serve", 256, 3),
    ("vllm bench serve", 1024, 2),
    ("GuideLLM", 256, 3),
    ("GuideLLM", 1024, 1),
]
# Those of more than one process have two cores; where there are but two, one is the server's.
ON_TWO_CORES = ("journal, 2 processes", "journal, twice", "GuideLLM")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The figures of one turn, in ms and us: those that the client measured, and those of the
    server about itself."""

    name: str
    streams: int
    requests: int
    cpu_us: float | None
    ttft_p50_ms: float
    ttft_p99_ms: float
    e2e_p50_ms: float
    server_late_ms: float
    server_first_late_ms: float
    server_waited_s: float
    client_waited_s: float
    with_fewer: float | None

    @property
    def disturbance_s(self) -> float:
        return self.server_waited_s + self.client_waited_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these clients")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--streams", type=int, help="one wave of this many, not the full turns")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("the benchmark needs two cores: one for the server, one for the client")
    load = os.getloadavg()[0]
    turns = []
    with tempfile.TemporaryDirectory() as folder:
        server = compiled(Path(folder))
        chosen = TURNS
        if options.streams is not None:
            names = dict.fromkeys(name for name, _, _ in TURNS)
            chosen = [(name, options.streams, 1) for name in names]
        for name, streams, waves in chosen:
            if installed(name) and (options.only is None or name in options.only):
                print(f"{name}, {streams} streams ...", file=sys.stderr, flush=True)
                turns.append(turn(server, name, streams, waves))
    section = written(turns, load)
    print(section)
    if not options.no_write:
        put("clients", section)


def compiled(folder: Path, name: str = "scripted_server") -> Path:
    """The program of the C file `name` of this folder, in `folder`."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise SystemExit(f"{name} is written in C: install a C compiler (cc)")
    program = folder / name
    source = Path(__file__).parent / f"{name}.c"
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    return program


def installed(name: str) -> bool:
    if name == "GuideLLM":
        return shutil.which("guidellm") is not None
    needed = {"vllm bench serve": "vllm", "openai SDK on aiohttp": "aiohttp"}.get(name)
    return needed is None or importlib.util.find_spec(needed) is not None


def turn(server: Path, name: str, streams: int, waves: int) -> Turn:
    """The figures of one client's turn; of several turns the one that other programs disturbed
    least."""
    turns: list[Turn] = []
    while not turns or (turns[-1].disturbance_s > DISTURBED_S and len(turns) < ATTEMPTS):
        turns.append(attempt(server, name, streams, waves))
    return min(turns, key=lambda one: one.disturbance_s)


def attempt(server: Path, name: str, streams: int, waves: int, itl_ms: float = ITL_MS) -> Turn:
    cores = sorted(os.sched_getaffinity(0))
    mine = cores[1:2]
    if name in ON_TWO_CORES:
        mine = cores[1:3] if len(cores) > 2 else cores
    with subprocess.Popen(
        [server, "0", str(TTFT_MS), str(itl_ms)], stdout=subprocess.PIPE, text=True
    ) as process:
        os.sched_setaffinity(process.pid, cores[:1])
        assert process.stdout is not None
        try:
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
            command = [sys.executable, "-m", "benchmarks.contenders", name, url]
            command += [str(streams), str(waves), ",".join(map(str, mine))]
            done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
            server_waited_s = waited_s(process.pid)
        finally:
            process.terminate()
        truth = json.loads(process.stdout.read())
    figures = json.loads(done.stdout)
    ttft_s, e2e_s = sorted(figures["ttft_s"]), sorted(figures["e2e_s"])
    chunks = figures.get("chunks", TOKENS * len(e2e_s))
    return Turn(
        name=name,
        streams=streams,
        requests=len(e2e_s),
        cpu_us=None if figures["cpu_s"] is None else figures["cpu_s"] / chunks * 1e6,
        ttft_p50_ms=ttft_s[len(ttft_s) // 2] * 1e3,
        ttft_p99_ms=ttft_s[int(len(ttft_s) * 0.99)] * 1e3,
        e2e_p50_ms=e2e_s[len(e2e_s) // 2] * 1e3,
        server_late_ms=truth["late_p99_ms"],
        server_first_late_ms=truth["first_late_p99_ms"],
        server_waited_s=server_waited_s,
        client_waited_s=figures["waited_s"],
        with_fewer=figures.get("with_fewer"),
    )


def written(turns: Sequence[Turn], load: float) -> str:
    rows = "\n".join(row(one, turns) for one in turns)
    return f"""## The load generator

A server streams on an exactly known schedule: {TOKENS} tokens, the first {TTFT_MS:g} ms after the \
request, then one every {ITL_MS:g} ms, so the truth is a TTFT of {TTFT_MS:g} ms and an E2E of \
{E2E_MS:,.0f} ms. It is a single C program on one core and notes how late its own chunks were. \
Each client runs in turn in a process of its own on one other core; what it reports beyond the \
truth is its own queueing. All streams start together, which is the hardest case for a client \
and for the server: sending the same token to 1,024 streams takes the server some 4 ms.

| Client | Streams | CPU per chunk | over the SDK's | TTFT p50 | TTFT p99 | E2E p50 | \
E2E against truth | Server's own delay p99: first token, all | Kept from their cores: server, \
client | Requests |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

CPU per chunk is user and system time. Ours counts from the end of a warm-up of one request a \
process, when all are ready, until all traces are in, and includes opening the connections and \
reading the JSON of every chunk. With few streams more of it is waking up: each read then comes \
alone. It is left out where a client's start cannot be separated from its work. "With its meters" \
has the threads beside it that read /metrics, processes, host and GPUs (where there are any) while \
cells are measured. "2 processes" shares the streams \
over two worker processes; "twice" is two loads with half of the streams each that know nothing of \
each other. Both, and GuideLLM, which has processes of its own, run on two \
cores{two_cores()}. "Kept from their cores" is how long the two were ready to run and other \
programs ran instead: where that is much, the turn says more about the machine than about the \
client.

### Targets

{targets(turns)}

### Machine

{machine("uvloop", "httptools", "openai")} Load average before the first turn: {load:.1f}.
"""


def two_cores() -> str:
    few = len(os.sched_getaffinity(0)) == 2
    return ", of which one is the server's here" if few else ""


def row(one: Turn, turns: Sequence[Turn]) -> str:
    sdk = [t.cpu_us for t in turns if (t.name, t.streams) == ("openai SDK", one.streams)]
    base = sdk[0] if sdk else None
    ratio = "–" if base is None or one.cpu_us is None else f"{one.cpu_us / base:.2f}"
    cells = [
        one.name,
        f"{one.streams:,}",
        "–" if one.cpu_us is None else f"{one.cpu_us:.1f} us",
        ratio,
        f"{one.ttft_p50_ms:,.1f} ms",
        f"{one.ttft_p99_ms:,.1f} ms",
        f"{one.e2e_p50_ms:,.0f} ms",
        f"{(one.e2e_p50_ms / E2E_MS - 1) * 100:+.1f}%",
        f"{one.server_first_late_ms:.1f}, {one.server_late_ms:.1f} ms",
        f"{one.server_waited_s:.2f}, {one.client_waited_s:.2f} s",
        f"{one.requests:,}",
    ]
    return f"| {' | '.join(cells)} |"


def targets(turns: Sequence[Turn]) -> str:
    by = {(one.name, one.streams): one for one in turns}
    lines = []

    def check(what: str, value: float, limit: float, unit: str, note: str = "") -> None:
        verdict = "met" if value <= limit else "**not met in this run**"
        lines.append(f"- {what}: at most {limit:g} {unit}; {value:.1f} {unit}{note}, {verdict}.")

    for streams, limit_ms in ((256, 5.0), (1024, 20.0)):
        one = by.get(("journal", streams))
        if one is not None:
            late = (
                f" (the server's own delay: {one.server_first_late_ms:.1f} ms; kept from their "
                f"cores: {one.disturbance_s:.2f} s)"
            )
            what = f"TTFT p99 beyond the schedule at {streams:,} streams"
            check(what, one.ttft_p99_ms - TTFT_MS, limit_ms, "ms", late)
    one = by.get(("journal", 1024))
    if one is not None and one.cpu_us is not None:
        check("E2E p50 off the schedule there", abs(one.e2e_p50_ms / E2E_MS - 1) * 100, 1.0, "%")
        check("CPU per chunk there", one.cpu_us, 8.0, "us")
    return "\n".join([*lines, *beside_one_another(by)])


def beside_one_another(by: Mapping[tuple[str, int], Turn]) -> Iterator[str]:
    """The cost of the meters, and of a second process."""
    one, metered = by.get(("journal", 1024)), by.get(("journal, with its meters", 1024))
    if one is not None and metered is not None and one.cpu_us and metered.cpu_us:
        yield (
            f"- With its meters beside it the client takes {metered.cpu_us - one.cpu_us:+.2f} us a "
            f"chunk and {metered.ttft_p99_ms - one.ttft_p99_ms:+.1f} ms of TTFT p99 at 1,024 "
            "streams."
        )
    half, two, twice = (
        turn.cpu_us if (turn := by.get(key)) else None
        for key in (("journal", 512), ("journal, 2 processes", 1024), ("journal, twice", 1024))
    )
    if half is not None and two is not None and twice is not None:
        yield (
            f"- Two processes with 512 streams each take {two / twice:.2f} times the CPU per chunk "
            "of two loads with nothing in common on the same cores (1 is linear), and "
            f"{two / half:.2f} times that of one load with 512 streams and a core of its own."
        )


if __name__ == "__main__":
    main()
