"""An experiment in a few sentences and a small table, for the note on its run in MLflow."""

from collections.abc import Iterator, Sequence

from journal import units
from journal.compare.points import Points, points
from journal.compare.room import meter
from journal.compare.setups import setups_of
from journal.records.run import ExperimentRecord, Record
from journal.report.document import Page, Sentence
from journal.report.extent import experiment_day
from journal.report.phrases import Words, words
from journal.report.places import Places, places
from journal.report.questions import brief
from journal.report.text import markdown

MOST_CHARACTERS = 7000  # MLflow cuts a note off after 8,000
MOST_ROWS = 12
TOLD = ("compare.heading", "batch.heading", "prompt.heading", "failures.heading")


def summary(begun: ExperimentRecord, runs: Sequence[Record]) -> str:
    """The sentences of the experiment's log, and the headline figures of its cells, as Markdown
    that fits into a note. `runs` are all that it has."""
    day, said = experiment_day(begun, runs), words("en")
    whole = brief(day)
    found = points(zip(day.records, setups_of(day.records), strict=True))
    parts = [*_asked(begun), said.paragraph(whole.lead, markdown)]
    for part in (_table(found, places(found), said), *_told(whole, said)):
        if part and len("\n\n".join([*parts, part])) <= MOST_CHARACTERS:
            parts.append(part)
    return "\n\n".join(parts)


def _asked(begun: ExperimentRecord) -> Iterator[str]:
    asked = begun.experiment
    for title, text in (("Question", asked.question), ("Hypothesis", asked.hypothesis)):
        if text.strip():
            yield f"**{title}:** {markdown(' '.join(text.split()))[: MOST_CHARACTERS // 4]}"


def _told(whole: Page, said: Words) -> Iterator[str]:
    """The sentences of the sections that say what came of it."""
    sections = {
        section.heading.key: section
        for section in whole.sections
        if isinstance(section.heading, Sentence)
    }
    for key in TOLD:
        for block in sections[key].blocks if key in sections else ():
            if block.kind == "paragraph" and block.sentences:
                about = f"**{said.say(block.about, markdown)}** " if block.about else ""
                yield about + said.paragraph(block.sentences, markdown)


def _table(found: Points, named: Places, said: Words) -> str:
    good = [point for point in found if point.good]
    if not good:
        return ""
    rows = ["| cell | TTFT p50 | TPOT p50 | output | memory, peak |", "| --- |" + " ---: |" * 4]
    for point in good[:MOST_ROWS]:
        read = meter(point)
        shown = (
            units.seconds(point.value("ttft_s.p50")),
            units.seconds(point.value("tpot_s.p50")),
            units.rate(point.value("output_tokens_per_s")),
            units.data_size(read[1] if read else None),
        )
        rows.append(f"| {' | '.join((said.say(named.cell(point), markdown), *shown))} |")
    if len(good) > MOST_ROWS:
        rows.append(f"| {len(good) - MOST_ROWS} more in the log |  |  |  |  |")
    return "\n".join(rows)
