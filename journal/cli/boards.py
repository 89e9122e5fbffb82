"""`journal exporter` and `journal dashboards`."""

from pathlib import Path
from typing import Annotated

import typer

from journal.cli.options import Home, Json, Server


def exporter(
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="A server on this host whose memory is told too; those of `journal serve` are.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 9410,
    home: Home = "lab",  # type: ignore[assignment]
) -> None:
    """Tell Prometheus of this host's cards, its servers' memory, and the last runs, until Ctrl-C.

    Examples:

    - `journal exporter`
    - `journal exporter --endpoint http://127.0.0.1:8000/v1 --port 9411`
    """
    from journal.monitor.exporter import serve
    from journal.serve.endpoint import normalised
    from journal.store.store import open_store

    urls = [normalised(url) for url in endpoint or ()]
    with open_store(home) as store:
        serve(store, home, host, port, endpoints=urls, on_ready=lambda url: print(url, flush=True))


def dashboards(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them.")],
    endpoint: Server = None,
    exporter_at: Annotated[
        str, typer.Option("--exporter", metavar="HOST:PORT", help="Where journal exporter listens.")
    ] = "127.0.0.1:9410",
    interval: Annotated[
        float, typer.Option("--interval", metavar="S", min=0.5, help="Between two scrapes.")
    ] = 5.0,
    home: Home = "lab",  # type: ignore[assignment]
    json: Json = False,
) -> None:
    """Write Prometheus and Grafana for a server: scraping, rules, alerts, dashboards, compose file.

    Example:

    - `journal dashboards watch/ --endpoint http://127.0.0.1:8000/v1`
    """
    from journal.cli.render import print_json
    from journal.monitor.dashboards import write
    from journal.serve.standing import DEFAULT_URL, served

    up = served(home)
    url = endpoint or (up[-1].base_url if up else DEFAULT_URL)
    files = [str(path) for path in write(directory, url, exporter=exporter_at, interval_s=interval)]
    if json:
        print_json(files)
        return
    print("\n".join(files))
    print(f"then: journal exporter, and docker compose up -d in {directory} (it says how)")
