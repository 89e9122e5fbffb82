"""Requests to a port of one's own: whether they are for its own name, and from its own page."""

import re
from urllib.parse import urlsplit

from journal.serve.endpoint import is_loopback


def is_from_elsewhere(host: str, named: str | None, origin: str | None, site: str | None) -> bool:
    """Whether a request to a port at the address `host` is for another name, to which another site
    may have led a browser (DNS rebinding), or comes from the page of another site. `named`,
    `origin` and `site` are its headers Host, Origin and Sec-Fetch-Site; None: it has no such."""
    try:
        place = urlsplit(f"//{named or ''}").netloc
        asked_from = place if origin is None else urlsplit(origin).netloc
    except ValueError:  # a bracket without its other half
        return True
    name = place.rpartition(":")[0] if re.search(r":[0-9]+$", place) else place
    return (
        (is_loopback(host) and not is_loopback(name.strip("[]")))
        or asked_from != place
        or (site or "none") not in ("none", "same-origin")
    )
