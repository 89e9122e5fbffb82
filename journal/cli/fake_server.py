"""`journal fake-server`."""

from typing import Annotated

import typer


def fake_server(
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="The port; 0 takes a free one.")] = 8000,
    ttft_ms: Annotated[float, typer.Option("--ttft-ms", help="Until the first token.")] = 50.0,
    itl_ms: Annotated[float, typer.Option("--itl-ms", help="Between tokens.")] = 10.0,
    prefill_ms_per_token: Annotated[
        float,
        typer.Option("--prefill-ms-per-token", help="More until the first, per prompt token."),
    ] = 0.0,
    prefill_blocks: Annotated[
        bool,
        typer.Option("--prefill-blocks", help="Make no other token while a prompt is read."),
    ] = False,
    prefix_caching: Annotated[
        bool,
        typer.Option("--prefix-caching", help="Read equal beginnings of prompts once."),
    ] = False,
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

    Its base URL is printed.

    Examples:

    - `journal fake-server --port 8000 --ttft-ms 50 --itl-ms 10`
    - `journal fake-server --max-running 4 --stall-at 8 --stall 2`
    """
    from journal.simulator.http import Script, serve

    script = Script(
        ttft_s=ttft_ms / 1e3,
        itl_s=itl_ms / 1e3,
        prefill_s_per_token=prefill_ms_per_token / 1e3,
        prefill_blocks=prefill_blocks,
        prefix_caching=prefix_caching,
        model=model,
        max_running=max_running,
        stall_at_s=stall_at,
        stall_s=stall,
    )
    shown = f"[{host}]" if ":" in host else host
    serve(script, host, port, on_ready=lambda own: print(f"http://{shown}:{own}/v1", flush=True))
