"""Looks at a server as text: one line for each figure that is watched, with its history."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from journal import units
from journal.cli.render import plain, word
from journal.language import translated
from journal.monitor.watch import WINDOW_S
from journal.units import ABSENT

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from journal.monitor.watch import Look
    from journal.records.engine import Endpoint

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
BLOCKS, PLAIN_BLOCKS = "■□", "#."  # in use, free
LABEL = 16  # columns of the names


@dataclass(frozen=True, slots=True)
class WatchRow:
    """One thing that is watched: its value now, in words, and its history in the field `name` of
    the looks. `full` is what fills the sparkline, where that is not the most that was seen."""

    label: str
    name: str
    shown: Callable[[float | None], str]
    beside: str = ""
    full: float | None = None
    always: bool = False
    alarm: bool = False


def _count(value: float | None) -> str:
    return ABSENT if value is None else f"{value:,.0f}"


def _watts(value: float | None) -> str:
    return units.rate(value, "W")


def _celsius(value: float | None) -> str:
    return units.rate(value, "°C")


def _cores(value: float | None) -> str:
    return ABSENT if value is None else translated(f"{value:.2f} cores")


def watch_rows(now: "Look") -> list[WatchRow]:
    """What is watched, as of the look `now`."""
    gpus = f", {now.cards} GPUs" if now.cards > 1 else " reserved"
    spread = ""
    if now.cards > 1 and now.gpu_fraction_least is not None:
        ends = units.percent(now.gpu_fraction_least), units.percent(now.gpu_fraction_most)
        spread = f" ({ends[0]} to {ends[1]})"
    full_kv = now.kv_cache_fraction is not None and now.kv_cache_fraction > 0.9
    vram = "" if now.vram_total_bytes is None else f" of {units.data_size(now.vram_total_bytes)}"
    size, rate = units.data_size, units.rate
    seen = bool(now.cards)
    return [
        WatchRow(f"VRAM{gpus}", "vram_used_bytes", size, vram, now.vram_total_bytes, always=seen),
        WatchRow("GPU busy", "gpu_fraction", units.percent, spread, 1.0),
        WatchRow("power", "power_w", _watts),
        WatchRow("temperature", "temperature_c", _celsius),
        WatchRow("resident memory", "rss_bytes", size, always=not seen),
        WatchRow("CPU", "cpu_cores", _cores),
        WatchRow("KV cache in use", "kv_cache_fraction", units.percent, always=True, alarm=full_kv),
        WatchRow("running", "running", _count, always=True),
        WatchRow("waiting", "waiting", _count, always=True, alarm=bool(now.waiting)),
        WatchRow("output", "output_tokens_per_s", rate, always=True),
        WatchRow("prompts", "prompt_tokens_per_s", rate, always=True),
        WatchRow("TTFT mean", "ttft_mean_s", units.seconds, always=True),
        WatchRow("TTFT p95, about", "ttft_p95_s", units.seconds),
        WatchRow("ITL mean", "itl_mean_s", units.seconds),
        WatchRow("prefix hits", "prefix_hit_fraction", units.percent, full=1.0),
        WatchRow("preemptions", "preemptions", _count, alarm=bool(now.preemptions)),
    ]


def sparkline(values: Sequence[float | None], width: int, full: float, bars: str = BARS) -> str:
    """The last `width` values as bars from 0 to `full`, right-aligned; a gap for None."""

    def bar(value: float) -> str:
        share = min(1.0, max(0.0, value / full)) if full > 0 else 0.0
        return bars[min(len(bars) - 1, int(share * len(bars)))]

    last = values[max(0, len(values) - width) :]
    return "".join(" " if value is None else bar(value) for value in last).rjust(width)


def screen(
    endpoint: "Endpoint",
    looks: "Sequence[Look]",
    interval_s: float | None,
    width: int,
    height: int | None,
    *,
    window_s: float = WINDOW_S,
    encoding: str = "utf-8",
) -> "Group":
    """The whole picture, `width` columns wide and at most `height` lines high: the newest look,
    and the looks before it as sparklines."""
    from rich.console import Group
    from rich.text import Text

    now = looks[-1]
    bars, blocks = (BARS, BLOCKS) if "utf" in encoding.lower() else (PLAIN_BARS, PLAIN_BLOCKS)
    history = {row.name: [getattr(look, row.name) for look in looks] for row in watch_rows(now)}
    kept = [
        row
        for row in watch_rows(now)
        if row.always or any(v is not None for v in history[row.name])
    ]
    head = _head(endpoint, now, width)
    foot = [Text(line, style="dim") for line in _folded(_foot(interval_s, window_s), width)]
    pool = pool_lines(now, width, blocks)
    needed = len(head) + len(foot) + 2 + sum(row.always for row in kept)
    if height is not None and needed + len(pool) > height:
        pool = pool[: 1 if needed < height else 0]
    room = None if height is None else height - len(head) - len(pool) - len(foot) - 2
    while room is not None and len(kept) > max(1, room):
        kept.remove(next((row for row in reversed(kept) if not row.always), kept[-1]))
    lines = [*head, Text()]
    for row, line in zip(kept, _lines(kept, history, width, bars), strict=True):
        lines += [line, *(pool if row.name == "kv_cache_fraction" else [])]
    notes = [line for sentence in now.absent for line in _wrapped(plain(sentence), width)]
    left = len(notes) if room is None else max(0, room - len(kept))
    lines += [Text(line, style="dim") for line in notes[:left]]
    return Group(*lines, *foot)


def pool_lines(now: "Look", width: int, blocks: str = BLOCKS) -> "list[Text]":
    """The KV pool of a server as a line of blocks, in use and free, and lines with their sizes;
    [] where its use or its size is not known. `blocks` are the signs of both."""
    from rich.cells import set_cell_size
    from rich.text import Text

    share, room = now.kv_cache_fraction, max(1, width - LABEL - 1)
    if share is None or (now.kv_pool_bytes is None and now.kv_pool_tokens is None):
        return []
    used = min(room, max(share > 0, round(share * room) if share < 1 else room))
    used = min(used, room - 1) if share < 1 else used
    drawn = Text(f"{set_cell_size(word('KV pool'), LABEL)} ", no_wrap=True)
    drawn.append(blocks[0] * used, style="cyan")
    drawn.append(blocks[1] * (room - used), style="dim")
    parts = [
        f"{word(name)} {_kv_size(now, part)}"
        for name, part in (("reserved", 1.0), ("in use", share), ("free", max(0.0, 1 - share)))
    ]
    if now.kv_pool_tokens is not None and now.kv_block_tokens:
        count = f"{now.kv_pool_tokens // now.kv_block_tokens:,}"
        parts.append(translated(f"{count} blocks of {now.kv_block_tokens} tok"))
    indent = " " * (LABEL + 1)
    return [drawn, *(Text(indent + line, style="dim") for line in _folded(parts, room))]


def _kv_size(now: "Look", share: float) -> str:
    """A share of the KV pool, in bytes and in tokens where they are known."""
    sizes = []
    if now.kv_pool_bytes is not None:
        sizes.append(units.data_size(share * now.kv_pool_bytes))
    if now.kv_pool_tokens is not None:
        sizes.append(f"{share * now.kv_pool_tokens:,.0f} tok")
    return " = ".join(sizes)


def _folded(parts: Sequence[str], width: int) -> list[str]:
    """`parts` in lines of at most `width`, with two spaces between them; a part that is longer has
    lines of its own."""
    from rich.cells import cell_len

    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1]) + 2 + cell_len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines += _wrapped(part, width)
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """`text` as lines of at most `width` columns: between words, or anywhere in Chinese."""
    from rich.cells import cell_len, chop_cells

    return wrap(text, width) if cell_len(text) == len(text) else chop_cells(text, width)


def _head(endpoint: "Endpoint", now: "Look", width: int) -> "list[Text]":
    """The server, its model and its version, in as many lines as they need, with the time at the
    end of the first, and whether the server answers."""
    from rich.text import Text

    version = f"vLLM {endpoint.facts.version}" if endpoint.facts.version else ""
    clock = f"{now.at.astimezone():%H:%M:%S}"
    parts = [plain(part) for part in (endpoint.base_url, endpoint.model, version) if part]
    first, *more = _folded(parts, width - len(clock) - 2)
    style = "bold" if now.answers else "bold red"
    lines = [Text(f"{first}{clock:>{width - len(first)}}", style=style)]
    lines += [Text(line, style=style) for line in more]
    if not now.answers:
        lines.append(Text(translated("the server does not answer"), style=style))
    return lines


def _lines(
    rows: Sequence[WatchRow],
    history: Mapping[str, Sequence[float | None]],
    width: int,
    bars: str,
) -> "list[Text]":
    """A line for each row: its name, its value now, its history and the most that it shows. No
    text is cut; the history has the columns that are left."""
    from rich.cells import cell_len, set_cell_size
    from rich.text import Text

    values = []
    for row in rows:
        now = history[row.name][-1]
        values.append(row.shown(now) + ("" if now is None else translated(row.beside)))
    value_width = max(map(cell_len, values), default=0)
    every = ((row, v) for row in rows for v in history[row.name] if v is not None)
    most_width = max((len(row.shown(v)) for row, v in every), default=0)
    spark_width = max(0, width - LABEL - value_width - most_width - 3)
    lines = []
    for row, value in zip(rows, values, strict=True):
        line = Text(f"{set_cell_size(word(row.label), LABEL)} ", no_wrap=True, overflow="crop")
        line.append(set_cell_size(value, value_width), style="bold red" if row.alarm else "bold")
        seen = history[row.name][-spark_width:] if spark_width else []
        most = max((v for v in seen if v is not None), default=None)
        if len(history[row.name]) > 1 and most is not None:
            spark = sparkline(seen, spark_width, row.full or most, bars)
            line.append(f" {spark}", style="cyan")
            line.append(f" {row.shown(most):>{most_width}}", style="dim")
        lines.append(line)
    return lines


def _foot(interval_s: float | None, window_s: float) -> list[str]:
    if interval_s is None:
        return [translated(f"latencies are those of the last {window_s:g} s")]
    times = f"every {interval_s:g} s", f"latencies of {window_s:g} s"
    return [translated(part) for part in (*times, "right: the most seen", "Ctrl-C ends")]
