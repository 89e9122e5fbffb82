"""Addresses of servers: base URLs as they were given, and the paths below and beside them."""

import re
from urllib.parse import urlsplit, urlunsplit

VERSION = re.compile(r"/v\d+[a-z0-9]*(?=/|$)")  # such as /v1 and /v1beta
# Paths of the API, which people paste with the address.
_ENDS = ("/chat/completions", "/completions", "/models", "/responses", "/embeddings")


def joined(base_url: str, path: str) -> str:
    """The address of `path` below `base_url`, with the query that `base_url` has."""
    parts = urlsplit(base_url)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + path))


def beside(base_url: str, path: str) -> str:
    """The address of `path` beside the API, whose version ends the path of `base_url`."""
    parts = urlsplit(base_url)
    root = re.sub(VERSION.pattern + "$", "", parts.path.rstrip("/"))
    return urlunsplit(parts._replace(path=root + path))


def base_of(url: str) -> str:
    """The base URL in `url`: without spaces around it, a slash at its end, and the path of one of
    the API's requests, and with /v1 where it has no path."""
    parts = urlsplit(url.strip())
    path = parts.path.rstrip("/")
    bare = next((path.removesuffix(end) for end in _ENDS if path.endswith(end)), None)
    if bare is None:
        bare = path or "/v1"
    return urlunsplit(parts._replace(path=bare.rstrip("/")))
