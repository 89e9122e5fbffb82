"""What a longer prompt does: memory reserved and in use, and latency."""

from collections.abc import Iterator
from dataclasses import replace

from journal import units
from journal.compare.points import FLAT, Point, Points, change, lines
from journal.records.figure import Figure
from journal.records.load_shape import Closed
from journal.report.curves import metric, panel, plot_caption, with_tails
from journal.report.document import Block, Level, Panel, Paragraph, Plot, Section, Text, say
from journal.report.places import Places
from journal.report.sections.batching import told

ACROSS = "prompt_tokens"


def answer(found: Points, places: Places, name: str) -> Section | None:
    """Memory and latency against prompt length; None where that was not varied."""
    varied = lines(found, ACROSS)
    if not varied:
        return None
    blocks: list[Block] = [
        Paragraph(tuple(_sentences(line)), places.about(line[0], ACROSS)) for line in told(varied)
    ]
    panels = tuple(_panels(varied, places, name))
    blocks += [Plot(panels, plot_caption(panels))] if panels else []
    return Section(3, say("prompt.heading"), tuple(blocks))


def meter(point: Point) -> tuple[str, float] | None:
    """Where the memory of `point` was read, and its peak in bytes: of the card where there is
    one, else the resident memory of the server's processes."""
    for name in ("vram_peak_bytes", "rss_peak_bytes"):
        value = point.value(name)
        if value is not None:
            return name, value
    return None


def kv_in_use(point: Point) -> Figure | None:
    """The peak of the KV cache in use, in bytes: its share of the pool times the pool."""
    share, pool = point.figure("kv_cache_peak_fraction"), pool_bytes(point)
    if share is None or share.value is None or pool is None:
        return None
    low, high = (None if end is None else end * pool for end in (share.low, share.high))
    return Figure(share.value * pool, low, high, share.count)


def pool_bytes(point: Point) -> int | None:
    return _on_all_cards(point, "kv_pool_bytes")


def pool_tokens(point: Point) -> int | None:
    return next((r.facts.kv_pool_tokens for r in point.good if r.facts.kv_pool_tokens), None)


def weights_bytes(point: Point) -> int | None:
    """By the engine's log, which is silent on the CPU, else by the checkpoint's headers."""
    said = _on_all_cards(point, "weights_bytes")
    sizes = (record.facts.checkpoint_bytes for record in point.good)
    return next((size for size in sizes if size), None) if said is None else said


def _on_all_cards(point: Point, name: str) -> int | None:
    """Of what an engine tells of one card."""
    for record in point.good:
        size: int | None = getattr(record.facts, name)
        if size:
            engine = record.cell.engine
            return size if engine is None else size * engine.cards
    return None


def _panels(varied: list[Points], places: Places, name: str) -> Iterator[Panel]:
    read = meter(varied[0][0])
    if read:
        reserved = panel(
            f"{name}-prompt-memory",
            say(f"panel.{read[0]}"),
            "bytes",
            varied,
            ACROSS,
            metric(read[0]),
            places,
        )
        if reserved:
            yield replace(reserved, levels=tuple(_levels(varied)))
    used = panel(f"{name}-prompt-kv", say("panel.kv"), "bytes", varied, ACROSS, kv_in_use, places)
    if used:
        yield used
    for latency in ("ttft", "tpot"):
        title, key = say(f"panel.{latency}"), f"{latency}_s"
        drawn = panel(
            f"{name}-prompt-{latency}", title, "s", varied, ACROSS, metric(f"{key}.p50"), places
        )
        if drawn:
            yield with_tails(drawn, varied, ACROSS, key)


def _levels(varied: list[Points]) -> Iterator[Level]:
    """The known parts of the memory, when one server was measured."""
    if len({line[0].setup for line in varied}) > 1:
        return
    weights, pool = weights_bytes(varied[0][0]), pool_bytes(varied[0][0])
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
    used_first, used_last = kv_in_use(first), kv_in_use(last)
    if used_first and used_last and used_first.value and used_last.value:
        yield say(
            "memory.kv",
            before=units.data_size(used_first.value),
            after=units.data_size(used_last.value),
            ratio=units.number(used_last.value / used_first.value, 2),
            tokens=units.number(_length(last) / _length(first), 2),
        )


def _length(point: Point) -> int:
    return point.prompt_tokens + point.output_tokens


def _fits(point: Point) -> Iterator[Text]:
    """How many requests as long as those of `point` the KV pool holds."""
    tokens = pool_tokens(point)
    if tokens is None:
        return
    size = pool_bytes(point)
    yield say(
        "memory.fits" if size else "memory.fits_unsized",
        pool=units.data_size(size),
        tokens=f"{tokens:,}",
        requests=f"{tokens // _length(point):,}",
        prompt=f"{point.prompt_tokens:,}",
        output=f"{point.output_tokens:,}",
    )
    yield from _stops(point, tokens)


def _stops(point: Point, tokens: int) -> Iterator[Text]:
    """From which prompt length on a batch does not fit into a pool of `tokens` any more, unless
    the longest context ends before."""
    if not isinstance(point.shape, Closed):
        return
    batch = point.shape.batch
    block = next((r.facts.block_size for r in point.good if r.facts.block_size), None) or 1
    longest = tokens // batch // block * block
    engines = (record.cell.engine for record in point.good)
    context = next((engine.max_model_len for engine in engines if engine), None)
    if context is not None and context <= longest:
        yield say("memory.context", batch=f"{batch:,}", context=f"{context:,}")
    elif longest > point.output_tokens:
        prompt = f"{longest - point.output_tokens:,}"
        yield say("memory.stops", batch=f"{batch:,}", prompt=prompt)


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
