"""A server that is there already: the models that it serves and the requests that it takes, by
probes."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

import psutil

from journal.errors import EndpointError
from journal.plan.dialect import check_own
from journal.records.address import VERSION, base_of, beside, joined
from journal.records.doubt import Values
from journal.records.engine import Access, Endpoint, MetricNames
from journal.redaction import shown_url
from journal.serve.engines.server_kinds import is_prometheus, kind_at
from journal.serve.engines.vllm.metric_names import METRICS
from journal.serve.engines.vllm.request_fields import METRICS_PATH, VERSION_PATH
from journal.serve.forms import (
    KEY_HINT,
    OUTPUT_TOKENS,
    shortest_request,
    with_form,
)
from journal.serve.probe import NO_ACCESS, Answer, fetch, printable, url_parts

HOST = "127.0.0.1"  # the default address of an engine that the journal starts
VOCABULARY = (1000, 30000)
NAMES_SHOWN = 12
MOST = 1 << 31  # tokens: a larger number is not a count
MOST_COMPARED, LONGEST_COMPARED = 1000, 200  # names of models, and characters of one
PROBE_S = 60.0  # for a short answer, from a server that may still work on abandoned requests
# Programs that forward to a server: their memory says nothing about the server's.
FORWARDERS = {
    *("caddy", "docker-proxy", "envoy", "haproxy", "kubectl", "nginx", "rootlessport"),
    *("socat", "ssh", "traefik"),
}


def attach(
    base_url: str,
    model: str | None = None,
    api_key: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    output_tokens: int = OUTPUT_TOKENS,
    body: Mapping[str, Any] | None = None,
    vocabulary: tuple[int, int] = VOCABULARY,
    metric_names: MetricNames | None = None,
) -> Endpoint:
    """Probe the server at `base_url` with requests as a run sends them, of `output_tokens` each and
    with the fields of `body` (None as a value leaves one out): what it refuses is found out here,
    once. An address without a path is that of a host, whose API is below /v1. `model` may be left
    out where it serves only one; prompts are drawn from the half-open range `vocabulary` of token
    ids. `headers` go with every request. `metric_names` are the names in its /metrics (None:
    vLLM's).

    Raises SpecError for a text that is not an address; EndpointError for a server that cannot be
    reached, wants a key, does not serve `model`, or does not answer as an OpenAI-compatible one.
    """
    check_own(body or {})
    server = _found(base_url, access_of(api_key, headers))
    name, max_model_len = _model(server, model)
    endpoint = Endpoint(
        base_url=server.base_url,
        model=name,
        api_key=api_key,
        headers=server.access.headers,
        max_model_len=max_model_len,
        vocabulary=vocabulary,
        metric_names=metric_names,
    )
    return _with_process(_with_extras(with_form(endpoint, output_tokens, body or {})))


def observe(
    base_url: str, api_key: str | None = None, headers: Mapping[str, str] | None = None
) -> Endpoint:
    """The server at `base_url`, as far as it is known without a request for tokens. `model` names
    all models that it serves. Raises SpecError and EndpointError as `attach` does."""
    server = _found(base_url, access_of(api_key, headers))
    endpoint = Endpoint(
        base_url=server.base_url,
        model=_some(_models(server)),
        api_key=api_key,
        headers=server.access.headers,
    )
    return _with_process(_with_extras(endpoint))


def models_of(base_url: str, access: Access = NO_ACCESS) -> dict[str, int | None]:
    """The models served at `base_url`, each with its longest context in tokens (None: not given);
    empty where the server does not list them. Raises SpecError and EndpointError as `attach`
    does."""
    return _models(_found(base_url, access))


def model_at(
    base_url: str, model: str | None = None, access: Access = NO_ACCESS
) -> tuple[str, str]:
    """The base URL of the server at `base_url` as it answers there, and the name `model` where it
    serves that; None: the only one that it serves. Raises SpecError and EndpointError as `attach`
    does."""
    server = _found(base_url, access)
    return server.base_url, _model(server, model)[0]


def check_answers(endpoint: Endpoint, *, timeout_s: float) -> None:
    """Raise EndpointError where the server no longer answers a short request within `timeout_s` or
    PROBE_S."""
    url, body = endpoint.request_url, shortest_request(endpoint)
    try:
        answer = fetch(url, body=body, access=endpoint.access, timeout_s=min(PROBE_S, timeout_s))
    except EndpointError as error:
        raise EndpointError(f"not measured, since the server is gone: {error}") from None
    if answer.status >= 500 or answer.status in (401, 403, 429):
        raise EndpointError(
            f"not measured, since the server only answers {answer.status} ({answer.message()}): "
            "see its log"
        )


def normalised(base_url: str) -> str:
    """`base_url` without the path of a request, and with /v1 where it has no path. Raises SpecError
    where it is not an http(s) address."""
    url_parts(base_url.strip())
    return base_of(base_url)


def access_of(api_key: str | None, headers: Mapping[str, str] | None = None) -> Access:
    """The key and the headers of requests. Raises EndpointError for characters that no header may
    hold."""
    given = tuple((headers or {}).items())
    names = "".join(name for name, _ in given)
    sound = all(text.isascii() and text.isprintable() for _, text in given)
    if not sound or any(c in ' ()<>@,;:\\"/[]?={}' or not c.isprintable() for c in names):
        raise EndpointError("a header holds characters that no header may hold: check --header")
    return Access(api_key, given)


@dataclass(frozen=True)
class _Server:
    base_url: str
    access: Access

    @property
    def name(self) -> str:
        return shown_url(self.base_url)

    def get(self, path: str) -> Answer:
        return fetch(joined(self.base_url, path), access=self.access)

    def extra(self, path: str) -> Answer:
        """The answer to `path` beside the API; status 0 where no HTTP answer comes."""
        try:
            return fetch(beside(self.base_url, path), access=self.access)
        except EndpointError:
            return Answer(0, b"")


def _found(base_url: str, access: Access) -> _Server:
    """The server at `base_url`. Where that has a path without a version, and lists its models only
    below /v1 of it, its base URL ends there."""
    server = _Server(normalised(base_url), access)
    path = url_parts(server.base_url).path
    if not path or VERSION.search(path) or server.get("/models").status != 404:
        return server
    below = _Server(joined(server.base_url, "/v1"), access)
    return below if below.get("/models").status == 200 else server


def _models(server: _Server, *, needed: bool = True) -> dict[str, int | None]:
    """The models by their names; empty where the server does not list them. One that fails at this
    is as good as one without a list where that is not `needed`."""
    answer = server.get("/models")
    if answer.status in (401, 403):
        raise EndpointError(
            f"{server.name} wants a key ({answer.status}: {answer.message()}): {KEY_HINT}"
        )
    if needed and (answer.status >= 500 or answer.status == 429):
        raise EndpointError(
            f"{server.name} answers {answer.status} ({answer.message()}) when it is asked for its "
            "models: see its log, or name the model with --model"
        )
    if (more := answer.beyond()) is not None:
        raise EndpointError(
            f"{server.name}/models {more}: check that it is the address of a server"
        )
    listed = answer.json().get("data") if answer.status == 200 else None
    served = {
        entry["id"]: entry.get("max_model_len")
        for entry in (listed if isinstance(listed, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("id"), str)
    }
    known = {name: long for name, long in served.items() if type(long) is int and 0 < long < MOST}
    return {name: known.get(name) for name in served}


def _model(server: _Server, model: str | None) -> tuple[str, int | None]:
    """The name of the model for requests, and its longest context in tokens (None: not given)."""
    served = _models(server, needed=model is None)
    if model is None and len(served) != 1:
        what = f"serves {_some(served)}" if served else "does not say what it serves"
        raise EndpointError(f"{server.name} {what}: name one with --model")
    name = next(iter(served)) if model is None else model
    if served and name not in served:
        raise EndpointError(f"{server.name} does not serve {name}; it serves {_some(served, name)}")
    return name, served.get(name)


def _some(names: Iterable[str], like: str = "") -> str:
    """Up to NAMES_SHOWN of the names, the most similar to `like` first."""
    names = sorted(names)
    if len(names) <= MOST_COMPARED:
        short = like[:LONGEST_COMPARED]
        names.sort(key=lambda name: -SequenceMatcher(None, name[:LONGEST_COMPARED], short).ratio())
    more = [f"and {len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
    return ", ".join([printable(name) for name in names[:NAMES_SHOWN]] + more)


def _with_extras(endpoint: Endpoint) -> Endpoint:
    """`endpoint` with the parts that its engine offers beside the OpenAI API, and with the values
    of a doubt "absent" for each part that it lacks."""
    server = _Server(endpoint.base_url, endpoint.access)
    absent = list(endpoint.absent)
    metrics = server.extra(METRICS_PATH)
    page = metrics.body if metrics.status == 200 else b""
    names, lacking = _metrics_at(page, endpoint.metric_names)
    absent += lacking
    version: Any = server.extra(VERSION_PATH).json().get("version")
    if not isinstance(version, str):
        version = None
        absent.append({"variant": "no_version", "path": VERSION_PATH})
    if endpoint.max_model_len is None:
        absent.append({"variant": "no_context"})
    return replace(
        endpoint,
        has_metrics=names is not None,
        metric_names=endpoint.metric_names if names in (None, METRICS) else names,
        facts=replace(endpoint.facts, version=version),
        absent=tuple(absent),
    )


def _metrics_at(
    page: bytes, own: MetricNames | None
) -> tuple[MetricNames | None, tuple[Values, ...]]:
    """The names by which `page` of /metrics is read, `own` where it has them; None with the values
    of a doubt "absent" where it is of a server whose metrics are not read."""
    if own is not None:
        return (own if f"\n{own.prefix}".encode() in page else None), ()
    kind = kind_at(page)
    if kind is not None and kind.names is not None:
        return kind.names, ()
    if kind is not None:
        return None, ({"variant": "metrics_of", "kind": kind.name},)
    return None, ({"variant": "metrics_of_unknown"},) if is_prometheus(page) else ()


# ---- its process -------------------------------------------------------------------------------


def _with_process(endpoint: Endpoint) -> Endpoint:
    """`endpoint` with the process that serves it, where that runs on this host and may be seen."""
    parts = url_parts(endpoint.base_url)
    if not is_loopback(parts.hostname or ""):
        return replace(endpoint, absent=(*endpoint.absent, {"variant": "other_host"}))
    pid = _root_of(listeners(parts.port or (443 if parts.scheme == "https" else 80)))
    if pid is None:
        return replace(endpoint, absent=(*endpoint.absent, {"variant": "no_process"}))
    return replace(endpoint, pid=pid)


def is_loopback(host: str) -> bool:
    """Whether the name or address `host` reaches this host only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listeners(port: int, address: str | None = None) -> set[int | None]:
    """The ids of the processes that listen on `port` here, at `address` or (None) at any; None
    among them stands for a process that may not be seen."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return {None}
    return {
        one.pid
        for one in connections
        if one.status == psutil.CONN_LISTEN
        and one.laddr
        and one.laddr.port == port
        and address in (None, one.laddr.ip)
    }


def _root_of(pids: set[int | None]) -> int | None:
    """The process of `pids` whose children the others are; None where there is no such process, or
    where it only forwards to another."""
    try:
        for pid in pids:
            if pid is None:
                return None
            process = psutil.Process(pid)
            family = {pid, *(child.pid for child in process.children(recursive=True))}
            if pids <= family:
                return None if process.name() in FORWARDERS else pid
    except psutil.Error:
        return None
    return None
