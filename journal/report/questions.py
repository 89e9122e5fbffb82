"""The log of a day as a page: for every experiment its question, its runs and its findings; then
the day's servers side by side."""

from collections.abc import Iterator, Sequence

from journal.compare.bottleneck import Bottlenecks
from journal.compare.points import Points, points
from journal.compare.setups import setups_of
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.run import ExperimentRecord, Record
from journal.report import checklist
from journal.report.day import Day
from journal.report.document import (
    Block,
    Bullets,
    Page,
    Paragraph,
    Quote,
    Section,
    Text,
    say,
)
from journal.report.findings import claims_of, found, valid_points
from journal.report.first_screen import first_screen
from journal.report.places import Places, places, varied
from journal.report.sections import own_words as notes
from journal.report.sections.asked_by_hand import asked_by_hand_section
from journal.report.sections.batching import batching_section
from journal.report.sections.by_turn import conversation_section
from journal.report.sections.cells_table import cells_section, shared_doubts
from journal.report.sections.cost import cost_section
from journal.report.sections.drafts import drafts_section
from journal.report.sections.failures import failures_section
from journal.report.sections.lengths import lengths_section
from journal.report.sections.lessons import lessons_section
from journal.report.sections.limits import limits_section
from journal.report.sections.long_prompts import long_prompts_section
from journal.report.sections.memory_parts import memory_section
from journal.report.sections.needed import needed_section
from journal.report.sections.own_predictions import predictions_section
from journal.report.sections.prediction_errors import prediction_errors_section
from journal.report.sections.prefix_cache import prefix_section
from journal.report.sections.quantisation import quantisation_section
from journal.report.sections.requests_in_time import requests_in_time_section
from journal.report.sections.searches import searches_section
from journal.report.sections.setting import setting_section
from journal.report.sections.side_by_side import side_by_side_section
from journal.report.sections.since import comparisons, since_section
from journal.report.sections.theory_beside import theory_section
from journal.report.sections.trials import trial_section
from journal.report.sections.variants import variants_section
from journal.report.sections.what_was_sent import sent_section
from journal.report.status_counts import count_of, status_counts
from journal.report.text import slug


def log_page(day: Day) -> Page:
    """The whole log of `day`, in no language yet."""
    shown = _shown(day)
    measured = list(zip(shown, setups_of(shown), strict=True))
    every = points(measured)
    named = places(every)
    several = len(day.experiments) > 1
    alike = shared_doubts(every) if several else []
    limits = Bottlenecks(shown)
    sections: list[Section] = []
    by_experiment: list[tuple[ExperimentRecord, Points]] = []
    for number, begun in enumerate(day.experiments, start=1):
        own = points(pair for pair in measured if pair[0].experiment_id == begun.id)
        name = f"{number}-{slug(begun.experiment.name) or 'experiment'}"
        sections += _experiment(begun, own, limits, named, name, day, alike)
        sections += notes.of_experiment(begun, day)
        by_experiment.append((begun, tuple(point for point in own if point.good)))
    earlier = tuple(comparisons(day))
    across = (
        *_engines(every, named),
        side_by_side_section(every, named, day),
        since_section(earlier),
        prediction_errors_section(day, by_experiment),
        lessons_section(every, named),
        _alike(alike),
        asked_by_hand_section(day),
    )
    sections += [section for section in across if section]
    sections += [checklist.checklist_section(day.steps)] if day.steps else []
    sections += notes.of_day(day)
    lead = tuple(_lead(day, every))
    first = first_screen(day, shown, limits, named, earlier)
    return Page(day.title, lead, tuple(sections), writable=day.extent is None, first=first)


def _engines(every: Points, named: Places) -> Iterator[Section]:
    """The sections on what theory says of each engine, and on its memory: once for all runs."""
    good = tuple(point for point in every if point.good)
    found = theory_section(good, named), memory_section(good, named, "engines")
    sections = [section for section in found if section]
    if sections:
        yield Section(2, say("engines.heading"), ())
        yield from sections


