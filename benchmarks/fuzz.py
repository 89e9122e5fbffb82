"""Fuzzing: every reader of what others write, fed with changed examples for a bounded time.

    python -m benchmarks.fuzz --seconds 60 [--target metrics ...] [--seed 1]

With Atheris (`pip install serving-journal[fuzz]`) the changes are guided by the code that they
reach; without it they are random. A target may refuse what it reads by the errors that its callers
expect; anything else, and a reading of more than SLOWEST_S, is a defect: its bytes are printed in
base64, and the exit code is 1.
"""

import argparse
import base64
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from journal.errors import DamagedRow, JournalError

ROOT = Path(__file__).parent.parent
SLOWEST_S = 5.0  # for one reading of at most LONGEST bytes, on a busy machine
LONGEST = 20_000

Target = Callable[[bytes], None]


# ---- targets -----------------------------------------------------------------------------------


def fuzz_stream(data: bytes) -> None:
    """A recorded answer, read as a load reads it."""
    from journal.load.answer import Exchange, trace_of
    from journal.load.wire import Recording
    from journal.records.request import Request

    recording = Recording(4)
    for at in range(0, len(data), 700):
        recording.feed(float(at), data[at : at + 700])
        if recording.over or recording.failure:
            break
    recording.close()
    request = Request(index=0, body=b"{}", prompt_tokens=4, output_tokens=4, warmup=False)
    trace = trace_of(Exchange(request=request, start_s=0.0, recording=recording))
    assert trace.outcome in ("ok", "short", "error")


def fuzz_sse(data: bytes) -> None:
    """A stream by hand, in pieces."""
    from datetime import UTC, datetime

    from journal.chat.hearing import Hearing
    from journal.records.notebook import Interaction

    said = ({"role": "user", "content": "so?"},)
    when = datetime(2026, 3, 1, tzinfo=UTC)
    fixed = {"base_url": "http://h/v1", "model": "m", "api": "chat", "settings": {}}
    begun = Interaction(id="a", source="ask", asked_at=when, messages=said, **fixed)
    hearing = Hearing(begun)
    for at in range(0, len(data), 100):
        hearing.hear(data[at : at + 100], at / 1e3)
    hearing.end(1.0)


def fuzz_metrics(data: bytes) -> None:
    from journal.measure.histogram import histogram
    from journal.measure.server import parsed_samples, server_reading

    list(parsed_samples(data))
    server_reading(data, 0.0)
    read = histogram(data, "vllm:time_to_first_token_seconds")
    if read is not None:
        read.quantile(0.5)


def fuzz_engine_log(data: bytes) -> None:
    from journal.serve.engines.vllm.vllm import VLLM

    lines = data.decode("utf-8", "replace").splitlines()
    VLLM.facts(lines)
    VLLM.failure("it died", "\n".join(lines), Path("engine.log"))


def fuzz_explain(data: bytes) -> None:
    from journal.report.explain import explain
    from journal.report.explain_words import explanation_text

    known = explain(data.decode("utf-8", "replace").splitlines())
    for lang in ("en", "zh"):
        explanation_text(known, lang)


def fuzz_experiment(data: bytes) -> None:
    from journal.plan.cells import cells
    from journal.plan.experiment_file import parse

    text = data.decode("utf-8", "replace")
    cells(parse(text, default_name="x", where="x.toml"), model="m")


