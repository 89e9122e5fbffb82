"""The least KV cache that serves each cell, as searches over engine starts found it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from journal import units
from journal.compare.least_pool import Needed, Try, needed
from journal.plan.cells import cells
from journal.records.as_json import NeededJson, TryJson
from journal.records.experiment import Experiment
from journal.records.load_shape import AXES, STEP_AXES
from journal.records.run import Record
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Curve,
    Dot,
    Level,
    Panel,
    Plot,
    Section,
    Table,
    Text,
    say,
)

SIZES = tuple(axis.name for axis in AXES if axis.whole)


def searches_of(experiment: Experiment, records: Sequence[Record]) -> tuple[Needed, ...]:
    """The search for each cell of `experiment`; empty where it asks for no such search.
    `records` are its runs, newest last."""
    planned = cells(experiment) if experiment.needed_vram else ()
    return tuple(needed(cell, records) for cell in planned)


def needed_section(experiment: Experiment, records: Sequence[Record], name: str) -> Section | None:
    """A section with a sentence, a row and a point for each search; None without a search."""
    searches = searches_of(experiment, records)
    if not searches:
        return None
    blocks: list[Block] = [Bullets(tuple(needed_sentence(search) for search in searches))]
    tried = [search for search in searches if search.tries]
    if tried:
        blocks.append(_table(tried))
    panels = tuple(_panels(tried, name))
    blocks += [Plot(panels)] if panels else []
    return Section(3, say("needed.heading"), tuple(blocks))


def needed_sentence(search: Needed) -> Text:
    """The finding of one search in a sentence, in bytes on all GPUs together."""
    cell, least, most = search.cell, search.least, search.most
    prompt, output = cell.planned_lengths
    shown: dict[str, Text] = {
        "model": cell.model,
        "batch": f"{cell.batch}",
        "prompt": f"{prompt:,}",
        "output": f"{output:,}",
        "theory": units.data_size(_all(search, search.theory_bytes)),
        "reserved": units.data_size(_reserved(search)),
        "used": units.data_size(_used(search)),
    }
    place = say("needed.place", **{n: shown[n] for n in ("model", "batch", "prompt", "output")})
    values: dict[str, Text] = {
        "place": place,
        **{n: shown[n] for n in ("theory", "reserved", "used")},
    }
    if search.theory_blocks is None:
        return say("needed.unknown", place=place)
    if least is None:
        return say("needed.none", **values)
    values |= {
        "least": units.data_size(_all(search, least.pool_bytes)),
        "blocks": f"{least.blocks:,}",
    }
    if most is None:
        return say("needed.open", **values)
    below: dict[str, Text] = {
        "most": units.data_size(_all(search, most.pool_bytes)),
        "why": _why(most),
    }
    return say("needed.exact" if search.whole else "needed.between", **values, **below)


def needed_json(search: Needed) -> NeededJson:
    """One search as plain JSON values; bytes are those of all GPUs together."""
    cell = search.cell
    prompt, output = cell.planned_lengths
    return {
        "model": cell.model,
        "quantisation": cell.quantisation,
        "concurrency": cell.batch,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "whole": search.whole,
        "theory_bytes": _all(search, search.theory_bytes),
        "reserved_bytes": _reserved(search),
        "in_use_peak_bytes": _used(search),
        "least": None if search.least is None else _try_json(search, search.least),
        "most_that_did_not": None if search.most is None else _try_json(search, search.most),
        "tries": [_try_json(search, tried) for tried in search.tries],
    }


def _try_json(search: Needed, tried: Try) -> TryJson:
    return {
        "pool_bytes": _all(search, tried.pool_bytes),
        "blocks": tried.blocks,
        "serves": tried.serves,
        "run": tried.record.id,
    }


def _all(search: Needed, size: int | None) -> int | None:
    """Bytes on all GPUs of the engine, from `size` bytes on one; None where either is not known."""
    engine = search.cell.engine
    return None if size is None or engine is None else size * engine.gpu_count


def _of_reserved(search: Needed, name: str) -> int | None:
    size = None if search.reserved is None else search.reserved.value(name)
    return None if size is None else round(size)


def _reserved(search: Needed) -> int | None:
    return _of_reserved(search, "kv_pool_bytes")


def _used(search: Needed) -> int | None:
    """The most bytes of the reserved pool that were seen in use."""
    return _of_reserved(search, "kv_cache_peak_bytes")


def _why(tried: Try) -> Text:
    record = tried.record
    preempted, errors = record.value("preemptions"), record.value("errors")
    if not record.metrics:
        return say("needed.why.refused")
    if preempted:
        return say("needed.why.preempted", n=units.number(preempted))
    if errors:
        return say("needed.why.errors", n=units.number(errors))
    running = units.number(record.value("server_running_peak"))
    return say("needed.why.waited", n=running, batch=f"{record.cell.batch}")


def _table(searches: Sequence[Needed]) -> Table:
    names = (*SIZES, "used", "theory", "least", "most")
    columns = tuple(Column(say(f"column.{name}")) for name in (*names, "reserved", "starts"))
    return Table(columns, tuple(tuple(_row(search)) for search in searches))


def _row(search: Needed) -> Iterator[Box]:
    cell = search.cell
    for name in SIZES:
        yield Box(f"{getattr(cell, name):,}")
    yield Box(units.data_size(_used(search)))
    yield Box(units.data_size(_all(search, search.theory_bytes)))
    for tried in (search.least, search.most):
        size = None if tried is None else _all(search, tried.pool_bytes)
        yield Box(units.data_size(size), "" if tried is None else tried.record.id[:8])
    yield Box(units.data_size(_reserved(search)))
    yield Box(f"{len(search.tries)}")


def _panels(searches: Sequence[Needed], name: str) -> Iterator[Panel]:
    """Bytes needed and in use against the prompt's length, or else the batch; and the same beside
    the bytes reserved, which are mostly so many that the others lie at the bottom."""
    for among, across in permutations(STEP_AXES):
        curves = tuple(_curves(searches, across, among))
        if not curves:
            continue
        close = Panel(f"{name}-needed", say("panel.needed"), "bytes", say(f"axis.{across}"), curves)
        yield close
        reserved = [size for search in searches if (size := _reserved(search)) is not None]
        if reserved:
            level = Level(say("level.reserved"), max(reserved))
            title = say("panel.needed_reserved")
            yield replace(close, name=f"{name}-reserved", title=title, levels=(level,))
        return


def _curves(searches: Sequence[Needed], across: str, among: str) -> Iterator[Curve]:
    """For each value of `among` a curve of the bytes needed, and a faint one of those in use."""
    kinds = {getattr(search.cell, among): None for search in searches}
    for hue, value in enumerate(kinds):
        own = [search for search in searches if getattr(search.cell, among) == value]
        label = say(f"brief.{among}", n=f"{value:,}")
        least = [(search, _all(search, search.least.pool_bytes)) for search in own if search.least]
        used = [(search, _used(search)) for search in own]
        for points, faint, text in ((least, False, label), (used, True, say("level.used"))):
            dots = tuple(
                Dot(float(getattr(search.cell, across)), size)
                for search, size in points
                if size is not None
            )
            if len(dots) > 1:
                yield Curve(text, dots, hue, faint=faint)
