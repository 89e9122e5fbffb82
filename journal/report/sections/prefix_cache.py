"""What a prefix cache saved and what it took: TTFT against the hit rate, with the prediction
beside it."""

from collections.abc import Iterator
from dataclasses import dataclass

from journal import units
from journal.compare.points import Point, Points
from journal.report.document import Block, Box, Bullets, Column, Section, Table, Text, say
from journal.report.places import Places
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS

NEAR = 0.1  # of the measured TTFT: a prediction within it has come true
TITLES = ("asked", "hit", "ttft", "predicted", "saved_tokens", "pool_tokens")


def prefix_section(points: Points, places: Places) -> Section | None:
    """A section on the cells whose prompts share beginnings, each beside the cell that shares none;
    None where no cell shares any."""
    shared = [_Shared(point, _bare(point, points)) for point in points if _size(point)]
    if not shared:
        return None
    told = tuple(
        say("prefix.at", place=places.cell(one.point), what=tuple(_told(one))) for one in shared
    )
    columns = [Column(say("column.cell"), numeric=False)]
    columns += [Column(say(f"prefix.{title}")) for title in TITLES]
    rows = tuple((Box(places.cell(one.point)), *_boxes(one)) for one in shared)
    blocks: tuple[Block, ...] = (
        Bullets(told),
        Table(tuple(columns), rows, (say("prefix.caption"),)),
    )
    return Section(3, say("prefix.heading"), blocks)


@dataclass(frozen=True, slots=True)
class _Shared:
    """A point whose prompts share beginnings, and the point like it whose prompts share none."""

    point: Point
    bare: Point | None

    @property
    def ttft_s(self) -> float | None:
        return self.point.value("ttft_s.p50")

    @property
    def bare_ttft_s(self) -> float | None:
        return None if self.bare is None else self.bare.value("ttft_s.p50")

    @property
    def spared_tokens(self) -> int:
        """The tokens of a prompt in whole blocks of its shared beginning."""
        facts = self.point.records[0].facts
        block = BLOCK_TOKENS if facts.block_size is None else facts.block_size
        return _size(self.point) // block * block

    @property
    def predicted_s(self) -> float | None:
        """The TTFT that the tokens left to read let expect."""
        prompt = self.point.prompt_tokens
        if self.bare_ttft_s is None or not prompt:
            return None
        return self.bare_ttft_s * (1 - self.spared_tokens / prompt)

    @property
    def held_tokens(self) -> int:
        """The tokens of the pool that the beginnings hold."""
        return self.spared_tokens * self.point.records[0].cell.workload.prefixes


def _size(point: Point) -> int:
    return point.records[0].cell.workload.shared_prefix


def _bare(point: Point, points: Points) -> Point | None:
    """The point of the same setup, load and lengths whose prompts share nothing."""
    alike = (
        other
        for other in points
        if other.workload is None
        and (other.setup, other.shape, other.lengths) == (point.setup, point.shape, point.lengths)
        and (other.convoy, other.length_spread) == (point.convoy, point.length_spread)
    )
    return next(alike, None)


def _told(one: _Shared) -> Iterator[Text]:
    """What the cache saved and what it took, in a few clauses."""
    point, predicted_s = one.point, one.predicted_s
    hits, asked = map(point.value, ("prefix_cache_hit_fraction", "prefix_hit_asked_fraction"))
    if hits is None:
        yield say("prefix.untold")
    elif asked is not None:
        yield say("prefix.hits", hits=units.percent(hits), asked=units.percent(asked))
    if one.ttft_s is not None and one.bare_ttft_s is not None and predicted_s is not None:
        shown = {"ttft": units.seconds(one.ttft_s), "bare": units.seconds(one.bare_ttft_s)}
        if hits is not None and point.prompt_tokens is not None:
            yield say("prefix.saved", **shown, tokens=f"{hits * point.prompt_tokens:,.0f}")
        ratio, predicted = predicted_s / one.ttft_s, units.seconds(predicted_s)
        if abs(ratio - 1) <= NEAR:
            yield say("prefix.predicted_held", predicted=predicted, near=units.percent(NEAR))
        else:
            yield say("prefix.predicted_missed", predicted=predicted, ratio=units.percent(ratio))
    pool = point.records[0].facts.kv_pool_tokens
    held = f"{one.held_tokens:,}"
    if pool is None:
        yield say("prefix.took_unknown", tokens=held)
    else:
        yield say("prefix.took", tokens=held, share=units.percent(one.held_tokens / pool))


def _boxes(one: _Shared) -> Iterator[Box]:
    point = one.point
    for name in ("prefix_hit_asked_fraction", "prefix_cache_hit_fraction"):
        value = point.value(name)
        yield Box(units.ABSENT if value is None else units.percent(value))
    for seconds in (one.ttft_s, one.predicted_s):
        yield Box(units.ABSENT if seconds is None else units.seconds(seconds))
    yield Box(f"{one.spared_tokens:,}")
    yield Box(f"{one.held_tokens:,}")
