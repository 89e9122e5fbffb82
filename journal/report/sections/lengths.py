"""The effect of a longer prompt: memory reserved and in use, and latency."""

from collections.abc import Iterator
from dataclasses import replace

from journal import units
from journal.compare.difference import ALIKE, difference
from journal.compare.points import Point, Points, lines
from journal.compare.room import Room, full_bytes, longest_in_batch, meter, room
from journal.report.curves import figure_of, panel, plot_caption, with_tails
from journal.report.document import Block, Level, Panel, Paragraph, Plot, Section, Text, say
from journal.report.places import Places
from journal.report.sections.batching import described_lines, latency_sentences
from journal.report.verdict_words import KINDS, open_words, requests_held

ACROSS = "prompt_tokens"
KV_IN_USE = "kv_cache_peak_bytes"
CAUGHT = 0.9  # of what full requests hold: a highest reading below it missed the peak


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
    yield from _kv(first, last)
    yield from _fits(last)
    yield from _ttft(first, last)
    yield from latency_sentences(first, last, "tpot")


def _memory(first: Point, last: Point) -> Iterator[Text]:
    """The sentence on the peak of memory: with a verdict where repeats give it an interval, else on
    two readings."""
    before, after = meter(first), meter(last)
    if not before or not after or before[0] != after[0]:
        return
    between = difference(first.figure(before[0]), last.figure(after[0]))
    if between is None:
        return
    verdict = between.verdict
    same = units.data_size(before[1]) == units.data_size(after[1])
    kind = "same" if same and not between.seen else KINDS[verdict]
    yield say(
        f"memory.{kind}",
        meter=say(f"meter.{after[0]}"),
        before=units.data_size(before[1]),
        after=units.data_size(after[1]),
        change=f"{(between.ratio - 1) * 100:+.1f}%",
        within=units.percent(ALIKE),
        first=units.whole(first.prompt_tokens),
        last=units.whole(last.prompt_tokens),
        **open_words(between, "more"),
    )


def _kv(first: Point, last: Point) -> Iterator[Text]:
    """Sentences on the highest readings of the KV cache in use: a peak between two readings is
    missed, so that they have no ratio; whole blocks say what full requests hold."""
    seen = [point.repeats(KV_IN_USE) for point in (first, last)]
    if not all(seen):
        return
    before, after = (max(readings) for readings in seen)
    yield say(
        "memory.kv",
        first=units.whole(first.prompt_tokens),
        last=units.whole(last.prompt_tokens),
        before=units.data_size(before),
        after=units.data_size(after),
    )
    rooms = room(first), room(last)
    yield from _blocks(rooms)
    expected = [full_bytes(p, held) for p, held in zip((first, last), rooms, strict=True) if held]
    if len(expected) < 2 or expected[0] is None or expected[1] is None:
        return
    missed = min(before / expected[0], after / expected[1]) < CAUGHT
    yield say(
        "memory.kv_missed" if missed else "memory.kv_full",
        batch=f"{last.batch:,}",
        before=units.data_size(expected[0]),
        after=units.data_size(expected[1]),
    )


def _blocks(rooms: tuple[Room | None, Room | None]) -> Iterator[Text]:
    """The sentence on the blocks that requests of two lengths take."""
    less, more = rooms
    if less is None or more is None or less.blocks is None or more.blocks is None:
        return
    yield say(
        "memory.blocks",
        block=f"{more.block_tokens:,}",
        short=f"{less.length:,}",
        long=f"{more.length:,}",
        few=f"{less.blocks:,}",
        many=f"{more.blocks:,}",
    )


def _fits(point: Point) -> Iterator[Text]:
    """Sentences on the number of requests as long as those of `point` that the KV pool holds."""
    held = room(point)
    if held is None:
        return
    yield say(
        "memory.fits" if held.pool_bytes else "memory.fits_unsized",
        pool=units.data_size(held.pool_bytes),
        tokens=f"{held.tokens:,.0f}",
        requests=requests_held(held),
        prompt=units.whole(point.prompt_tokens),
        output=units.whole(point.output_tokens),
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
    elif point.output_tokens is not None and longest > point.output_tokens:
        prompt = f"{longest - point.output_tokens:,}"
        yield say("memory.stops", batch=batch, prompt=prompt)


def _ttft(first: Point, last: Point) -> Iterator[Text]:
    """The sentence on TTFT, with the time for each further token at the load at which it was
    measured where it rises."""
    low, high = first.figure("ttft_s.p50"), last.figure("ttft_s.p50")
    between = difference(low, high)
    if between is None or between.verdict != "rises" or low is None or high is None:
        yield from latency_sentences(first, last, "ttft")
    else:
        assert low.value is not None and high.value is not None
        assert first.prompt_tokens is not None and last.prompt_tokens is not None  # of a line
        further = last.prompt_tokens - first.prompt_tokens
        yield say(
            "prompt.ttft",
            before=units.seconds(low.value),
            after=units.seconds(high.value),
            ratio=units.number(between.ratio, 2),
            tokens=units.number(last.prompt_tokens / first.prompt_tokens, 2),
            per_token=units.seconds((high.value - low.value) / further),
            load=say(f"at.{last.shape.axis}", n=last.load_text),
        )
        if last.together:
            yield say("latency.together", batch=f"{last.batch}")
        elif last.batch != 1:
            yield say("prompt.shared")
