"""Tables of runs for people: a line for each, or one run in full with its doubts."""

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from journal import units
from journal.cli.explained import split_rows, theory_rows
from journal.cli.render import echo, plain, plural, put_styled, warn_of_edits, wide_console, word
from journal.cli.tables import print_table
from journal.doubts.words import sentence
from journal.language import language, translated
from journal.records.cell import Cell
from journal.records.figure import Figure
from journal.records.money import in_currency
from journal.records.run import Record
from journal.records.sameness import workload_key

if TYPE_CHECKING:
    from rich.text import Text

    from journal.compare.bottleneck import Bottleneck
    from journal.compare.capacity import Capacity
    from journal.compare.least_pool import Needed
    from journal.compare.next_change import NextChange
    from journal.compare.setups import Setup
    from journal.run.stages import Result

STATUS_STYLE = {
    "valid": "green",
    "flagged": "yellow",
    "invalid": "red",
    "failed": "red",
    "interrupted": "magenta",
}
_LEFT = ("id", "started", "model", "variant", "status")  # columns of words in a table of runs
_TIMES = ("ttft_s.p50", "tpot_s.mean", "e2e_s.p50")  # of a line of a table, with the next two
_RATE, _MEMORY = "output_tokens_per_s", "vram_peak_bytes"


def print_records(records: Sequence[Record]) -> None:
    """One line for each run, oldest first, and below them each reason why cells were not measured,
    once. Of runs that share a reason, as those of an engine that did not start, the reason tells
    how many they are."""
    from rich.text import Text

    from journal.compare.setups import setups_of
    from journal.compare.starts import unmeasured_by_reason

    unmeasured = unmeasured_by_reason(records)
    ids = {record.id for group in unmeasured for record in group}
    measured = [record for record in records if record.id not in ids]
    named, legend = setup_names(setups_of(measured))
    columns = ["id", "started", "model", "batch", "prompt", "output", "repeat", "TTFT p50"]
    columns += ["TPOT mean", "E2E p50", "output tok/s", "memory", "status"]
    rows: list[list[str | Text]] = []
    for record, name in zip(measured, named, strict=True):
        cell = record.cell
        lengths = cell.prompt_tokens, cell.output_tokens
        rows.append(
            [
                record.id[:8],
                f"{record.started_at.astimezone():%Y-%m-%d %H:%M}",
                Text(name),
                cell.shape.amount,
                *(units.ABSENT if length is None else str(length) for length in lengths),
                str(cell.repeat + 1),
                *_headline(record),
                Text(_status(record), style=STATUS_STYLE[record.status]),
            ]
        )
    if not any(record.cell.repeat for record in measured):
        place = columns.index("repeat")
        del columns[place]
        for row in rows:
            del row[place]
    insert_apart(columns, rows, [record.cell for record in measured])
    if rows:
        print_table(columns, rows, left=_LEFT, kept=("id",))
    for line in legend:
        put_styled(wide_console(), line)
    for failed in unmeasured:
        put_styled(wide_console(), _unmeasured_words(failed), "red")


def listed_metrics() -> set[str]:
    """The metrics that a table of runs needs, by name; every run that was measured has some."""
    from journal.metrics.table import standing_in

    return {"requests", *_TIMES, _RATE, *standing_in(_MEMORY)}


def insert_apart(
    columns: list[str], rows: Sequence[list["str | Text"]], cells: Sequence[Cell]
) -> None:
    """Put what else sets `cells` apart into a table with a row for each of them: the shared tokens
    of the prompts after the prompts, and the variants of the requests after the outputs."""
    from rich.text import Text

    if any(cell.workload.shared_prefix for cell in cells):
        place = columns.index("prompt") + 1
        columns.insert(place, "shared")
        for row, cell in zip(rows, cells, strict=True):
            row.insert(place, str(cell.workload.shared_prefix))
    if any(cell.load.variant is not None for cell in cells):
        place = columns.index("output") + 1
        columns.insert(place, "variant")
        for row, cell in zip(rows, cells, strict=True):
            row.insert(place, Text(plain(cell.load.variant or units.ABSENT)))


