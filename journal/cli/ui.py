"""`journal ui` and `journal sync`."""

from typing import Annotated

import typer

from journal.cli.options import Home, Json
from journal.cli.render import echo


def ui(
    home: Home = "lab",  # type: ignore[assignment]
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port to listen on.")] = 5000,
) -> None:
    """Open the MLflow UI on this journal's runs, until Ctrl-C.

    It also prints where the charts of the last experiment are: a line for each engine.

    Example:

    - `journal ui --port 5001`
    """
    from journal.cli.signals import like_ctrl_c
    from journal.store.store import open_store
    from journal.tracking.addresses import newest_charts
    from journal.tracking.mlflow_ui import serve_ui

    def announce(url: str) -> None:
        echo(f"MLflow UI: {url}", flush=True)
        with open_store(home) as store:
            page = newest_charts(store.experiments())
        if page is not None:
            echo(f"charts: {url.rstrip('/')}/{page}", flush=True)

    with like_ctrl_c():
        serve_ui(home, host, port, announce=announce)


def sync(
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Log to MLflow what it could not take when it was measured.

    Example:

    - `journal sync`
    """
    from dataclasses import asdict

    from journal.cli.progress import showing
    from journal.cli.render import plural, print_json
    from journal.report.short import summary
    from journal.store.store import open_store
    from journal.tracking.tracker import sync as sync_store

    with showing(quiet=json) as listener, open_store(home) as store:
        report = sync_store(store, home, listener, summary)
    if json:
        print_json(asdict(report))
    else:
        echo(f"{report.logged} logged, {report.failed} not yet")
        if report.imported:
            runs = plural(report.imported, "run")
            echo(f"among them {runs} of other tools that an import had not sent")
    if report.failed:
        if not json:
            echo(report.reason or "")
        raise typer.Exit(1)
