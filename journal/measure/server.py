"""Readings from a server itself: its /metrics, by the names of its kind, and its /version.

A name that a server does not have stays None: absent is not 0.
"""

import http.client
import math
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple, Self
from urllib.parse import urlencode, urlsplit

from journal.errors import MeasureError, SpecError
from journal.measure.absence import unreadable
from journal.measure.bounded_http import (
    BoundedConnection,
    BoundedTlsConnection,
    Unbounded,
    parsed_json,
    whole_body,
)
from journal.records.address import beside
from journal.records.engine import Endpoint, EngineFacts, MetricNames
from journal.records.samples import ServerReading
from journal.redaction import hidden, remember
from journal.serve.engines.vllm.metric_names import METRICS
from journal.serve.engines.vllm.request_fields import METRICS_PATH, VERSION_PATH
from journal.theory.architecture import architecture
from journal.theory.families import is_named_mixed

# Both are linear in what they read: no part gives back what it took (++, *+), and a name begins
# where no name goes on.
_SAMPLE = re.compile(
    r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*+)[ \t]*+"
    r'(?:\{(?P<labels>(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+)\})?+'
    r"[ \t]*+(?<![A-Za-z0-9_:])(?P<value>[^\s#]++)(?:[ \t]++-?\d++)?+[ \t\r]*+(?:#.*+)?+"
)
_LABEL = re.compile(
    r'(?<![A-Za-z0-9_])([A-Za-z_][A-Za-z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]++|\\.)*+)"'
)
MOST_BYTES = 4 * 2**20  # of one page; vLLM's have 50 KB
# Labels of a pool that are numbers where some layers keep a state and not keys and values.
STATE_LABELS = ("mamba_block_size", "mamba_page_size_padded")
_ESCAPED = re.compile(r"\\(.)")


class PrometheusSample(NamedTuple):
    """One sample of a Prometheus text: a name, its labels and a value."""

    name: str
    labels: Mapping[str, str]
    value: float


def parsed_samples(text: bytes) -> Iterator[PrometheusSample]:
    """The samples of `text` in Prometheus' text format 0.0.4; other lines are passed over.

    Source: https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    for line in text.decode("utf-8", "replace").split("\n"):
        match = _SAMPLE.fullmatch(line.strip(" \t"))
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        labels = {key: _unescaped(raw) for key, raw in _LABEL.findall(match["labels"] or "")}
        yield PrometheusSample(match["name"], labels, value)


def names_of(endpoint: Endpoint) -> MetricNames:
    """The names in the /metrics of `endpoint`: its own, or vLLM's where it names none."""
    return METRICS if endpoint.metric_names is None else endpoint.metric_names


def wanted(text: bytes, names: MetricNames = METRICS) -> bytes:
    """The lines of `text` that a ServerReading needs: about 1 KB of vLLM's 50 KB."""
    starts = tuple(f"{name}{end}".encode() for name in names.read for end in "{ \t")
    return b"\n".join(line for line in text.split(b"\n") if line.startswith(starts))


def server_reading(text: bytes, at_s: float, names: MetricNames = METRICS) -> ServerReading:
    """The reading of one page of /metrics. Where several engines answer (data parallel), counts
    are summed, and the fraction of the KV cache in use is the mean over their equal pools, as in
    vLLM's own log."""
    values: dict[str, list[float]] = {}
    for sample in parsed_samples(text):
        if all(sample.labels.get(rank, "0") == "0" for rank in names.ranks):
            place = sample.labels.get("position")
            name = sample.name if place is None else f'{sample.name}{{position="{place}"}}'
            values.setdefault(name, []).append(sample.value)
    fields: dict[str, float] = {}
    for field, aliases in names.readings.items():
        counts = next((values[name] for name in aliases if name in values), None)
        if counts is not None and all(map(math.isfinite, counts)):
            fields[field] = sum(counts) / (len(counts) if field == "kv_cache_fraction" else 1)
    return ServerReading(at_s=at_s, **fields)


