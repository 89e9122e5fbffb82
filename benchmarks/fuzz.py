"""Fuzzing: every reader of what others write, fed with changed examples for a bounded time.

    python -m benchmarks.fuzz --seconds 60 [--target metrics ...] [--seed 1]

With Atheris (`pip install serving-journal[fuzz]`) the changes are guided by the code that they
reach; without it they are random. A target may refuse what it reads by the errors that its callers
expect; anything else, and a reading of more than SLOWEST_S, is a defect: its bytes are printed in
base64, and the exit code is 1.
"""

import argparse
import base64
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from benchmarks.fuzz_targets import LONGEST, TARGETS, Target, examples
from journal.errors import DamagedRow, JournalError

SLOWEST_S = 5.0  # of the processor, for one reading of at most LONGEST bytes

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
    began_s = time.process_time()
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
    took_s = time.process_time() - began_s
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


def guided(name: str, seconds: float, seed: int) -> tuple[int, bytes | None, str]:
    """The same in a process of its own, guided by Atheris."""
    with tempfile.TemporaryDirectory() as folder:
        good, bad, report = Path(folder, "good"), Path(folder, "bad"), Path(folder, "report")
        good.mkdir()
        bad.mkdir()
        for number, data in enumerate(examples(name)):
            (good / str(number)).write_bytes(data)
        limits = [f"-max_total_time={max(1, round(seconds))}", f"-max_len={LONGEST}"]
        limits += [f"-seed={seed}", f"-artifact_prefix={bad}{os.sep}", "-timeout=120"]
        command = [sys.executable, "-m", "benchmarks.fuzz", "--guided", name, *limits, str(good)]
        with report.open("wb") as file:
            code = subprocess.run(command, stdout=file, stderr=file).returncode
        said = report.read_text(errors="replace")
        tried = re.findall(r"^#(\d+)", said, re.MULTILINE)
        count = int(tried[-1]) if tried else 0
        if code == 0:
            return count, None, ""
        found = next(bad.iterdir(), None)
        return count, b"" if found is None else found.read_bytes(), said[-5000:]


def _be_guided(name: str, arguments: Sequence[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["journal"]):
        defect(TARGETS[name], examples(name)[0])

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
    way, how = (guided, "guided") if find_spec("atheris") else (fuzz, "random")
    for name in names:
        seconds = asked.seconds / len(names)
        count, data, why = way(name, seconds, asked.seed)
        verdict = "no defect" if data is None else "A DEFECT"
        print(f"{name}: {count:,} {how} readings in {seconds:.0f} s, {verdict}", flush=True)
        if data is not None:
            print(f"{why}\n{base64.b64encode(data).decode()}", file=sys.stderr, flush=True)
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
