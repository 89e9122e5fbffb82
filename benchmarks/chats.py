"""Does a load of chats cost the client more than one of completions? Both in turns, side by side.

    python -m benchmarks.chats [--pairs N] [--streams N] [--no-write]

The server and the cores are those of `benchmarks.clients`. Prints its section of
docs/performance.md and puts it there.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.clients import Turn, attempt, compiled
from benchmarks.page import machine, put

COMPLETIONS, CHATS = "journal", "journal, chats of mixed lengths"
STREAMS, WAVES, PAIRS = 1024, 3, 5
MOST = 1.1  # times the CPU of completions that chats may cost
Pair = tuple[Turn, Turn]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chats")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="turns of each load")
    parser.add_argument("--streams", type=int, default=STREAMS, help="requests in flight")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        server = compiled(Path(folder))
        pairs = [
            (
                attempt(server, COMPLETIONS, options.streams, WAVES),
                attempt(server, CHATS, options.streams, WAVES),
            )
            for _ in range(options.pairs)
        ]
    section = written(pairs, load)
    print(section)
    if not options.no_write:
        put("chats", section)


def ratio(pair: Pair) -> float:
    """The CPU of a chunk of chats over that of completions."""
    completions, chats = (one.cpu_us for one in pair)
    assert completions is not None and chats is not None
    return chats / completions


def written(pairs: Sequence[Pair], load: float) -> str:
    """The section on `pairs` of turns, begun at a load average of `load`."""
    ratios = sorted(map(ratio, pairs))
    met = "met" if median(ratios) <= MOST else "**not met in this run**"
    rows = "\n".join(_row(list(turns)) for turns in zip(*pairs, strict=True))
    return f"""## Chats of mixed lengths

The same server and cores, and two loads in turns, {len(pairs)} of each: completions of one \
length, and chats from a file as `run` sends them, with prompts of log-normal lengths (256 words \
on average), answers of 10 to 190 tokens, and all bodies on disk until they are sent. "Kept from \
their cores" is how long server and client were ready to run and other programs ran instead: where \
that is much, the figures say more about the machine than about the loads.

| Load | Streams | CPU per chunk, median | least–most | Kept from their cores, median |
| --- | ---: | ---: | ---: | ---: |
{rows}

### Target

- CPU per chunk of chats over that of completions, median of the pairs: at most {MOST:g} times; \
{median(ratios):.2f} times ({ratios[0]:.2f}–{ratios[-1]:.2f}), {met}.

### Machine

{machine("uvloop", "httptools")} Load average before the first turn: {load:.1f}.
"""


def _row(turns: Sequence[Turn]) -> str:
    cpu_us = sorted(turn.cpu_us for turn in turns if turn.cpu_us is not None)
    kept_s = median(turn.disturbance_s for turn in turns)
    cells = [
        turns[0].name,
        f"{turns[0].streams:,}",
        f"{median(cpu_us):.1f} us",
        f"{cpu_us[0]:.1f}–{cpu_us[-1]:.1f} us",
        f"{kept_s:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