def _alike(doubts: Sequence[Doubt]) -> Section | None:
    """The section on doubts that all cells of all experiments carry alike."""
    if not doubts:
        return None
    return Section(2, say("alike.heading"), (Bullets(tuple(doubts)),))


def brief(day: Day) -> Page:
    """The lead of the log of `day`, and those of its sections that state findings."""
    shown = _shown(day)
    every = points(zip(shown, setups_of(shown), strict=True))
    named = places(every)
    good = tuple(point for point in every if point.good)
    answers = (
        side_by_side_section(every, named, day),
        batching_section(good, named, ""),
        lengths_section(good, named, ""),
        failures_section(every, named),
    )
    sections = tuple(section for section in answers if section)
    findings = found(valid_points(shown), named, claims_of(day, shown)) if shown else ()
    lead = (*_lead(day, every), *_statuses(day.records), *findings)
    return Page(day.title, lead, sections)


def _shown(day: Day) -> list[Record]:
    """The runs without the tries of a search for the least memory: its own section shows them."""
    engines = {
        begun.id: begun.experiment.engines
        for begun in day.experiments
        if begun.experiment.needed_vram
    }
    return [
        record
        for record in day.records
        if record.experiment_id not in engines
        or record.cell.engine in engines[record.experiment_id]
    ]


def _lead(day: Day, every: Points) -> Iterator[Text]:
    if day.records:
        times = [record.started_at for record in day.records]
        first, last = day.clock(times[0]), day.clock(times[-1])
        yield say(
            "lead.runs" if first != last else "lead.runs_at",
            runs=count_of("run", len(day.records)),
            cells=count_of("cell", len(every)),
            experiments=count_of("experiment", len(day.experiments)),
            first=first,
            last=last,
            offset=times[0].astimezone(day.zone).isoformat()[-6:].removeprefix("+00:00"),
        )
    elif day.experiments or not day.questions:
        yield say("lead.nothing", experiments=count_of("experiment", len(day.experiments)))
    if day.questions:
        yield say("lead.asked", questions=count_of("question", len(day.questions)))


def _statuses(records: tuple[Record, ...]) -> Iterator[Text]:
    if not records:
        return
    sentences = status_counts(records)
    yield say("lead.statuses", counts=sentences)


def _experiment(
    begun: ExperimentRecord,
    own: Points,
    limits: Bottlenecks,
    named: Places,
    name: str,
    day: Day,
    alike: Sequence[Doubt],
) -> Iterator[Section]:
    experiment = begun.experiment
    heading = say(
        "chapter.varied" if own else "chapter.bare",
        at=day.clock(begun.started_at),
        name=experiment.name,
        varied=varied(own),
    )
    yield Section(2, heading, tuple(_asked(begun, experiment, day)))
    if not own:
        return
    runs = [record for record in day.records if record.experiment_id == begun.id]
    good = tuple(point for point in own if point.good)
    scored = predictions_section(experiment, good, named)
    if scored:
        yield scored
    answers = (
        trial_section(begun, day),
        sent_section(own, named, name, day.lengths),
        searches_section(experiment, runs),
        needed_section(experiment, runs, name),
        lengths_section(good, named, name),
        batching_section(good, named, name),
        limits_section(good, limits, named),
        prefix_section(good, named),
        conversation_section(good, named),
        drafts_section(good, named),
        long_prompts_section(good, named),
        requests_in_time_section(good, named, name, day.in_flight),
        variants_section(good, named),
        cost_section(good, experiment.price, named),
        quantisation_section(good, named),
        cells_section(own, named, alike) if good else None,
        failures_section(own, named),
        setting_section(own, named),
    )
    yield from (section for section in answers if section)


def _asked(record: ExperimentRecord, experiment: Experiment, day: Day) -> Iterator[Block]:
    if experiment.question.strip():
        yield Quote(say("asked.question"), experiment.question)
    if experiment.hypothesis.strip():
        yield Quote(say("asked.hypothesis"), experiment.hypothesis)
    sentence = say("asked.begun", at=day.clock(record.started_at))
    yield Paragraph((sentence, say(f"asked.{record.status}")))