class ServerConnection:
    """One keep-alive connection to `endpoint`, for GETs beside the API's /v1.

    `get` and `look` raise MeasureError when the server does not answer with HTTP 200, in all of
    its answer, within `timeout_s`, or with more than MOST_BYTES.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float = 3.0) -> None:
        url = urlsplit(beside(endpoint.base_url, ""))
        self._root = url.path
        self._where = f"{url.scheme}://{url.netloc}{self._root}"
        self._headers = {"Accept": "*/*", **endpoint.access.sent()}
        remember(*endpoint.secrets)
        self._names = names_of(endpoint)
        self._metrics_path: str | None = None
        host = url.hostname or ""
        self._http = (
            BoundedTlsConnection(host, url.port, timeout=timeout_s, context=_tls())
            if url.scheme == "https"
            else BoundedConnection(host, url.port, timeout=timeout_s)
        )
        self._http.answer_s, self._http.most_bytes = timeout_s, MOST_BYTES

    def get(self, path: str) -> bytes:
        """The body of the answer to GET `path`, for instance "/metrics"."""
        fresh = self._http.sock is None
        try:
            return self._get(path)
        except (http.client.RemoteDisconnected, ConnectionError) as error:
            if fresh:  # otherwise the server has closed an idle connection: try a new one
                raise self._silent(path, error) from error
        except (OSError, ValueError, http.client.HTTPException, Unbounded) as error:
            raise self._silent(path, error) from error
        try:
            return self._get(path)
        except (OSError, ValueError, http.client.HTTPException, Unbounded) as error:
            raise self._silent(path, error) from error

    def _get(self, path: str) -> bytes:
        try:
            self._http.request("GET", self._root + path, headers=self._headers)
            with self._http.getresponse() as answer:
                body = whole_body(answer)
        except BaseException:
            self._http.close()
            raise
        if answer.status != http.HTTPStatus.OK:
            raise unreadable("refused", address=f"{self._where}{path}", status=answer.status)
        return body

    def _silent(self, path: str, error: Exception) -> MeasureError:
        self._http.close()
        reason = " ".join(hidden(str(error)[:300]).split()) or type(error).__name__
        return unreadable("silent", address=f"{self._where}{path}", error=reason)

    def look(self) -> bytes:
        """The lines of /metrics that a ServerReading needs.

        The whole page costs vLLM about 3 ms of its own time, and these names alone a tenth of
        that: its Prometheus client gives them below /metrics/. Servers that do not know this
        request, or answer it with nothing, give the whole page.
        """
        if self._metrics_path is None:
            self._metrics_path = self._cheapest_path()
        return wanted(self.get(self._metrics_path), self._names)

    def _cheapest_path(self) -> str:
        narrow = f"{METRICS_PATH}/?" + urlencode([("name[]", name) for name in self._names.read])
        try:
            return narrow if wanted(self.get(narrow), self._names) else METRICS_PATH
        except MeasureError:
            return METRICS_PATH

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def complete(facts: EngineFacts, endpoint: Endpoint) -> EngineFacts:
    """Fill the unknown fields of `facts` from the server's /version and /metrics; a fact that the
    server does not give stays None. Tokens and bytes of the KV pool are summed over engines. The
    bytes of a pool in /metrics are exact and replace those of a log, which are rounded. Blocks are
    multiplied out only for a model whose layers all keep the same, by its config where `facts` has
    it, else by its labels and its name."""
    with closing(ServerConnection(endpoint)) as connection:
        version = _version(connection) if facts.version is None else facts.version
        pool = names_of(endpoint).pool
        configs = _pool_labels(connection, pool) if endpoint.has_metrics else []
    values = {
        "block_size": _first(configs, "block_size"),
        "kv_pool_bytes": _summed([_integer(config, "kv_cache_memory_bytes") for config in configs]),
        "kv_pool_tokens": _tokens_of_pools(configs, facts.config, endpoint.model),
        "prefix_caching": _flag(configs, "enable_prefix_caching"),
        "kv_cache_dtype": configs[0].get("cache_dtype") if configs else None,
    }
    known = {key: value for key, value in values.items() if getattr(facts, key) is None}
    if values["kv_pool_bytes"] is not None:
        known["kv_pool_bytes"] = values["kv_pool_bytes"]
    return replace(facts, version=version, **known)  # type: ignore[arg-type]


def _version(connection: ServerConnection) -> str | None:
    try:
        answer = parsed_json(connection.get(VERSION_PATH))
    except (MeasureError, ValueError, Unbounded):
        return None
    version = answer.get("version") if isinstance(answer, dict) else None
    return version if isinstance(version, str) else None


def _pool_labels(connection: ServerConnection, pool: str) -> list[Mapping[str, str]]:
    """The labels of the sample `pool`, one mapping for each engine."""
    try:
        page = connection.get(METRICS_PATH)
    except MeasureError:
        return []
    return [sample.labels for sample in parsed_samples(page) if sample.name == pool]


def _tokens_of_pools(
    configs: list[Mapping[str, str]], model: Mapping[str, Any] | None, name: str
) -> int | None:
    """The tokens of all pools: the engines' own counts where they give them, else blocks times
    block size, if all layers keep the same. Engines of one server show the sum of their blocks
    each."""
    own = [_integer(config, "kv_cache_size_tokens") for config in configs]
    if any(count is not None for count in own):
        return _summed(own)
    if not configs or any(map(_keeps_several, configs)):
        return None
    windowed = _integer(configs[0], "sliding_window") is not None
    if (windowed or is_named_mixed(name)) if model is None else not _layers_are_alike(model):
        return None
    blocks = [_integer(config, "num_gpu_blocks") for config in configs]
    size = _integer(configs[0], "block_size")
    if size is None:
        return None
    if len(blocks) > 1 and len(set(blocks)) == 1:
        return None if blocks[0] is None else blocks[0] * size
    total = _summed(blocks)
    return None if total is None else total * size


def _keeps_several(config: Mapping[str, str]) -> bool:
    """Whether the labels of a pool show a model whose layers keep different things: the state of
    Mamba layers, or blocks of a size that is fitted to them."""
    state = any(_integer(config, key) is not None for key in STATE_LABELS)
    size = _integer(config, "block_size")
    return state or (size is not None and size & (size - 1) != 0)


def _layers_are_alike(config: Mapping[str, Any]) -> bool:
    """Whether all layers of a model keep the same of a sequence; True where that is not known."""
    try:
        model = architecture(config)
    except SpecError:
        return True
    return model.states[0] == 0 and model.windowed_layers in (0, model.layers)


def _integer(config: Mapping[str, str], key: str) -> int | None:
    text = config.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _first(configs: list[Mapping[str, str]], key: str) -> int | None:
    return _integer(configs[0], key) if configs else None


def _flag(configs: list[Mapping[str, str]], key: str) -> bool | None:
    text = configs[0].get(key) if configs else None
    return {"True": True, "False": False, "true": True, "false": False}.get(text or "")


def _summed(values: list[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def _unescaped(raw: str) -> str:
    return _ESCAPED.sub(lambda match: {"n": "\n"}.get(match[1], match[1]), raw)


def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
