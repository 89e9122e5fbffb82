"""Looks at a server as text: one line for each figure that is watched, with its history."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

from journal import units
from journal.cli.render import plain
from journal.monitor.watch import WINDOW_S
from journal.units import ABSENT

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

    from journal.monitor.watch import Look
    from journal.records.engine import Endpoint

BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.:-=+*#"
LABEL, VALUE, MOST = 16, 22, 12  # columns of text beside the sparkline


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
    return ABSENT if value is None else f"{value:.2f} cores"


def watch_rows(now: "Look") -> list[WatchRow]:
    """What is watched, as of the look `now`."""
    gpus = f", {now.cards} GPUs" if now.cards > 1 else " reserved"
    spread = ""
    if now.cards > 1 and now.gpu_fraction_least is not None:
        ends = units.percent(now.gpu_fraction_least), units.percent(now.gpu_fraction_most)
        spread = f" ({ends[0]} to {ends[1]})"
    full_kv = now.kv_cache_fraction is not None and now.kv_cache_fraction > 0.9
    pool = ""
    if now.kv_pool_bytes is not None:
        pool = f" of {units.data_size(now.kv_pool_bytes)}"
    elif now.kv_pool_tokens is not None:
        pool = f" of {now.kv_pool_tokens:,} tok"
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
        WatchRow("KV cache in use", "kv_cache_fraction", units.percent, pool, 1.0, True, full_kv),
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
    history = {row.name: [getattr(look, row.name) for look in looks] for row in watch_rows(now)}
    kept = [
        row
        for row in watch_rows(now)
        if row.always or any(v is not None for v in history[row.name])
    ]
    spare = 4 if now.answers else 5
    while height is not None and len(kept) > max(1, height - spare):
        kept.remove(next((row for row in reversed(kept) if not row.always), kept[-1]))
    bars = BARS if "utf" in encoding.lower() else PLAIN_BARS
    lines = [_head(endpoint, now, width), Text()]
    lines += [_line(row, history[row.name], width, bars) for row in kept]
    notes = [line for sentence in now.absent for line in wrap(plain(sentence), width)]
    left = len(notes) if height is None else max(0, height - len(kept) - spare)
    lines += [Text(line, style="dim") for line in notes[:left]]
    lines.append(Text(_cut(_foot(interval_s, window_s), width), style="dim"))
    return Group(*lines)


def _head(endpoint: "Endpoint", now: "Look", width: int) -> "Text":
    from rich.text import Text

    version = f"vLLM {endpoint.facts.version}" if endpoint.facts.version else ""
    clock = f"{now.at.astimezone():%H:%M:%S}"
    parts = (endpoint.base_url, endpoint.model, version)
    title = _cut(plain("  ".join(part for part in parts if part)), width - len(clock) - 2)
    head = Text(
        f"{title}{clock:>{width - len(title)}}", style="bold" if now.answers else "bold red"
    )
    if not now.answers:
        head.append("\n" + _cut("the server does not answer", width))
    return head


def _line(row: WatchRow, history: Sequence[float | None], width: int, bars: str) -> "Text":
    from rich.text import Text

    value = row.shown(history[-1]) + (row.beside if history[-1] is not None else "")
    spark_width = width - LABEL - VALUE - MOST - 3
    known = [value for value in history[-spark_width:] if value is not None]
    most = max(known, default=0.0)
    spark = sparkline(history, max(0, spark_width), row.full or most, bars)
    style = "bold red" if row.alarm else "bold"
    line = Text(f"{row.label:<{LABEL}} ", no_wrap=True, overflow="crop")
    line.append(f"{value:<{VALUE}} ", style=style)
    if len(history) == 1:
        return line
    line.append(spark, style="cyan")
    if known:
        line.append(f" {row.shown(most):>{MOST}}", style="dim")
    return line


def _foot(interval_s: float | None, window_s: float) -> str:
    if interval_s is None:
        return f"latencies are those of the last {window_s:g} s"
    return f"every {interval_s:g} s; right: the most seen; latencies of {window_s:g} s; Ctrl-C ends"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
