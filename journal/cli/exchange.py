"""`journal import`, `journal export`, `journal merge` and `journal compact`."""

from pathlib import Path
from typing import Annotated

import typer

import journal
from journal.cli.options import Home, Json
from journal.cli.render import echo


def import_(
    file: Annotated[
        Path, typer.Argument(help="A result file as its tool wrote it, or a folder of them.")
    ],
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Take in a result file of another tool as runs, marked with their tool.

    Known are the files of vllm bench serve and its sweeps, GuideLLM, AIPerf, SGLang's
    bench_serving, servebench, inference-perf, evalscope, GenAI-Perf and LLMPerf, and the scores of
    lm-evaluation-harness; docs/exchange.md says what is taken of each.

    Examples:

    - `journal import results/openai-infqps-model-20261123-180344.json`
    - `journal import sweeps/20261123-180344/`
    """
    from journal.cli.render import plural, print_json
    from journal.cli.run_tables import print_records
    from journal.tracking.tracker import sync

    imported = journal.import_results(file, home)
    with journal.open_store(home) as store:
        report = sync(store, home) if imported.new else None
        records = [store.run(record.id) for record in imported.records]
    if json:
        print_json([journal.run_json(record) for record in records])
        return
    print_records(records)
    there = len(records) - len(imported.new)
    known = f"; {there} already there" if there else ""
    echo(f"{plural(len(imported.new), 'run')} taken in{known}")
    if report and report.reason:
        echo(report.reason)


def export(
    file: Annotated[
        Path | None,
        typer.Argument(help="Where to write; without it CSV or JSON lines go to standard output."),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="csv, parquet or jsonl; by the file's name without it."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="A row for each request, with the times of its chunks.")
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="llm-d: a Benchmark Report v0.2 for each run, into the folder FILE."
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="With --to: this run alone (an id, or last).")
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
) -> None:
    """Write every run, or every request, as a table for other programs, or as reports.

    Examples:

    - `journal export runs.csv`
    - `journal export requests.parquet --raw`
    - `journal export --format jsonl | head -1`
    - `journal export reports/ --to llm-d`
    """
    import sys
    from typing import cast

    from journal.cli.render import plural
    from journal.errors import UsageError
    from journal.exchange.export import FORMS, Form

    if to is not None or run is not None:
        _reports(file, to, run, home, form is not None or raw)
        return
    if form is not None and form not in FORMS:
        raise UsageError(f"{form!r} is not a format: give one of {', '.join(FORMS)}")
    rows = journal.export(file or sys.stdout, home, cast(Form | None, form), raw=raw)
    if file:
        echo(f"{plural(rows, 'row')} written to {file}")


def _reports(folder: Path | None, to: str | None, run: str | None, home: Path, mixed: bool) -> None:
    """Write reports for another program into `folder`. Raises UsageError for options that do not
    go together (`mixed`: options of tables were given too)."""
    from journal.cli.render import plural
    from journal.errors import UsageError

    if to != "llm-d":
        raise UsageError(f"--to {to} is not a form of report: give --to llm-d")
    if mixed or folder is None:
        raise UsageError("--to llm-d takes a folder and --run: give a folder, no --format or --raw")
    count = journal.export_reports(folder, home, run)
    echo(f"{plural(count, 'report')} written to {folder}")


def merge(
    other: Annotated[Path, typer.Argument(help="Another journal: its journal.db, or its home.")],
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Take in another journal, without doubles and under the same ids.

    Example:

    - `journal merge gpu-host/lab/journal.db`
    """
    from dataclasses import asdict

    from journal.cli.render import plural, print_json

    merged = journal.merge(other, home)
    if json:
        print_json(asdict(merged))
        return
    parts = (
        plural(merged.experiments, "experiment"),
        plural(merged.runs, "run"),
        plural(merged.notes, "note"),
    )
    echo(f"taken in: {', '.join(parts)}; `journal sync` tells MLflow of them")


def compact(
    older_than: Annotated[
        int, typer.Option("--older-than", metavar="DAYS", help="Runs that began before that day.")
    ],
    home: Home = "lab",  # type: ignore[assignment]
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    json: Json = False,
) -> None:
    """Move the raw requests of old runs into Parquet files beside the database.

    Metrics, doubts and logs stay; what needs raw requests (`recompute`, `export --raw`, `merge`)
    reads them from the files. It may be stopped at any time: done again, it goes on.

    Examples:

    - `journal compact --older-than 30 --dry-run`
    - `journal compact --older-than 30`
    """
    from dataclasses import asdict

    from journal import units
    from journal.cli.progress import showing
    from journal.cli.render import plural, print_json

    with showing(quiet=json) as listener:
        done = journal.compact(home, older_than_days=older_than, dry_run=dry_run, listener=listener)
    if json:
        print_json(asdict(done) | {"saved_bytes": done.saved_bytes, "dry_run": dry_run})
        return
    what = f"{plural(done.runs, 'run')} with {plural(done.requests, 'request')}"
    if dry_run:
        size = units.data_size(done.chunk_bytes)
        echo(f"{what} would move, {size} of chunk times and tokens in them")
        return
    before, after, written, saved = map(
        units.data_size,
        (done.database_before_bytes, done.database_after_bytes, done.files_bytes, done.saved_bytes),
    )
    echo(f"{what} moved into {plural(done.files, 'file')} of {written}")
    kept = "the database keeps the room for new rows"
    echo(f"database: {before} before, {after} now; ", end="")
    echo(f"saved: {saved}" if done.saved_bytes > 0 else kept)
