"""`journal exporter`."""

from typing import Annotated

import typer

from journal.cli.options import Home


def exporter(
    endpoint: Annotated[
        list[str] | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="Read the memory of this server on this host too, as of those of `journal serve`.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 9410,
    home: Home = "lab",  # type: ignore[assignment]
) -> None:
    """Serve this host's GPUs, its servers' memory and the last runs to Prometheus, until Ctrl-C.

    Examples:

    - `journal exporter`
    - `journal exporter --endpoint http://127.0.0.1:8000/v1 --port 9411`
    """
    from journal.monitor.exporter import serve_exporter
    from journal.serve.endpoint import normalised
    from journal.store.store import open_store

    urls = [normalised(url) for url in endpoint or ()]
    with open_store(home) as store:
        serve_exporter(
            store, home, host, port, endpoints=urls, on_ready=lambda url: print(url, flush=True)
        )
