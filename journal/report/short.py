"""The summary of an experiment, a few sentences and a small table, for the note in MLflow."""

from collections.abc import Iterator, Sequence

from journal import units
from journal.compare.points import Points, points
from journal.compare.room import meter
from journal.compare.setups import setups_of
from journal.language import language, shipped_text
from journal.records.run import ExperimentRecord, Record
from journal.report.document import Page, Sentence
from journal.report.extent import experiment_day
from journal.report.phrases import Words, words
from journal.report.places import Places, places
from journal.report.questions import brief
from journal.report.text import markdown

MOST_CHARACTERS = 7000  # MLflow cuts a note off after 8,000
MOST_ROWS = 12
FINDINGS = ("compare.heading", "batch.heading", "prompt.heading", "failures.heading")


def summary(begun: ExperimentRecord, runs: Sequence[Record], lang: str | None = None) -> str:
    """The sentences of the experiment's log and the headline figures of its cells, as Markdown of
    at most MOST_CHARACTERS. `runs` are all that the experiment has; `lang` is as for `language`."""
    day, speak = experiment_day(begun, runs), words(language(lang))
    whole = brief(day)
    measured = points(zip(day.records, setups_of(day.records), strict=True))
    parts = [*_asked(begun, speak), speak.paragraph(whole.lead, markdown)]
    for part in (_table(measured, places(measured), speak), *_findings(whole, speak)):
        if part and len("\n\n".join([*parts, part])) <= MOST_CHARACTERS:
            parts.append(part)
    return "\n\n".join(parts)


def _asked(begun: ExperimentRecord, speak: Words) -> Iterator[str]:
    experiment = begun.experiment
    for title, text in (
        ("short.question", experiment.question),
        ("short.hypothesis", experiment.hypothesis),
    ):
        if text.strip():
            said = markdown(" ".join(shipped_text(text, speak.lang).split()))
            yield f"**{speak.phrases[title]}** {said[: MOST_CHARACTERS // 4]}"


def _findings(whole: Page, speak: Words) -> Iterator[str]:
    """The sentences of the sections that state findings."""
    sections = {
        section.heading.key: section
        for section in whole.sections
        if isinstance(section.heading, Sentence)
    }
    for key in FINDINGS:
        for block in sections[key].blocks if key in sections else ():
            if block.kind == "paragraph" and block.sentences:
                about = f"**{speak.say(block.about, markdown)}** " if block.about else ""
                yield about + speak.paragraph(block.sentences, markdown)


def _table(measured: Points, named: Places, speak: Words) -> str:
    good = [point for point in measured if point.good]
    if not good:
        return ""
    phrases = speak.phrases
    titles = (phrases["short.cell"], "TTFT p50", "TPOT p50", phrases["short.output"])
    head = " | ".join((*titles, phrases["short.memory"]))
    rows = [f"| {head} |", "| --- |" + " ---: |" * 4]
    for point in good[:MOST_ROWS]:
        memory = meter(point)
        figures = (
            units.seconds(point.value("ttft_s.p50")),
            units.seconds(point.value("tpot_s.p50")),
            units.rate(point.value("output_tokens_per_s")),
            units.data_size(memory[1] if memory else None),
        )
        rows.append(f"| {' | '.join((speak.say(named.cell(point), markdown), *figures))} |")
    if len(good) > MOST_ROWS:
        more = phrases["short.more"].format(n=len(good) - MOST_ROWS)
        rows.append(f"| {more} |  |  |  |  |")
    return "\n".join(rows)
