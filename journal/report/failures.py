"""What failed, as a result: where, why in the program's own words, and the sizes involved."""

from collections.abc import Iterator, Sequence

from journal import units
from journal.records import Record
from journal.report.page import Block, Paragraph, Section, Text, Verbatim, say
from journal.report.places import Places
from journal.report.points import GOOD, Point, Points

MOST_PLACES = 6  # named; beyond, they are counted


def answer(found: Points, places: Places) -> Section | None:
    """The runs that gave no figures, those of one cause together; None where all did."""
    causes: dict[tuple[str, str], list[tuple[Point, Record]]] = {}
    for point in found:
        for record in point.records:
            if record.status not in GOOD:
                causes.setdefault((record.status, _cause(record)), []).append((point, record))
    if not causes:
        return None
    blocks: list[Block] = []
    for (status, cause), failed in causes.items():
        blocks.append(Paragraph(tuple(_sentences(status, failed, places))))
        blocks += [Verbatim(cause)] if cause else []
    return Section(3, say("failures.heading"), tuple(blocks))


def _cause(record: Record) -> str:
    doubts = [doubt.sentence for doubt in record.doubts if doubt.severity == "invalid"]
    return "\n".join([*([record.error] if record.error else []), *doubts])


def _sentences(
    status: str, failed: Sequence[tuple[Point, Record]], places: Places
) -> Iterator[Text]:
    at = tuple(dict.fromkeys(point for point, _ in failed))
    named = tuple(places.cell(point) for point in at[:MOST_PLACES])
    more = (say("more", n=str(len(at) - MOST_PLACES)),) if len(at) > MOST_PLACES else ()
    yield say(f"failures.{status}", n=str(len(failed)), places=(*named, *more))
    yield from _sizes([record for _, record in failed])


def _sizes(records: Sequence[Record]) -> Iterator[Text]:
    """The sizes that these cells ask for beside those that the engine has."""
    cells = [record.cell for record in records]
    context = max(cell.prompt_tokens + cell.output_tokens for cell in cells)
    limits = [cell.engine.max_model_len for cell in cells if cell.engine]
    limit = next((length for length in limits if length is not None), None)
    if limit is not None and context > limit:
        yield say("failures.context", context=f"{context:,}", limit=f"{limit:,}")
    facts = next((r.facts for r in records if r.facts.kv_pool_tokens), None)
    asked = max((cell.batch or 0) * (cell.prompt_tokens + cell.output_tokens) for cell in cells)
    if facts and facts.kv_pool_tokens and asked > facts.kv_pool_tokens:
        yield say(
            "failures.pool",
            asked=f"{asked:,}",
            tokens=f"{facts.kv_pool_tokens:,}",
            pool=units.data_size(facts.kv_pool_bytes),
        )
    here = records[0].environment
    card = here.get("gpu_0_total_bytes")
    weights = next((r.facts.weights_bytes for r in records if r.facts.weights_bytes), None)
    if isinstance(card, int) and weights:
        yield say("failures.card", weights=units.data_size(weights), card=units.data_size(card))
