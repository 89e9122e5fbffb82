"""`journal chat`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from journal.cli.options import Header, Home, Server, access
from journal.cli.render import echo


def chat(
    endpoint: Server = None,
    second: Annotated[
        str | None,
        typer.Option(
            "--second",
            metavar="URL",
            help="Another server, to ask both side by side. A key it needs is read from "
            "JOURNAL_SECOND_API_KEY.",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=1, max=65535, help="The port to listen on.")
    ] = 7860,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="PATH",
            help="The page's password, for the user journal; else JOURNAL_CHAT_PASSWORD is read. "
            "Wanted where others can reach the page.",
        ),
    ] = None,
    header: Header = None,
    home: Home = "lab",  # type: ignore[assignment]
) -> None:
    """Open a chat page on a server, or on two side by side, until Ctrl-C.

    Under each answer stand its TTFT, tokens/s and tokens. Every answer is kept in the journal.

    Examples:

    - `journal chat`
    - `journal chat --endpoint http://127.0.0.1:8000/v1 --second http://127.0.0.1:8001/v1`
    - `journal chat --host 0.0.0.0 --password-file ~/chat-password`
    """
    from contextlib import suppress

    from journal.chat import page
    from journal.chat.several import Server as ChatServer
    from journal.cli.signals import like_ctrl_c
    from journal.serve.endpoint import access_of, is_loopback, normalised
    from journal.serve.standing import server_address
    from journal.store.store import open_store

    password = _password(password_file)
    let_in = access(header)
    servers = [ChatServer(server_address(home, endpoint, let_in), let_in)]
    if second is not None:
        key = os.environ.get("JOURNAL_SECOND_API_KEY")
        servers.append(ChatServer(normalised(second), access_of(key)))

    def announce(url: str) -> None:
        echo(f"chat page: {url}" + (f" (user: {page.USER})" if password else ""), flush=True)
        if not is_loopback(host):
            echo(
                f"anyone who reaches {host} sees this page's login, and every message travels "
                "unencrypted: a tunnel (ssh -L) to 127.0.0.1 is safer",
                file=sys.stderr,
            )

    with open_store(home) as store, like_ctrl_c(), suppress(KeyboardInterrupt):
        page.serve_chat(servers, store, host, port, password=password, announce=announce)


def _password(path: Path | None) -> str | None:
    from journal.errors import SpecError

    if path is None:
        return os.environ.get("JOURNAL_CHAT_PASSWORD") or None
    try:
        password = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--password-file {path} cannot be read: {error}") from None
    if not password:
        raise SpecError(f"--password-file {path} is empty: write the password into it")
    return password
