"""`journal runs` and `journal show`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import journal
from journal.cli.options import Home, Json
from journal.cli.render import echo

if TYPE_CHECKING:
    from journal.records.as_json import ShownJson
    from journal.records.experiment import Experiment
    from journal.records.run import Record
    from journal.store.journal_file import JournalFile
    from journal.store.store import Store

LISTED = 100  # runs of a table, unless it is asked for more


def runs(
    home: Home = "lab",  # type: ignore[assignment]
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=1, help="The newest N; without it the newest 100, and all as JSON."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the runs of this journal, the newest last.

    Examples:

    - `journal runs -n 20`
    - `journal runs --json | jq '.[].ttft_s.p50'`
    """
    from journal.cli.render import print_json
    from journal.cli.run_tables import listed_metrics, print_records
    from journal.store.journal_file import read

    shown = limit or LISTED
    if json:
        records = read(home, lambda store: store.runs(limit=limit))
    else:
        names = listed_metrics()
        records = read(home, lambda store: store.runs(limit=shown + 1, metrics=names))
    if json:
        print_json([journal.run_json(record) for record in records])
    elif records:
        print_records(records[-shown:])
        if len(records) > shown:
            echo(f"the newest {shown:,} runs; older ones are left out, and `-n N` lists N")
    else:
        echo(f"no runs in {home} yet: `journal run` makes the first")


def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id, its start, or last.")],
    home: Home = "lab",  # type: ignore[assignment]
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="FILE", help="Write its requests in time as SVG."),
    ] = None,
    json: Json = False,
) -> None:
    """Show one run in full, its doubts first.

    With it: what limits it, its cell over all repeats, and the search for capacity it is part of.

    Examples:

    - `journal show last`
    - `journal show last --figure timeline.svg`
    - `journal show 3f9a --json`
    """
    from journal.cli import run_tables
    from journal.cli.render import print_json
    from journal.compare import repeats
    from journal.compare.bottleneck import bottleneck
    from journal.compare.capacity import capacities
    from journal.compare.next_change import next_change
    from journal.report.bottleneck_words import bottleneck_json
    from journal.report.change_words import change_json
    from journal.report.sections.searches import capacity_json

    record, among, experiment = _of_run(home, run_id)
    if figure is not None:
        from journal.report.log import write_text
        from journal.report.run_figure import run_figure

        with journal.open_store(home) as store:
            write_text(figure, run_figure(store, record))
    searches = capacities(experiment, among)
    tries = repeats.repeats(record, among)
    limit = bottleneck(record, among)
    change = next_change(record, limit)
    if json:
        shown = cast("ShownJson", journal.run_json(record))
        shown["bottleneck"] = bottleneck_json(limit) if limit else None
        shown["next_change"] = change_json(change) if change else None
        if len(tries) > 1:
            shown["repeats"] = repeats.repeats_json(tries)
        if searches:
            shown["capacity"] = [capacity_json(search) for search in searches]
        print_json(shown)
        return
    run_tables.print_record(record)
    if limit is not None:
        run_tables.print_bottleneck(limit, change)
    if len(tries) > 1:
        run_tables.print_repeats(tries)
    run_tables.print_capacities(searches)


def _of_run(home: Path, run_id: str) -> "tuple[Record, list[Record], Experiment]":
    """A run, all runs of its experiment, and the experiment."""
    from journal.store.journal_file import read

    def looked_up(store: "JournalFile | Store") -> "tuple[Record, list[Record], Experiment]":
        record = store.run(run_id)
        begun = store.experiment(record.experiment_id)
        return record, store.runs(experiment_id=begun.id), begun.experiment

    return read(home, looked_up)
