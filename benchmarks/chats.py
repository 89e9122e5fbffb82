"""Does a load of chats cost the client more than one of completions? In turns, side by side.

    python -m benchmarks.chats [--pairs N] [--streams N] [--waves N] [--no-write]

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
EQUALS = "journal, completions of mixed lengths"
STREAMS, WAVES, PAIRS = 1024, 12, 5
MOST = 1.1  # times the CPU of completions that chats may cost
LOADS = (COMPLETIONS, EQUALS, CHATS)
Round = dict[str, Turn]  # a turn of each load


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chats")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="turns of each load")
    parser.add_argument("--streams", type=int, default=STREAMS, help="requests in flight")
    parser.add_argument("--waves", type=int, default=WAVES, help="requests of each stream")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        server = compiled(Path(folder))
        rounds = [
            {name: attempt(server, name, options.streams, options.waves) for name in LOADS}
            for _ in range(options.pairs)
        ]
    section = written(rounds, load)
    print(section)
    if not options.no_write:
        put("chats", section)


def ratios(rounds: Sequence[Round], base: str) -> list[float]:
    """The CPU of a chunk of chats over that of the load `base`, in order."""
    return sorted(cpu_us(one[CHATS]) / cpu_us(one[base]) for one in rounds)


def cpu_us(turn: Turn) -> float:
    assert turn.cpu_us is not None
    return turn.cpu_us


def written(rounds: Sequence[Round], load: float) -> str:
    """The section on `rounds` of turns, begun at a load average of `load`."""
    over, beside = ratios(rounds, COMPLETIONS), ratios(rounds, EQUALS)
    met = "met" if median(over) <= MOST else "**not met in this run**"
    rows = "\n".join(_row([one[name] for one in rounds]) for name in LOADS)
    return f"""## Chats of mixed lengths

The same server and cores, and three loads in turns, {len(rounds)} of each, with \
{rounds[0][CHATS].requests:,} requests: completions of one length, and completions and chats from \
a file as `run` sends them, with prompts of log-normal lengths (256 words on average), answers of \
10 to 190 tokens, and all bodies on disk until they are sent. "With fewer in flight" is the part \
of the chunks that came when a stream had ended for good: streams of mixed lengths run out one \
after another, and the fewer there are, the more a chunk costs. Their answers also end one by one \
and are read while others stream, which takes more than reading them when the load is over. "Kept \
from their cores" is how long server and client were ready to run and other programs ran instead: \
where that is much, the figures say more about the machine than about the loads.

| Load | Streams | CPU per chunk, median | least–most | With fewer in flight | \
Kept from their cores, median |
| --- | ---: | ---: | ---: | ---: | ---: |
{rows}

### Target

- CPU per chunk of chats over that of completions of one length, median of the rounds: at most \
{MOST:g} times; {median(over):.2f} times ({over[0]:.2f}–{over[-1]:.2f}), {met}. Over completions \
of the same lengths: {median(beside):.2f} times ({beside[0]:.2f}–{beside[-1]:.2f}).

### Machine

{machine("uvloop", "httptools")} Load average before the first turn: {load:.1f}.
"""


def _row(turns: Sequence[Turn]) -> str:
    used_us = sorted(map(cpu_us, turns))
    kept_s = median(turn.disturbance_s for turn in turns)
    fewer = median(turn.with_fewer for turn in turns if turn.with_fewer is not None)
    cells = [
        turns[0].name,
        f"{turns[0].streams:,}",
        f"{median(used_us):.1f} us",
        f"{used_us[0]:.1f}–{used_us[-1]:.1f} us",
        f"{fewer:.0%}",
        f"{kept_s:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