def _headline(record: Record) -> list[str]:
    """The figures of a run in a line of a table."""
    from journal.metrics.table import standing_in

    memories = map(record.value, standing_in(_MEMORY))
    return [
        *(units.seconds(record.value(name)) for name in _TIMES),
        units.number(record.value(_RATE)),
        units.data_size(next((size for size in memories if size is not None), None)),
    ]


def _status(record: Record) -> str:
    """The status of a run, with the doubts that give it."""
    reasons = dict.fromkeys(doubt.name for doubt in record.doubts if doubt.severity != "note")
    status = word(record.status)
    return f"{status}: {', '.join(reasons)}" if reasons else status


def _unmeasured_words(failed: Sequence[Record]) -> str:
    """The sentence on runs that failed for one reason, before they measured anything."""
    first = failed[0]
    cells = plural(len(failed), "cell")
    missing = f"{cells} not measured"
    what = f"1 failed start, {cells} not measured" if first.start_failed else missing
    name = plain(first.cell.model)
    reason = plain(translated(first.error or ""))
    return f"{name}: {translated(what)} ({first.id[:8]}): {reason}"


def setup_names(setups: "Sequence[Setup]") -> tuple[list[str], list[str]]:
    """The name of each setup: its model and what sets it apart from the others; and lines that
    explain the letters in those names."""
    from journal.compare.setups import differing
    from journal.report.phrases import words
    from journal.report.setup_labels import labels

    speak = words(language())
    named = {setup: speak.say(label, plain) for setup, label in labels(setups).items()}
    legend = []
    for setup, name in named.items():
        alike = [other for other in named if other.model == setup.model]
        if re.search(r"\([A-Z]\)", name):
            parts = (f"{field} {setup.get(field) or units.ABSENT}" for field in differing(alike))
            legend.append(f"{name}: {plain(', '.join(parts))}")
    return [named[setup] for setup in setups], legend


def print_result(result: "Result") -> None:
    """The runs of one `journal run`, the results of its searches, and the files of its log."""
    print_records(result.records)
    console = wide_console()
    for record in result.records:
        if record.error and record.metrics:
            error = plain(translated(record.error))
            put_styled(console, f"{record.id[:8]}: {error}", style="red")
    print_capacities(result.capacities)
    print_needed(result.needed)
    echo(f"log: {result.log.markdown}\n     {result.log.html}", flush=True)
    warn_of_edits(result.log)


def print_tracking_error(result: "Result") -> None:
    """The sentence that says why MLflow lacks some of the runs, if it does."""
    if result.tracking_error:
        put_styled(wide_console(), plain(translated(result.tracking_error)), "yellow")


def print_bottleneck(found: "Bottleneck", change: "NextChange | None") -> None:
    """What limits a run, and the change that it calls for, where there is one."""
    from journal.plan.settings import engine_difference
    from journal.report.bottleneck_words import bottleneck_sentence
    from journal.report.change_words import advice_sentences
    from journal.report.phrases import words

    speak, console = words(language()), wide_console()
    said = speak.say(bottleneck_sentence(found), plain)
    put_styled(console, said, style="bold")
    if change is not None:
        lines = [speak.paragraph(advice_sentences(change), plain)]
        lines += map(plain, engine_difference(change.before, change.after))
        put_styled(console, "\n".join(lines))


def print_capacities(capacities: "Sequence[Capacity]") -> None:
    """The result of each search for capacity in a sentence, and the limits of its SLO."""
    from journal.report.phrases import words
    from journal.report.sections.searches import limits, sentences

    speak, console = words(language()), wide_console()
    for capacity in capacities:
        result = speak.paragraph(sentences(capacity), plain)
        put_styled(console, result, style="bold")
    if capacities:
        put_styled(console, speak.say(limits(capacities[0].slo), plain))


def print_needed(searches: "Sequence[Needed]") -> None:
    """The result of each search for the least memory in a sentence."""
    from journal.report.phrases import words
    from journal.report.sections.needed import needed_sentence

    speak, console = words(language()), wide_console()
    for search in searches:
        result = speak.say(needed_sentence(search), plain)
        put_styled(console, result, style="bold")


