"""Failures as results: their cells, their reasons in the program's own words, and their sizes."""

from collections.abc import Iterator, Sequence

from journal import units
from journal.compare.points import Point, Points
from journal.metrics.beside_theory import of_engine
from journal.records.run import Record
from journal.report.document import Block, Paragraph, Section, Spoken, Text, Verbatim, say
from journal.report.phrases import words
from journal.report.places import Places
from journal.theory.predictions import served_model

MOST_PLACES = 6  # named; beyond, they are counted


def failures_section(points: Points, places: Places) -> Section | None:
    """A section on the runs that gave no figures, by their causes; None where all gave some. A cell
    that was tried again and then measured is no failure."""
    measured = {_tried(record) for point in points for record in point.good}
    english = words("en")
    causes: dict[tuple[str, str], list[tuple[Point, Record]]] = {}
    for point in points:
        for record in point.records:
            if not record.good and _tried(record) not in measured:
                cause = "\n".join(english.say(part, str) for part in _cause(record))
                causes.setdefault((record.status, cause), []).append((point, record))
    if not causes:
        return None
    blocks: list[Block] = []
    for (status, _), failed in causes.items():
        blocks.append(Paragraph(tuple(_sentences(status, failed, places))))
        lines = _cause(failed[0][1])
        blocks += [Verbatim(lines)] if lines else []
        last_words = next((r.facts.last_words for _, r in failed if r.facts.last_words), None)
        blocks += (
            [Paragraph((say("failures.words"),)), Verbatim((last_words,))] if last_words else []
        )
    return Section(3, say("failures.heading"), tuple(blocks))


def _tried(record: Record) -> tuple[str, str]:
    """The cell that a run tried, in its experiment; a run of no known cell is like no other."""
    return record.experiment_id, record.cell.identity or record.id


def _cause(record: Record) -> tuple[Text, ...]:
    doubts = [doubt for doubt in record.doubts if doubt.severity == "invalid"]
    return (*([Spoken(record.error)] if record.error else []), *doubts)


def _sentences(
    status: str, failed: Sequence[tuple[Point, Record]], places: Places
) -> Iterator[Text]:
    at = tuple(dict.fromkeys(point for point, _ in failed))
    named = tuple(places.cell(point) for point in at[:MOST_PLACES])
    more = (say("more", n=str(len(at) - MOST_PLACES)),) if len(at) > MOST_PLACES else ()
    yield say(f"failures.{status}", n=str(len(failed)), places=(*named, *more))
    yield from _sizes([record for _, record in failed])


def _sizes(records: Sequence[Record]) -> Iterator[Text]:
    """Sentences on the context and KV cache that `records` need, beside those of the engine."""
    cells = [record.cell for record in records]
    context = max(cell.whole_tokens or 0 for cell in cells)
    limits = [cell.engine.max_model_len for cell in cells if cell.engine]
    limit = next((length for length in limits if length is not None), None)
    if limit is not None and context > limit:
        yield say("failures.context", context=f"{context:,}", limit=f"{limit:,}")
    pools = ((r, tokens) for r in records if (tokens := of_engine(r, "kv_pool_tokens")))
    record, tokens = next(pools, (records[0], None))
    needed = max((cell.batch or 0) * (cell.whole_tokens or 0) for cell in cells)
    if tokens is not None and needed > tokens:
        yield say(
            "failures.pool",
            asked=f"{needed:,}",
            tokens=f"{tokens:,.0f}",
            pool=units.data_size(of_engine(record, "kv_pool_bytes")),
        )
    yield from _of_the_model(records[0], context)


def _of_the_model(record: Record, context: int) -> Iterator[Text]:
    """The memory that the model takes, by its engine's words or else by its config, and that of the
    GPU. `context` is the length of the longest request, in tokens."""
    engine, memory = record.cell.engine, record.environment.get("gpu_0_total_bytes")
    gpus = engine.gpu_count if engine else 1
    theory = served_model(record.facts, engine, gpus)
    weights = record.facts.weights_bytes
    if weights is None and theory is not None and theory.weights_bytes is not None:
        weights = theory.weights_bytes // gpus
    if isinstance(memory, int) and weights:
        kind = "failures.fits" if weights <= memory else "failures.too_big"
        yield say(kind, weights=units.data_size(weights), memory=units.data_size(memory))
    needed = None if theory is None else theory.sequence_bytes_of_a_gpu(context)
    if record.status == "failed" and needed is not None:
        size = units.data_size(needed)
        yield say("failures.request", context=f"{context:,}", size=size)
