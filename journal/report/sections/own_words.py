"""The user's own words in a log: the lesson of each experiment, and the notes of the day."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from journal.records.notebook import Note
from journal.records.run import ExperimentRecord
from journal.report.day import Day
from journal.report.document import Block, Own, Page, Quote, Section, Text, say
from journal.report.regions import NEW, OF_THE_DAY

SHORT_ID = 8


def of_experiment(begun: ExperimentRecord, day: Day) -> Iterator[Section]:
    """A section with the notes on an experiment or its runs; in a day's log, a place to write."""
    written = (note for note in day.notes if note.experiment_id == begun.id)
    yield from _section(3, say("notes.lesson"), _places(written, day, NEW + begun.id))


def of_day(day: Day) -> Iterator[Section]:
    """A section with the notes on the day itself; in its own log, a place to write."""
    here = {begun.id for begun in day.experiments}
    written = (note for note in day.notes if note.experiment_id not in here)
    yield from _section(2, say("notes.heading"), _places(written, day, OF_THE_DAY))


def _section(level: Literal[2, 3], heading: Text, blocks: tuple[Block, ...]) -> Iterator[Section]:
    if blocks:
        yield Section(level, heading, blocks)


def without_blanks(whole: Page) -> Page:
    """`whole` without the places where nothing is written, for a page that is only read."""
    sections = []
    for section in whole.sections:
        blocks = tuple(b for b in section.blocks if b.kind != "own" or b.text.strip())
        if blocks or not section.blocks:
            sections.append(Section(section.level, section.heading, blocks))
    return replace(whole, sections=tuple(sections))


def _places(written: Iterable[Note], day: Day, new: str) -> tuple[Block, ...]:
    if day.extent:  # the words of a day are changed where they were written: in its own log
        return tuple(Quote(label_of(note, day), note.text) for note in written)
    return (*_written(written, day), Own(new))


def _written(written: Iterable[Note], day: Day) -> Iterator[Own]:
    for note in written:
        yield Own(note.id, note.text, label_of(note, day))


def label_of(note: Note, day: Day) -> Text:
    """The label of a note: when it was written, and on which run."""
    at = note.written_at.astimezone(day.zone)
    shown = day.clock(at) if at.date() == day.date else f"{at:%Y-%m-%d %H:%M}"
    if note.run_id is None:
        return say("notes.at", at=shown)
    return say("notes.at_run", at=shown, run=note.run_id[:SHORT_ID])
