"""Lessons on why servers batch, keep a KV cache and spread over GPUs, from a day's own numbers."""

from collections.abc import Iterator

from journal import units
from journal.compare.points import Point, Points, lines
from journal.compare.room import Room, meter, room
from journal.records.load_shape import Closed
from journal.report.document import Paragraph, Section, Text, say
from journal.report.places import Places
from journal.report.sections.batching import THROUGHPUT

WORTH_SAYING = 1.2  # times: a smaller effect teaches nothing


def lessons_section(points: Points, places: Places) -> Section | None:
    """A section with a paragraph for each lesson that a real server's figures teach, or None."""
    real = tuple(point for point in points if point.good and not point.setup.simulated)
    lessons = (_batching(real, places), _cache(real, places), _distribution(real, places))
    blocks = tuple(paragraph for paragraph in lessons if paragraph)
    return Section(2, say("lessons.heading"), blocks) if blocks else None


def _batching(points: Points, places: Places) -> Paragraph | None:
    """The lesson of the greatest gain in throughput between two batches of one line."""
    best: tuple[float, Point, Point] | None = None
    for line in lines(points, "batch"):
        low, high = line[0].value(THROUGHPUT), line[-1].value(THROUGHPUT)
        if low and high and (best is None or high / low > best[0]):
            best = (high / low, line[0], line[-1])
    if best is None or best[0] < WORTH_SAYING:
        return None
    gain, first, last = best
    sentences: list[Text] = [
        say(
            "lessons.batching",
            where=places.where(last, "batch"),
            many=f"{last.batch:,}",
            few=f"{first.batch:,}",
            gain=units.number(gain, 2),
        )
    ]
    slow, fast = last.value("tpot_s.p50"), first.value("tpot_s.p50")
    if slow and fast:
        sentences.append(say("lessons.batching_price", price=units.number(slow / fast, 2)))
    return Paragraph(tuple(sentences), say("lessons.batching_about"))


def _cache(points: Points, places: Places) -> Paragraph | None:
    """The lesson of the time to read a prompt beside the time to write one further token: without
    the cache, each further token would cost reading everything before it again."""
    measured = [
        (point, ttft, tpot)
        for point in points
        if isinstance(point.shape, Closed)
        and (ttft := point.value("ttft_s.p50")) is not None
        and (tpot := point.value("tpot_s.p50"))
    ]
    if not measured:
        return None
    fewest = min(point.load for point, _, _ in measured)
    point, ttft, tpot = max(
        (timed for timed in measured if timed[0].load == fewest),
        key=lambda timed: timed[0].prompt_tokens,
    )
    if ttft < WORTH_SAYING * tpot:
        return None
    sentence = say(
        "lessons.cache",
        where=places.where(point, "prompt_tokens"),
        prompt=f"{point.prompt_tokens:,}",
        ttft=units.seconds(ttft),
        tpot=units.seconds(tpot),
        ratio=units.number(ttft / tpot, 2),
    )
    return Paragraph((sentence,), say("lessons.cache_about"))


def _distribution(points: Points, places: Places) -> Paragraph | None:
    """The lesson of how many of the longest requests one server holds at once, and of the limit."""
    known = [
        (point, held) for point in points if (held := room(point)) and held.pool_bytes is not None
    ]
    if not known:
        return None
    point, held = max(known, key=lambda pair: pair[1].length)
    sentences = tuple(_room(point, held, places))
    return Paragraph(sentences, say("lessons.distribution_about"))


def _room(point: Point, held: Room, places: Places) -> Iterator[Text]:
    yield say(
        "lessons.room",
        setup=places.labels[point.setup],
        pool=units.data_size(held.pool_bytes),
        tokens=f"{held.tokens:,.0f}",
        length=f"{held.length:,}",
        requests=f"{held.requests:,}",
        each=units.data_size(held.request_bytes),
    )
    weights = point.value("weights_bytes")
    tokens = held.tokens_in(weights) if weights else None
    if tokens is not None:
        memory = meter(point)
        on_gpus = memory is None or memory[0] == "vram_peak_bytes"
        yield say(
            "lessons.weights" if on_gpus else "lessons.weights_host",
            weights=units.data_size(weights),
            tokens=f"{round(tokens):,}",
        )
