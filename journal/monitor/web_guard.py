"""Small web servers of one's own: threaded, quiet, read-only, and closed to other sites' pages."""

import re
import socket
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from journal.errors import UsageError
from journal.serve.endpoint import is_loopback

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
        named = urlsplit(f"//{environ.get('HTTP_HOST', '')}").netloc
        name = named.rpartition(":")[0] if re.search(r":[0-9]+$", named) else named
        origin = environ.get("HTTP_ORIGIN")
        status = None
        if (
            (is_loopback(host) and not (name == "localhost" or is_loopback(name.strip("[]"))))
            or (origin is not None and urlsplit(origin).netloc != named)
            or environ.get("HTTP_SEC_FETCH_SITE", "none") not in ("none", "same-origin")
        ):
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
