"""The effect of a longer prompt: memory reserved and in use, and latency."""

from collections.abc import Iterator
from dataclasses import replace

from journal import units
from journal.compare.points import FLAT, Point, Points, change, lines
from journal.compare.room import longest_in_batch, meter, room
from journal.report.curves import figure_of, panel, plot_caption, with_tails
from journal.report.document import Block, Level, Panel, Paragraph, Plot, Section, Text, say
from journal.report.places import Places
from journal.report.sections.batching import described_lines

ACROSS = "prompt_tokens"
KV_IN_USE = "kv_cache_peak_bytes"


def lengths_section(points: Points, places: Places, name: str) -> Section | None:
    """A section on memory and latency against prompt length; None where that was not varied."""
    varied = lines(points, ACROSS)
    if not varied:
        return None
    blocks: list[Block] = [
        Paragraph(tuple(_sentences(line)), places.about(line[0], ACROSS))
        for line in described_lines(varied)
    ]
    panels = tuple(_panels(varied, places, name))
    blocks += [Plot(panels, plot_caption(panels))] if panels else []
    return Section(3, say("prompt.heading"), tuple(blocks))


def _panels(varied: list[Points], places: Places, name: str) -> Iterator[Panel]:
    memory = meter(varied[0][0])
    if memory:
        reserved = panel(
            f"{name}-prompt-memory",
            say(f"panel.{memory[0]}"),
            "bytes",
            varied,
            ACROSS,
            figure_of(memory[0]),
            places,
        )
        if reserved:
            yield replace(reserved, levels=tuple(_levels(varied)))
    title, pick = say("panel.kv"), figure_of(KV_IN_USE)
    used = panel(f"{name}-prompt-kv", title, "bytes", varied, ACROSS, pick, places)
    if used:
        yield used
    for latency in ("ttft", "tpot"):
        title, key = say(f"panel.{latency}"), f"{latency}_s"
        drawn = panel(
            f"{name}-prompt-{latency}", title, "s", varied, ACROSS, figure_of(f"{key}.p50"), places
        )
        if drawn:
            yield with_tails(drawn, varied, ACROSS, key)


def _levels(varied: list[Points]) -> Iterator[Level]:
    """The known parts of the memory in bytes, where one server was measured."""
    if len({line[0].setup for line in varied}) > 1:
        return
    weights, pool = (varied[0][0].value(name) for name in ("weights_bytes", "kv_pool_bytes"))
    if weights:
        yield Level(say("level.weights"), weights)
    if weights and pool:
        yield Level(say("level.weights_pool"), weights + pool)


def _sentences(line: Points) -> Iterator[Text]:
    first, last = line[0], line[-1]
    yield from _memory(first, last)
    yield from _fits(last)
    yield from _latency(first, last)


def _memory(first: Point, last: Point) -> Iterator[Text]:
    before, after = meter(first), meter(last)
    lengths = {"first": f"{first.prompt_tokens:,}", "last": f"{last.prompt_tokens:,}"}
    if before and after and before[0] == after[0]:
        moved = after[1] / before[1] - 1
        same = units.data_size(before[1]) == units.data_size(after[1])
        flat = "memory.same" if same else "memory.flat"
        yield say(
            flat if abs(moved) <= FLAT else "memory.changes",
            meter=say(f"meter.{after[0]}"),
            before=units.data_size(before[1]),
            after=units.data_size(after[1]),
            change=f"{moved * 100:+.1f}%",
            **lengths,
        )
    used_first, used_last = first.value(KV_IN_USE), last.value(KV_IN_USE)
    if used_first and used_last:
        yield say(
            "memory.kv",
            before=units.data_size(used_first),
            after=units.data_size(used_last),
            ratio=units.number(used_last / used_first, 2),
            tokens=units.number(_length(last) / _length(first), 2),
        )


def _length(point: Point) -> int:
    return point.prompt_tokens + point.output_tokens


def _fits(point: Point) -> Iterator[Text]:
    """Sentences on the number of requests as long as those of `point` that the KV pool holds."""
    held = room(point)
    if held is None:
        return
    yield say(
        "memory.fits" if held.pool_bytes else "memory.fits_unsized",
        pool=units.data_size(held.pool_bytes),
        tokens=f"{held.tokens:,.0f}",
        requests=f"{held.requests:,}",
        prompt=f"{point.prompt_tokens:,}",
        output=f"{point.output_tokens:,}",
    )
    longest = longest_in_batch(point, held)
    if longest is not None:
        yield from _stops(point, longest)


def _stops(point: Point, longest: int) -> Iterator[Text]:
    """The prompt length from which on a batch no longer fits into the pool, or the longest context
    where that ends before."""
    batch = f"{point.batch:,}"
    engines = (record.cell.engine for record in point.good)
    context = next((engine.max_model_len for engine in engines if engine), None)
    if context is not None and context <= longest:
        yield say("memory.context", batch=batch, context=f"{context:,}")
    elif longest > point.output_tokens:
        prompt = f"{longest - point.output_tokens:,}"
        yield say("memory.stops", batch=batch, prompt=prompt)


def _latency(first: Point, last: Point) -> Iterator[Text]:
    low, high = first.figure("ttft_s.p50"), last.figure("ttft_s.p50")
    if low and high and low.value and high.value:
        moved = change(low, high) == "moved" and high.value > low.value
        further = last.prompt_tokens - first.prompt_tokens
        yield say(
            "prompt.ttft" if moved else f"latency.{change(low, high)}",
            name="TTFT",
            before=units.seconds(low.value),
            after=units.seconds(high.value),
            ratio=units.number(high.value / low.value, 2),
            tokens=units.number(last.prompt_tokens / first.prompt_tokens, 2),
            per_token=units.seconds((high.value - low.value) / further),
        )
    low, high = first.figure("tpot_s.p50"), last.figure("tpot_s.p50")
    if low and high and low.value and high.value:
        yield say(
            f"latency.{change(low, high)}",
            name="TPOT",
            before=units.seconds(low.value),
            after=units.seconds(high.value),
            ratio=units.number(high.value / low.value, 2),
        )
