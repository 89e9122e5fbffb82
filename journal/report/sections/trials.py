"""A trial of a change: hypothesis, change, prediction and verdict."""

from collections.abc import Sequence

from journal.compare.tried import tried
from journal.plan.settings import engine_difference
from journal.records.run import ExperimentRecord, Record
from journal.report.change_words import trial_sentences, verdict_sentences
from journal.report.day import Day
from journal.report.document import Block, Paragraph, Section, Verbatim, say


def trial_section(begun: ExperimentRecord, day: Day) -> Section | None:
    """The section on the trial that an experiment makes, judged by all looks at it so far; None for
    an experiment that tries nothing."""
    trial, engines = begun.experiment.trial, begun.experiment.engines
    if trial is None or not engines:
        return None
    after = engines[-1]
    runs = _looks(begun, day)
    before = next((e for e in engines if e != after), None)
    found = tried(trial, after if before is None else before, after, runs)
    blocks: list[Block] = [Paragraph(tuple(trial_sentences(trial)))]
    if before is not None:
        blocks.append(Verbatim(engine_difference(before, after)))
    blocks.append(Paragraph(tuple(verdict_sentences(found))))
    blocks += [Verbatim((found.failed,))] if found.failed else []
    return Section(3, say("try.heading"), tuple(blocks))


def _looks(begun: ExperimentRecord, day: Day) -> Sequence[Record]:
    """The runs of all looks at the trial of `begun` up to itself."""
    own = [
        each.id
        for each in day.experiments
        if each.experiment.trial == begun.experiment.trial
        and each.experiment.engines == begun.experiment.engines
        and each.started_at <= begun.started_at
    ]
    return [record for record in day.records if record.experiment_id in own]