def print_repeats(tries: Sequence[Record]) -> None:
    """The headline figures over the tries of one cell."""
    from journal.compare.repeats import repeat_means
    from journal.metrics import table

    means = repeat_means(tries)
    rows = [
        [metric.name, units.formatted(mean.value, metric.unit), _interval(mean, metric.unit)]
        for metric in table.rows(lambda shown: shown.over_repeats)
        if (mean := means.get(metric.name)) is not None
    ]
    columns = (f"over {len(tries)} repeats", "mean", "95% interval")
    print_table(columns, rows, left=columns[:1])


def print_record(record: Record) -> None:
    """One run in full: its doubts first, then its figures."""
    from rich.text import Text

    cell, console = record.cell, wide_console()
    lengths = translated(cell.lengths_label)
    if cell.load.length_spread:
        spread = units.percent(cell.load.length_spread)
        lengths += translated(f" (spread by {spread})")
    load = translated(f"{cell.shape.label}, convoy" if cell.convoy else cell.shape.label)
    console.print(
        Text.assemble(
            (record.id, "bold"),
            f"  {plain(cell.model)}  {load}  {lengths}  ",
            (word(record.status), STATUS_STYLE[record.status]),
        )
    )
    where = [record.environment.get(name) for name in ("host", "user")]
    if where[0] is not None:
        place = f"on {where[0]}" + (f" by {where[1]}" if where[1] else "")
        put_styled(console, plain(translated(place)), "dim")
    _print_workload(record)
    if record.error:
        put_styled(console, plain(translated(record.error)), "red")
    for doubt in record.doubts:
        style = {"invalid": "red", "flag": "yellow", "note": "dim"}[doubt.severity]
        put_styled(console, f"- {plain(f'{doubt.name}: {sentence(doubt, language())}')}", style)
    columns, lines = _latencies(record)
    print_table(columns, lines, left=("latency",))
    compared, parts = theory_rows(record), split_rows(record)
    if compared:
        headed = ("theory and measurement", "predicted", "measured", "ratio")
        print_table(headed, list(compared.values()), left=headed[:1])
    if parts:
        headed = ("memory", "bytes", "share", "by")
        print_table(headed, parts, left=("memory", "by"))
    shown = {name for names in compared for name in names}
    print_table(["metric", "value", "95% interval"], _figures(record, shown), left=("metric",))


def _print_workload(record: Record) -> None:
    """The workload of a run, where it is not random tokens, and the hash of what was sent."""
    key, sent = workload_key(record.cell.workload), record.environment.get("sent_sha256")
    if key is not None:
        what = f"workload {record.cell.workload.name}: {key}" + (
            f", sent {str(sent)[:8]}" if sent else ""
        )
        put_styled(wide_console(), plain(translated(what)), "dim")


def _latencies(record: Record) -> "tuple[list[str], list[list[str | Text]]]":
    """The columns and the rows of the latencies that were measured."""
    from journal.metrics.statistics import STATISTICS
    from journal.metrics.table import latencies

    rows: list[list[str | Text]] = []
    for name, label in latencies().items():
        if record.value(f"{name}.mean") is None:
            continue
        times = (units.seconds(record.value(f"{name}.{statistic}")) for statistic in STATISTICS)
        rows.append([label, *times, _interval(record.metrics.get(f"{name}.p50"), "s")])
    return ["latency", *STATISTICS, "95% interval of p50"], rows


def _interval(figure: Figure | None, unit: str) -> str:
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return translated(
        f"{units.formatted(figure.low, unit)} to {units.formatted(figure.high, unit)}"
    )


def _figures(record: Record, left_out: Collection[str]) -> "list[list[str | Text]]":
    """A row for each metric that has one value, but for those `left_out` by name."""
    from journal.metrics import table

    rows: list[list[str | Text]] = []
    for metric in table.rows():
        figure = record.metrics.get(metric.name)
        if figure is None or figure.value is None or metric.statistic or metric.name in left_out:
            continue
        unit = in_currency(metric.unit, (record.facts.currency,))
        shown = units.formatted(figure.value, unit)
        rows.append([metric.name, shown, _interval(figure, unit)])
    return rows