def fuzz_importers(data: bytes) -> None:
    from journal.exchange.import_results import import_results

    folder = Path(_folder().name)
    path = folder / "result.json"
    path.write_bytes(data)
    import_results(path, folder / "lab")


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder with an empty journal, which takes a second to make."""
    from journal.store.store import open_store

    folder = tempfile.TemporaryDirectory()
    open_store(Path(folder.name, "lab")).close()
    return folder


def fuzz_stored_rows(data: bytes) -> None:
    from journal.records.cell import Cell
    from journal.records.engine import EngineFacts
    from journal.records.experiment import Experiment
    from journal.store.plain import from_json
    from journal.store.row_care import naming

    text = data.decode("utf-8", "replace")
    for kind in (Cell, EngineFacts, Experiment):
        with naming("a row"):
            from_json(kind, text)


TARGETS: dict[str, Target] = {
    "stream": fuzz_stream,
    "sse": fuzz_sse,
    "metrics": fuzz_metrics,
    "engine_log": fuzz_engine_log,
    "explain": fuzz_explain,
    "experiment": fuzz_experiment,
    "importers": fuzz_importers,
    "stored_rows": fuzz_stored_rows,
}


def examples(name: str) -> list[bytes]:
    """Good examples for a target, from the data of the tests."""
    folders = {
        "metrics": ("tests/data/metrics", "*.txt"),
        "engine_log": ("tests/data/engine", "*.log"),
        "explain": ("tests/data/engine", "*.log"),
        "experiment": ("experiments", "*.toml"),
        "importers": ("tests/exchange/data", "*.json*"),
    }
    if name in folders:
        folder, pattern = folders[name]
        files = sorted((ROOT / folder).rglob(pattern))
        return [path.read_bytes()[:LONGEST] for path in files]
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "so"}}], "usage": null}\n\n'
    end = b'data: {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 4}}\n\n'
    events = event * 3 + end + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)
    cell = b'{"experiment":"e","model":"m","quantisation":null,"engine":null,"batch":1,"rate":null,'
    cell += b'"prompt_tokens":4,"output_tokens":4,"load":{"requests":3},"slo":null,"repeat":0}'
    return {"sse": [events], "stream": [head + chunk], "stored_rows": [cell]}[name]


# ---- changing and trying -----------------------------------------------------------------------

PIECES = (
    *(b"\x00", b"\xff", b"\xed\xa0\x80", b"\n", b'"', b"\\", b"{", b"}", b"[", b"]", b":", b","),
    *(b"null", b"nan", b"-1", b"1e999", b"9" * 400, b"[" * 400, b"%", b"data: ", b" " * 400),
)


def changed(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to six random changes, at most LONGEST bytes of it."""
    for _ in range(rng.randint(1, 6)):
        at, to = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
        to = min(to, at + 200)
        piece = rng.choice((b"", data[at:to] * 2, rng.randbytes(3), rng.choice(PIECES)))
        data = data[:at] + piece + data[rng.choice((at, at, to)) :]
    return data[:LONGEST]


def defect(target: Target, data: bytes) -> str | None:
    """Why the target is wrong on `data`; None where it is right."""
    began_s = time.monotonic()
    try:
        with warnings.catch_warnings(action="ignore", category=DamagedRow):
            target(data)
    except JournalError as error:
        if len(str(error)) > 5000:
            return f"a sentence of {len(str(error)):,} characters"
    except ValueError as error:
        if "the most that is read" not in str(error):
            return traceback.format_exc()
    except Exception:  # noqa: BLE001 - that is what is looked for
        return traceback.format_exc()
    took_s = time.monotonic() - began_s
    return f"it took {took_s:.1f} s" if took_s > SLOWEST_S else None


def fuzz(name: str, seconds: float, seed: int) -> tuple[int, bytes | None, str]:
    """Random changes for `seconds`: the number tried, and the first bytes that show a defect, with
    the reason (None, "": there were none)."""
    rng, good, count = random.Random(f"{seed} {name}"), examples(name), 0
    defect(TARGETS[name], good[0])  # what it imports once takes its time
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        data = changed(rng.choice(good), rng) if count else good[0]
        count += 1
        if why := defect(TARGETS[name], data):
            return count, data, why
    return count, None, ""


def _guided(name: str, seconds: float, seed: int) -> int:
    """The same in a process of its own, guided by Atheris; its exit code."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, data in enumerate(examples(name)):
            Path(corpus, str(number)).write_bytes(data)
        limits = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST}"]
        command = [sys.executable, "-m", "benchmarks.fuzz", "--guided", name]
        return subprocess.run([*command, *limits, f"-seed={seed}", corpus]).returncode


def _be_guided(name: str, arguments: Sequence[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["journal"]):
        TARGETS[name](examples(name)[0])

    def once(data: bytes) -> None:
        if why := defect(TARGETS[name], data):
            raise RuntimeError(why)

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> int:
    """Fuzz every target that is asked for; 1 where one has a defect."""
    if arguments[:1] == ["--guided"]:
        _be_guided(arguments[1], arguments[2:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    asked = parser.parse_args(arguments)
    names, bad = asked.target or list(TARGETS), 0
    for name in names:
        seconds = asked.seconds / len(names)
        if find_spec("atheris") is not None:
            bad += _guided(name, seconds, asked.seed) != 0
            continue
        count, data, why = fuzz(name, seconds, asked.seed)
        print(f"{name}: {count:,} readings in {seconds:.0f} s")
        if data is not None:
            print(f"{why}\n{base64.b64encode(data).decode()}", file=sys.stderr)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
