"""Processes that measure a sweep of small cells on the simulated server, or run another command on
what was measured, made to be killed."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import typer

from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.progress import Event
from journal.simulator.http import Script

ROOT = Path(__file__).parent.parent
MARK = "JOURNAL_SOAK"  # in the environment of every process that comes of a round
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
SCRIPT = Script(ttft_s=0.002, itl_s=0.0005)
STAND_IN = ROOT / "tests" / "serve" / "stand_in.py"  # the engine of `journal serve`
REPORTS = "gate.xml", "gate.md"  # of `journal check`


class Nursery:
    """A process that has all modules loaded and forks one that measures for each line it reads,
    so that a round costs no start of an interpreter."""

    def __init__(self, home: Path, url: str, mark: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.nursery", str(home), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env={**os.environ, **QUIET, MARK: mark},
            start_new_session=True,
        )
        self._line()  # loaded

    def fork(self, sweep: str, act: str) -> int:
        """Begins a round, one of ACTS on a sweep; the id of its process."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([sweep, act]) + "\n")
        return int(self._line().removeprefix("pid "))

    def said(self, until: int | None = None) -> list[str]:
        """What the round says until it is over, has stored so many cells, or has begun."""
        lines: list[str] = []
        while lines[-1:] != ["over"]:
            told = sum(line.startswith(("stored ", "begun")) for line in lines)
            if until is not None and told >= until:
                break
            lines.append(self._line())
        return lines

    def _line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the nursery died")
        return line.strip()

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def nursery(home: Path, url: str) -> None:
    """The nursery's side: fork a child for each line, wait for it, and say when it is over."""
    import mlflow.tracking  # noqa: F401 (loaded here, for all children)

    import journal.run.stages
    import journal.store.migrate

    endpoint = journal.attach(url)
    print("loaded", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os.write(1, f"pid {os.getpid()}\n".encode())
            signal.signal(signal.SIGINT, signal.default_int_handler)
            code = 1
            try:
                sweep, act = json.loads(line)
                ACTS[act](home, sweep, endpoint)
                code = 0
            except BaseException:
                traceback.print_exc()
                raise
            finally:
                os._exit(code)
        os.waitpid(child, 0)
        os.write(1, b"over\n")


def measure(home: Path, sweep: str, endpoint: Endpoint) -> None:
    """One round: go on with the sweep, say each cell once it is stored."""
    import journal

    def tell(event: Event) -> None:
        if event.stage == "record":
            took_s = time.monotonic() - began_s
            os.write(1, f"stored {event.message.split()[0]} {took_s}\n".encode())

    began_s = time.monotonic()
    result = journal.run(planned(sweep), home, endpoint=endpoint, resume=True, listener=tell)
    os.write(1, b"done\n" if result.ok else b"not ok\n")


def measure_own(home: Path, sweep: str, _: Endpoint) -> None:
    """The same against a server of its own, under the guard that engines have."""
    import journal

    with served(home) as own:
        measure(home, sweep, journal.attach(own))


def sync(home: Path, *_: object) -> None:
    """`journal sync`."""
    import journal
    from journal.tracking.tracker import sync as send

    with journal.open_store(home) as store:
        os.write(1, b"begun\n")
        report = send(store, home)
    os.write(1, b"done\n" if report.reason is None else b"not ok\n")


def check(home: Path, sweep: str, _: Endpoint) -> None:
    """`journal check` of a sweep against the first one, with its reports in files."""
    from journal.cli.check import check as command

    xml, markdown = (home / name for name in REPORTS)
    os.write(1, b"begun\n")
    with contextlib.suppress(typer.Exit):  # its verdict
        command("first", sweep, home=home, junit=xml, markdown=markdown)
    sys.stdout.flush()
    os.write(1, b"done\n")


def keep_serving(home: Path, *_: object) -> None:
    """`journal serve`: an engine that starts, and is up until the end."""
    import journal

    model, python = home / "model", home / "python"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text('{"max_position_embeddings": 8192}')
    no_tensors = (2).to_bytes(8, "little") + b"{}"
    (model / "model.safetensors").write_bytes(no_tensors)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
    python.chmod(0o700)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    env = {"STAND_IN": "{}", "PYTHONPATH": path}
    engine = journal.Engine(model=str(model), python=str(python), env=env)
    os.write(1, b"begun\n")
    with journal.serve(engine, home):
        os.write(1, b"up\n")
        time.sleep(0.5)
    os.write(1, b"done\n")


ACTS = {
    "run": measure,
    "run on its own server": measure_own,
    "sync": sync,
    "serve": keep_serving,
    "check": check,
}


@contextlib.contextmanager
def served(home: Path) -> Iterator[str]:
    from journal.serve import process_tree as process

    code = (
        "import json, sys; from journal.simulator.http import Script, serve; "
        "serve(Script(**json.loads(sys.argv[1])), port=0, "
        "on_ready=lambda port: print('port', port, flush=True))"
    )
    log = home / "server.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-c", code, json.dumps(dataclasses.asdict(SCRIPT))]
    tree = process.start_guarded(command, env=os.environ, log_path=log)
    try:
        while "port" not in (text := log.read_text()) or not text.endswith("\n"):
            time.sleep(0.005)
        yield f"http://127.0.0.1:{text.split()[-1]}/v1"
    finally:
        tree.stop()


def planned(sweep: str) -> Experiment:
    return Experiment(
        name=sweep,
        grid=Grid(batch=(1, 2, 4), prompt_tokens=(4, 8, 9), output_tokens=(3, 5)),
        load=Load(requests=8, warmup=1),
    )


if __name__ == "__main__":
    nursery(Path(sys.argv[1]), sys.argv[2])
