"""Lessons on why servers batch, keep a KV cache and spread out, from a day's own numbers."""

from collections.abc import Iterator

from journal import units
from journal.compare.difference import difference
from journal.compare.points import Point, Points, lines
from journal.compare.room import Room, on_gpus, room
from journal.report.document import Paragraph, Section, Text, say
from journal.report.places import Places
from journal.report.sections.batching import THROUGHPUT
from journal.report.verdict_words import requests_held

CACHED = "prefix_cache_hits"  # the doubt about prompts that were not read whole
WORTH_SAYING = 1.2  # times: a smaller effect teaches nothing


def lessons_section(points: Points, places: Places) -> Section | None:
    """A section with a paragraph for each lesson that a real server's figures teach, or None."""
    real = tuple(point for point in points if point.good and not point.setup.simulated)
    lessons = (_batching(real, places), _cache(real, places), _distribution(real, places))
    blocks = tuple(paragraph for paragraph in lessons if paragraph)
    return Section(2, say("lessons.heading"), blocks) if blocks else None


def _batching(points: Points, places: Places) -> Paragraph | None:
    """The lesson of the greatest gain in throughput between two batches of one line, among those
    that the test sees."""
    best: tuple[float, Point, Point] | None = None
    for line in lines(points, "batch"):
        gain = difference(line[0].figure(THROUGHPUT), line[-1].figure(THROUGHPUT))
        if gain and gain.verdict == "rises" and (best is None or gain.ratio > best[0]):
            best = (gain.ratio, line[0], line[-1])
    if best is None or best[0] < WORTH_SAYING:
        return None
    gain_, first, last = best
    sentences: list[Text] = [
        say(
            "lessons.batching",
            where=places.where(last, "batch"),
            many=f"{last.batch:,}",
            few=f"{first.batch:,}",
            gain=units.number(gain_, 2),
        )
    ]
    price = difference(first.figure("tpot_s.p50"), last.figure("tpot_s.p50"))
    if price and price.verdict == "rises":
        sentences.append(say("lessons.batching_price", price=units.number(price.ratio, 2)))
    return Paragraph(tuple(sentences), say("lessons.batching_about"))


def _cache(points: Points, places: Places) -> Paragraph | None:
    """The lesson of the time to read a prompt beside the time to write one further token, where a
    request had the server to itself: without the cache, each further token would cost reading
    everything before it again."""
    measured = [
        (prompt, point, between.ratio)
        for point in points
        if point.batch == 1
        and (prompt := point.prompt_tokens) is not None
        and not any(d.name == CACHED for record in point.good for d in record.doubts)
        and (between := difference(point.figure("tpot_s.p50"), point.figure("ttft_s.p50")))
        and between.verdict == "rises"
        and between.ratio >= WORTH_SAYING
    ]
    if not measured:
        return None
    prompt, point, ratio = max(measured, key=lambda timed: timed[0])
    sentence = say(
        "lessons.cache",
        where=places.where(point, "prompt_tokens"),
        prompt=f"{prompt:,}",
        ttft=units.seconds(point.value("ttft_s.p50")),
        tpot=units.seconds(point.value("tpot_s.p50")),
        ratio=units.number(ratio, 2),
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
    about = "lessons.distribution_about" if on_gpus(point) else "lessons.distribution_host_about"
    return Paragraph(sentences, say(about))


def _room(point: Point, held: Room, places: Places) -> Iterator[Text]:
    yield say(
        "lessons.room",
        setup=places.labels[point.setup],
        pool=units.data_size(held.pool_bytes),
        tokens=f"{held.tokens:,.0f}",
        length=f"{held.length:,}",
        requests=requests_held(held),
        each=units.data_size(held.request_bytes),
    )
    weights = point.value("weights_bytes")
    tokens = held.tokens_in(weights) if weights else None
    if tokens is not None:
        yield say(
            "lessons.weights" if on_gpus(point) else "lessons.weights_host",
            weights=units.data_size(weights),
            tokens=f"{round(tokens):,}",
        )
