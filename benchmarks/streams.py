"""How many streams does one process of the client read at a time? Thousands, at the pace of people.

    python -m benchmarks.streams [--no-write]

The server and the cores are those of `benchmarks.clients`. Prints its section of
docs/performance.md and puts it there. Takes a minute.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.clients import TTFT_MS, Turn, attempt, compiled
from benchmarks.contenders import TOKENS
from benchmarks.page import machine, put

LOADS = ((4096, 50.0), (10_000, 100.0))  # streams, and ms from token to token of each


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        server = compiled(Path(folder))
        turns = [attempt(server, "journal", streams, 1, itl_ms) for streams, itl_ms in LOADS]
    section = written(turns, load)
    print(section)
    if not options.no_write:
        put("streams", section)


def written(turns: Sequence[Turn], load: float) -> str:
    """The section on a turn of each of LOADS, begun at a load average of `load`."""
    rows = "\n".join(_row(one, itl_ms) for one, (_, itl_ms) in zip(turns, LOADS, strict=True))
    return f"""## Thousands of streams

The same server and cores, and one process of the client, with all streams in flight at once: \
{TOKENS} tokens each, the first {TTFT_MS:g} ms after the request. "Of a core" is the CPU per chunk \
times the chunks of a second. "Kept from their cores" is how long server and client were ready to \
run and other programs ran instead: where that is much, TTFT says more about the machine than \
about the client.

| Streams | tokens/s of each | answered | CPU per chunk | of a core | TTFT p50 | TTFT p99 | \
Server's own delay p99, first token | Kept from their cores: server, client |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
{rows}

### Machine

{machine("uvloop", "httptools")} Load average before the first turn: {load:.1f}.
"""


def _row(one: Turn, itl_ms: float) -> str:
    assert one.cpu_us is not None
    per_s = 1000 / itl_ms
    cells = [
        f"{one.streams:,}",
        f"{per_s:g}",
        f"{one.requests:,}",
        f"{one.cpu_us:.1f} us",
        f"{one.streams * per_s * one.cpu_us / 1e6:.0%}",
        f"{one.ttft_p50_ms:,.1f} ms",
        f"{one.ttft_p99_ms:,.1f} ms",
        f"{one.server_first_late_ms:,.1f} ms",
        f"{one.server_waited_s:.2f}, {one.client_waited_s:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
