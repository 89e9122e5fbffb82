"""The result of a search for capacity: one sentence, and a table of the loads that it tried."""

from collections.abc import Iterable
from typing import cast

from journal import units
from journal.compare.capacity import Capacity, Probe, capacities
from journal.records.as_json import CapacityJson, ProbeJson, SloJson
from journal.records.experiment import Experiment, Slo
from journal.records.run import Record
from journal.report.document import Block, Box, Column, Paragraph, Section, Table, Text, say
from journal.report.sections.cells_table import MOST_IDS, SHORT_ID


def searches_section(experiment: Experiment, records: Iterable[Record]) -> Section | None:
    """A section with the results of the searches of an experiment; None where there were none."""
    results = capacities(experiment, records)
    if not results:
        return None
    blocks: list[Block] = [Paragraph((limits(results[0].slo),))]
    for result in results:
        blocks.append(Paragraph(sentences(result)))
        if result.probes:
            blocks.append(_table(result))
    return Section(3, say("capacity.heading"), tuple(blocks))


def limits(slo: Slo) -> Text:
    """The sentence on the limits that a load has to hold."""
    given = (("ttft", slo.ttft_ms), ("tpot", slo.tpot_ms), ("e2e", slo.e2e_ms))
    named = tuple(
        say(f"capacity.{name}", limit=units.seconds(limit_ms / 1e3))
        for name, limit_ms in given
        if limit_ms is not None
    )
    return say("capacity.asked", limits=named, share=units.percent(slo.good_fraction))


def sentences(capacity: Capacity) -> tuple[Text, ...]:
    """The sentences on one search: its answer with an interval, and whether it has ended."""
    early = () if capacity.whole else (say("capacity.early"),)
    return (_answer(capacity), *early)


def _answer(capacity: Capacity) -> Text:
    cell, held, beyond = capacity.cell, capacity.held, capacity.beyond
    prompt, output = cell.planned_lengths
    subject = say(
        "capacity.subject",
        model=cell.model,
        prompt=f"{prompt:,}",
        output=f"{output:,}",
    )
    if held is None and beyond is None:
        assert capacity.alone is not None
        return say("capacity.alone", subject=subject, good=_share(capacity.alone))
    values: dict[str, Text] = {"subject": subject}
    if held is not None:
        values |= {"held": f"{held.load:,g}", "good": _share(held)}
    if capacity.breaks_from is not None:
        values |= {"breaks": units.number(capacity.breaks_from), "reason": _why_it_breaks(capacity)}
    elif beyond is not None:
        values |= {"beyond": f"{beyond.load:,g}", "reason": _why(beyond)}
    return say(f"capacity.{_form(capacity)}.{capacity.of}", **values)


def _form(capacity: Capacity) -> str:
    """The name of the sentence: by which of the three parts of the answer there are."""
    if capacity.held is None:
        if capacity.breaks_from is None:
            return "unknown"
        lowest = capacity.probes[0].load
        return "none" if capacity.breaks_from <= lowest else "unshown"
    if capacity.breaks_from is None:
        return "above" if capacity.beyond is None else "open"
    return "exactly" if capacity.undecided is None else "between"


def _why_it_breaks(capacity: Capacity) -> Text:
    """The reason why no higher load holds: the lowest that broke the SLO, or all that the server
    answers where that is less."""
    broken, answered = capacity.broken, capacity.answered_per_s
    if broken is not None and broken.load == capacity.breaks_from and not broken.beyond_answers:
        return _why(broken)
    return say("capacity.reason.answered", answered=units.number(answered))


def capacity_json(capacity: Capacity) -> CapacityJson:
    """One search as plain JSON values; what is not known is null. `undecided` has the two loads
    between which neither was shown, `alone` is null where no rate was searched for."""
    cell, slo = capacity.cell, capacity.slo
    prompt, output = cell.planned_lengths
    return {
        "of": capacity.of,
        "model": cell.model,
        "quantisation": cell.quantisation,
        "prompt_tokens": prompt,
        "output_tokens": output,
        "slo": cast(SloJson, {name: getattr(slo, name) for name in Slo.__slots__}),
        "whole": capacity.whole,
        "holds_up_to": capacity.holds_up_to,
        "undecided": capacity.undecided,
        "breaks_from": capacity.breaks_from,
        "answered_per_s": capacity.answered_per_s,
        "alone": None if capacity.alone is None else _probe_json(capacity.alone),
        "held": None if capacity.held is None else _probe_json(capacity.held),
        "beyond": None if capacity.beyond is None else _probe_json(capacity.beyond),
        "probes": [_probe_json(probe) for probe in capacity.probes],
    }


def _probe_json(probe: Probe) -> ProbeJson:
    return {
        "load": probe.load,
        "verdict": probe.verdict,
        "good_fraction": probe.good.value,
        "interval": [probe.good.low, probe.good.high],
        "requests": probe.good.count,
        "runs": [record.id for record in probe.records],
    }


def _share(probe: Probe) -> Text:
    share, low, high = (
        units.percent(value) for value in (probe.good.value, probe.good.low, probe.good.high)
    )
    return say("capacity.share", share=share, low=low, high=high)


def _kind(probe: Probe) -> str:
    if probe.verdict == "held":
        return "held"
    if probe.clients_fault:
        return "client"
    if probe.disturbed and probe.verdict == "undecided":
        return "disturbed"
    if probe.verdict == "missed" and probe.overloaded:
        return "behind"
    if probe.verdict == "missed" and probe.beyond_answers:
        return "answered"
    return "short" if probe.verdict == "undecided" and probe.too_short else probe.verdict


def _why(probe: Probe) -> Text:
    kind = _kind(probe)
    given = {"good": _share(probe)} if kind in ("missed", "undecided", "short") else {}
    return say(f"capacity.reason.{kind}", **given)


def _table(capacity: Capacity) -> Table:
    load = say("column.rate" if capacity.of == "rate" else "column.batch")
    titles = (load, say("column.good"), say("column.runs"), say("column.verdict"))
    columns = tuple(Column(title, numeric=title is not titles[-1]) for title in titles)
    return Table(columns, tuple(_row(probe) for probe in capacity.probes))


def _row(probe: Probe) -> tuple[Box, ...]:
    low, high = units.percent(probe.good.low), units.percent(probe.good.high)
    ids = [record.id[:SHORT_ID] for record in probe.records]
    more = ["…"] if len(ids) > MOST_IDS else []
    return (
        Box(f"{probe.load:,g}"),
        Box(units.percent(probe.good.value), f"{low}–{high}"),
        Box(f"{len(ids)}", " ".join(ids[:MOST_IDS] + more)),
        Box(say(f"capacity.verdict.{_kind(probe)}")),
    )
