"""`journal ui`, `journal sync`, `journal recompute` and `journal fake-server`."""

from typing import Annotated

import typer

from journal.cli.options import Home, Json


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
    from journal.tracking.mlflow_ui import serve

    def announce(url: str) -> None:
        print(f"MLflow UI: {url}", flush=True)
        with open_store(home) as store:
            page = newest_charts(store.experiments())
        if page is not None:
            print(f"charts: {url.rstrip('/')}/{page}", flush=True)

    with like_ctrl_c():
        serve(home, host, port, announce=announce)


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
    from journal.cli.render import print_json
    from journal.report.short import summary
    from journal.store.store import open_store
    from journal.tracking.tracker import sync as sync_store

    with showing(quiet=json) as listener, open_store(home) as store:
        report = sync_store(store, home, listener, summary)
    if json:
        print_json(asdict(report))
    else:
        print(f"{report.logged} logged, {report.failed} not yet")
    if report.failed:
        if not json:
            print(report.reason)
        raise typer.Exit(1)


def recompute(
    run_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One run; all without it.")
    ] = None,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Compute every metric again from the stored raw samples, and store what changed.

    Example:

    - `journal recompute last`
    """
    from journal.cli.render import counted, print_json
    from journal.report.run_json import run_json
    from journal.run.summary import recompute as recompute_runs

    changed = recompute_runs(home, run_id)
    if json:
        print_json([run_json(record) for record in changed])
    else:
        ids = ", ".join(record.id[:8] for record in changed)
        print(f"{counted(len(changed), 'run')} changed{': ' + ids if ids else ''}")


def fake_server(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 8000,
    ttft_ms: Annotated[float, typer.Option("--ttft-ms", help="Until the first token.")] = 50.0,
    itl_ms: Annotated[float, typer.Option("--itl-ms", help="Between tokens.")] = 10.0,
    model: Annotated[str, typer.Option("--model", help="The name it serves.")] = "simulated",
    max_running: Annotated[
        int, typer.Option("--max-running", min=1, help="Requests at once; the others wait.")
    ] = 4096,
    stall_at: Annotated[
        float | None,
        typer.Option("--stall-at", metavar="S", help="After the first request it stands still..."),
    ] = None,
    stall: Annotated[float, typer.Option("--stall", metavar="S", help="... for so long.")] = 1.0,
) -> None:
    """Serve a simulated model whose timing is known exactly, to try journal in seconds.

    Examples:

    - `journal fake-server --port 8000 --ttft-ms 50 --itl-ms 10`
    - `journal fake-server --max-running 4 --stall-at 8 --stall 2`
    """
    from journal.simulator.http import Script, serve

    script = Script(
        ttft_s=ttft_ms / 1e3,
        itl_s=itl_ms / 1e3,
        model=model,
        max_running=max_running,
        stall_at_s=stall_at,
        stall_s=stall,
    )
    serve(script, host, port)
