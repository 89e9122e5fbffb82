"""The logs of a home as pages on a loopback port, read-only, for a browser there or at home."""

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from journal.monitor.web_guard import guarded, serve_until_stopped
from journal.serve.endpoint import HOST

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'"


def serve_logs(home: Path, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve the log files of `home` at a loopback address until KeyboardInterrupt; `on_ready`
    receives it. Only logs and their figures are served, to GET of this host's own name. Raises
    UsageError for a port that is not free."""
    folder = (home / "log").resolve()

    def app(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = _file(folder, environ["PATH_INFO"])
        body = _index(folder).encode() if path is None else path.read_bytes()
        headers = [
            ("Content-Type", KINDS[".html" if path is None else path.suffix]),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start("200 OK", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def is_served(path: str) -> bool:
        return path == "/" or _file(folder, path) is not None

    serve_until_stopped(guarded(app, HOST, is_served), HOST, port, on_ready)


def _file(folder: Path, path: str) -> Path | None:
    """The log or figure below `folder` at a path of an address; None where there is none."""
    try:
        file = (folder / path.encode("latin-1").decode().lstrip("/")).resolve()
        whole = file.is_relative_to(folder) and file.suffix in KINDS and file.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return None
    return file if whole else None


def _index(folder: Path) -> str:
    """A page of links to all logs, the newest first."""
    names = sorted((file.name for file in folder.glob("*.html")), reverse=True)
    links = "".join(f'<li><a href="{escape(n)}">{escape(n[:-5])}</a></li>' for n in names)
    return f'<!doctype html><meta charset="utf-8"><title>journal</title><ul>{links}</ul>'
