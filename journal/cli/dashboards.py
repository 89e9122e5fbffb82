"""`journal dashboards`."""

from pathlib import Path
from typing import Annotated

import typer

from journal.cli.options import Home, Json, Server
from journal.cli.render import echo


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
    from journal.monitor.dashboards import write_dashboards
    from journal.serve.standing import DEFAULT_URL, served

    up = served(home)
    url = endpoint or (up[-1].base_url if up else DEFAULT_URL)
    files = [
        str(path)
        for path in write_dashboards(directory, url, exporter=exporter_at, interval_s=interval)
    ]
    if json:
        print_json(files)
        return
    print("\n".join(files))
    echo(f"then: journal exporter, and docker compose up -d in {directory} (it says how)")
