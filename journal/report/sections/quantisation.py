"""The cost of a quantised build in quality, by an experiment's quality check, and its weights."""

from collections.abc import Iterator, Mapping, Sequence

from journal import units
from journal.compare.agreement import agreement
from journal.compare.flips import Flips, flips
from journal.compare.points import Points
from journal.compare.setups import Setup
from journal.records.engine import Quality
from journal.records.run import Record
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Paragraph,
    Section,
    Spoken,
    Table,
    Text,
    say,
)
from journal.report.places import Places

COLUMNS = ("setup", "weights_bytes", "perplexity", "bits_per_byte", "agreement")

MOST_FLIPS = 5  # listed
ABSENCES = {  # the beginnings of stored reasons, and the keys of their words
    "the server completes no text, so its quality is not checked": "quality.absent.text",
    "no perplexity: ": "quality.absent.perplexity",
    "no outputs to compare: ": "quality.absent.outputs",
}


def quantisation_section(points: Points, places: Places) -> Section | None:
    """A section with each server's figures, and those of quantised ones against the unquantised
    one; None where no server was checked."""
    checked = {point.setup: quality for point in points if (quality := _quality(point.records))}
    if not checked:
        return None
    first = next((setup for setup in checked if _is_whole(setup, points)), None)
    blocks: list[Block] = []
    if first is not None:
        for setup in checked:
            if setup is not first:
                about = say("compare.about", a=places.labels[setup], b=places.labels[first])
                sentences = tuple(_sentences(checked[setup], checked[first]))
                blocks += [Paragraph(sentences, about)] if sentences else []
    blocks.append(_table(checked, first, points, places))
    absent = dict.fromkeys(reason for quality in checked.values() for reason in quality.absent)
    blocks += [Bullets(tuple(map(_absence, absent)))] if absent else []
    return Section(3, say("quality.heading"), tuple(blocks))


def _absence(reason: str) -> Text:
    """A part of the check that could not be measured, as `serve/quality_check.py` stores it, in the
    words of a language; the words of a server stand as they are."""
    for beginning, key in ABSENCES.items():
        if reason.startswith(beginning):
            return say(key, why=Spoken(reason.removeprefix(beginning)))
    return Spoken(reason)


def _quality(records: Sequence[Record]) -> Quality | None:
    known = [quality for record in records if (quality := record.facts.quality)]
    return known[-1] if known else None


def _is_whole(setup: Setup, points: Points) -> bool:
    """Whether a server was not asked to quantise, and does not say that it does."""
    facts = [record.facts for point in points if point.setup == setup for record in point.records]
    return setup.quantisation is None and not any(one.quantisation for one in facts)


def _sentences(other: Quality, first: Quality) -> Iterator[Text]:
    if other.perplexity is not None and first.perplexity is not None:
        yield say(
            "quality.perplexity",
            a=units.number(other.perplexity),
            b=units.number(first.perplexity),
            ratio=f"{other.perplexity / first.perplexity:.3f}",
        )
    same = agreement(other.outputs, first.outputs)
    if same is not None:
        yield say("quality.agreement", share=units.percent(same))
    found = flips(first, other)
    if found is not None:
        yield from _flips(found)


def _flips(found: Flips) -> Iterator[Text]:
    """The flips of a build against the first one: the verdict, and the answers that were lost."""
    yield say(
        f"quality.flips.{found.verdict}",
        n=f"{len(found.flips)}",
        questions=f"{found.questions}",
        lost=f"{found.count('lost')}",
        gained=f"{found.count('gained')}",
        noise=f"{max(found.noise)}",
    )
    lost = [flip for flip in found.flips if flip.turn == "lost"]
    if lost:
        listed = tuple(
            say("quality.flip", ask=flip.question.ask, a=flip.first, b=flip.other)
            for flip in lost[:MOST_FLIPS]
        )
        yield say("quality.lost", flips=listed)


def _table(
    checked: Mapping[Setup, Quality], first: Setup | None, points: Points, places: Places
) -> Table:
    columns = tuple(Column(say(f"column.{name}"), numeric=name != "setup") for name in COLUMNS)
    rows = []
    for setup, quality in checked.items():
        weights = next((p.value("weights_bytes") for p in points if p.setup == setup), None)
        reference = checked[first].outputs if first is not None and setup is not first else ()
        rows.append(
            (
                Box(places.labels[setup]),
                Box(units.data_size(weights)),
                Box(units.number(quality.perplexity)),
                Box(units.number(quality.bits_per_byte)),
                Box(units.percent(agreement(quality.outputs, reference))),
            )
        )
    tokens = {quality.tokens for quality in checked.values() if quality.tokens}
    shown = f"{min(tokens):,}" if len(tokens) == 1 else say("varied")
    return Table(columns, tuple(rows), (say("quality.caption", tokens=shown),) if tokens else ())
