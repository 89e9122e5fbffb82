"""Small web servers of one's own: threaded, quiet, read-only, and closed to other sites' pages."""

import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from journal.errors import UsageError
from journal.serve.own_page import is_from_elsewhere

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # s for each read: a connection that says nothing holds a thread no longer

    def log_message(self, *_: object) -> None:
        pass


class ThreadingWSGIServer(ThreadingMixIn, WSGIServer):
    """A server of WSGI whose threads do not outlive their process."""

    daemon_threads = True

    @classmethod
    def at(cls, host: str, port: int, app: "WSGIApplication") -> Self:
        """The server of `app`, which listens at `host`:`port`. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = type(cls.__name__, (cls,), {"address_family": family})
        server: Self = bound((host, port), _Quiet)
        server.set_app(app)
        return server


def serve_until_stopped(
    app: "WSGIApplication", host: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serve `app` at `host`:`port` (0: any free one) until KeyboardInterrupt; `on_ready` receives
    the address. Raises UsageError for a port that is not free."""
    try:
        server = ThreadingWSGIServer.at(host, port, app)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another with --port"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    on_ready(f"http://{shown}:{server.server_port}/")
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()


def guarded(
    app: "WSGIApplication", host: str, is_served: Callable[[str], bool]
) -> "WSGIApplication":
    """`app` for GET of the paths that `is_served` knows alone, and for its own page alone: no other
    site's name may lead a browser here (DNS rebinding), and no page of another site may ask."""

    def guard(environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        asked = (environ.get(f"HTTP_{name}") for name in ("HOST", "ORIGIN", "SEC_FETCH_SITE"))
        status = None
        if is_from_elsewhere(host, *asked):
            status = "403 Forbidden"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            status = "405 Method Not Allowed"
        elif not is_served(environ["PATH_INFO"]):
            status = "404 Not Found"
        if status is None:
            return app(environ, start)
        start(status, [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]

    return guard
