"""Readings of a server while it serves: its GPUs, its process and its /metrics."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from journal.doubts.words import absence
from journal.errors import EndpointError, MeasureError
from journal.language import language, translated
from journal.measure.gpu import Gpus
from journal.measure.histogram import Histogram, histogram
from journal.measure.process import ProcessTree
from journal.measure.server import ServerConnection, complete, names_of, server_reading
from journal.records.engine import Endpoint, EngineFacts
from journal.records.samples import GpuReading, ProcessReading, ServerReading
from journal.serve.endpoint import access_of, is_loopback, observe
from journal.serve.engines.server_kinds import UNREAD
from journal.serve.engines.vllm.request_fields import METRICS_PATH
from journal.serve.standing import server_address

WINDOW_S = 30.0  # of requests that latencies are taken from: in 1 s there may be none


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a server. GPUs are taken together: sums of memory and power, the mean of
    utilisation with the least and the most busy GPU, the hottest. Rates are since the look before;
    latencies, the share of prompt tokens found in the prefix cache, and preemptions are of the last
    `WINDOW_S`. Means are exact; quantiles are drawn from the server's buckets, and no finer than
    those. A figure that cannot be read is None, and `absent` has the reasons. `cards` is the number
    of GPUs, by the name that `journal watch --json` gives it."""

    at: datetime
    at_s: float
    answers: bool = True
    cards: int = 0
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    gpu_fraction: float | None = None
    gpu_fraction_least: float | None = None
    gpu_fraction_most: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    rss_bytes: int | None = None
    cpu_cores: float | None = None
    kv_cache_fraction: float | None = None
    kv_used_bytes: float | None = None
    kv_pool_bytes: int | None = None
    kv_pool_tokens: int | None = None
    kv_block_tokens: int | None = None
    running: float | None = None
    waiting: float | None = None
    output_tokens_per_s: float | None = None
    prompt_tokens_per_s: float | None = None
    ttft_mean_s: float | None = None
    ttft_p50_s: float | None = None
    ttft_p95_s: float | None = None
    itl_mean_s: float | None = None
    itl_p95_s: float | None = None
    prefix_hit_fraction: float | None = None
    preemptions: float | None = None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Page:
    """The readings of one /metrics."""

    server: ServerReading
    ttft: Histogram | None
    itl: Histogram | None


class Watch:
    """A context manager, made by `watch`, that looks at `endpoint` while its block lasts."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._open = ExitStack()
        self._pages: deque[_Page] = deque()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _begin(self) -> None:
        """Find the server's metrics, its process and its GPUs."""
        self._absent: list[str] = []
        self._gone = False
        self._facts: EngineFacts | None = None
        self._cpu: ProcessReading | None = None
        self._connection = self._open.enter_context(ServerConnection(self.endpoint))
        if not self.endpoint.has_metrics:
            others = [one for one in self.endpoint.absent if one.get("variant") in UNREAD]
            self._absent += [absence(one, language()) for one in others] or [
                absence({"variant": "no_metrics"}, language())
            ]
        self._tree = self._find_tree()
        self._gpus = self._find_gpus()

    def _begin_again(self) -> None:
        """Find them again: a server that answers again may be another process by now."""
        with suppress(EndpointError):
            self.endpoint = observe(
                self.endpoint.base_url, self.endpoint.api_key, dict(self.endpoint.headers)
            )
            self._open.close()
            self._begin()

    def look(self) -> Look:
        """One look, now. For a server that does not answer, `answers` is False; the next call tries
        to find it again."""
        if self._gone:
            self._begin_again()
        at_s = time.monotonic()
        page, error = self._page(at_s)
        values = self._of_server(page) if page else {}
        values |= self._of_process(at_s) | self._of_gpus(at_s)
        absent = (*self._absent, *([error] if error else []))
        return Look(at=datetime.now(UTC), at_s=at_s, answers=error is None, absent=absent, **values)

    # ---- the server ------------------------------------------------------------------------

    def _page(self, at_s: float) -> tuple[_Page | None, str | None]:
        if not self.endpoint.has_metrics:
            return None, None
        try:
            text = self._connection.get(METRICS_PATH)
            if self._facts is None:
                self._facts = complete(self.endpoint.facts, self.endpoint)
        except MeasureError as error:
            self._pages.clear()
            self._gone = True
            return None, translated(str(error))
        names = names_of(self.endpoint)
        ttft, itl = histogram(text, names.ttft), histogram(text, names.itl)
        return _Page(server_reading(text, at_s, names), ttft, itl), None

    def _of_server(self, page: _Page) -> dict[str, Any]:
        before = self._pages[-1].server if self._pages else None
        self._pages.append(page)
        while page.server.at_s - self._pages[0].server.at_s > WINDOW_S:
            self._pages.popleft()
        now, first = page.server, self._pages[0]
        ttft, itl = _since(page.ttft, first.ttft), _since(page.itl, first.itl)
        queries, hits = (
            _grown(now, first.server, name)
            for name in ("prefix_queries_total", "prefix_hits_total")
        )
        facts = self._facts or self.endpoint.facts
        fraction, pool_bytes = now.kv_cache_fraction, facts.kv_pool_bytes
        used_bytes = None if fraction is None or pool_bytes is None else fraction * pool_bytes
        return {
            "running": now.running,
            "waiting": now.waiting,
            "kv_cache_fraction": fraction,
            "kv_used_bytes": used_bytes,
            "kv_pool_bytes": pool_bytes,
            "kv_pool_tokens": facts.kv_pool_tokens,
            "kv_block_tokens": facts.block_size,
            "output_tokens_per_s": _rate(now, before, "output_tokens_total"),
            "prompt_tokens_per_s": _rate(now, before, "prompt_tokens_total"),
            "ttft_mean_s": ttft.mean if ttft else None,
            "ttft_p50_s": ttft.quantile(0.5) if ttft else None,
            "ttft_p95_s": ttft.quantile(0.95) if ttft else None,
            "itl_mean_s": itl.mean if itl else None,
            "itl_p95_s": itl.quantile(0.95) if itl else None,
            "prefix_hit_fraction": hits / queries if queries and hits is not None else None,
            "preemptions": _grown(now, first.server, "preemptions_total"),
        }

    # ---- this host -------------------------------------------------------------------------

    def _find_tree(self) -> ProcessTree | None:
        try:
            return None if self.endpoint.pid is None else ProcessTree(self.endpoint.pid)
        except MeasureError as error:
            self._absent.append(translated(str(error)))
            return None

    def _of_process(self, at_s: float) -> dict[str, Any]:
        if self._tree is None:
            return {}
        try:
            now = self._tree.look(at_s)
        except MeasureError as error:
            self._absent.append(translated(str(error)))
            self._tree = None
            return {}
        before, self._cpu = self._cpu, now
        cores = None
        if before and now.cpu_s is not None and before.cpu_s is not None and now.at_s > before.at_s:
            cores = max(0.0, now.cpu_s - before.cpu_s) / (now.at_s - before.at_s)
        return {"rss_bytes": now.rss_bytes, "cpu_cores": cores}

    def _find_gpus(self) -> Gpus | None:
        """The server's GPUs; all of this host's where the driver does not say which serve it."""
        if not is_loopback(urlsplit(self.endpoint.base_url).hostname or ""):
            self._absent.append("The server is on another host: watch there to see its memory.")
            return None
        try:
            gpus = self._open.enter_context(Gpus(self.endpoint.gpus or None))
            held = gpus.holding(self._tree.pids) if self._tree else []
            return self._open.enter_context(Gpus(held)) if held else gpus
        except MeasureError as error:
            self._absent.append(translated(str(error)))
            return None

    def _of_gpus(self, at_s: float) -> dict[str, Any]:
        if self._gpus is None:
            return {}
        try:
            readings = self._gpus.look(at_s, self._tree.pids if self._tree else None)
            used, size = _sum(readings, "used_bytes"), _sum(readings, "total_bytes")
            if used is None:
                used = _known(self._gpus.held_bytes())
        except MeasureError as error:
            self._absent.append(translated(str(error)))
            self._gpus = None
            return {}
        busy = [r.utilisation_fraction for r in readings if r.utilisation_fraction is not None]
        return {
            "cards": len(readings),
            "vram_used_bytes": used,
            "vram_total_bytes": _known(self._gpus.memory_bytes) if size is None else size,
            "gpu_fraction": sum(busy) / len(busy) if busy else None,
            "gpu_fraction_least": min(busy, default=None),
            "gpu_fraction_most": max(busy, default=None),
            "power_w": _sum(readings, "power_w"),
            "temperature_c": max(
                (r.temperature_c for r in readings if r.temperature_c is not None), default=None
            ),
        }


def watch(
    endpoint: Endpoint | str | None = None,
    home: str | Path = "lab",
    *,
    api_key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Watch:
    """Looks at a server, as a block: `with watch(url) as watched: watched.look()`. `endpoint` is a
    base URL (its key is `api_key`, and `headers` go with each request) or comes from `attach` or
    `observe`; None finds the server that `serve` keeps up from `home`, else the one at port 8000.
    Raises EndpointError where none answers."""
    if isinstance(endpoint, Endpoint):
        return Watch(endpoint)
    url = server_address(Path(home), endpoint, access_of(api_key, headers))
    return Watch(observe(url, api_key, headers))


def _since(now: Histogram | None, first: Histogram | None) -> Histogram | None:
    return None if now is None or first is now else now.since(first)


def _grown(now: ServerReading, then: ServerReading, name: str) -> float | None:
    """The growth of a counter; None where the server does not give it, or has set it back."""
    new, old = getattr(now, name), getattr(then, name)
    return None if new is None or old is None or new < old else new - old


def _rate(now: ServerReading, before: ServerReading | None, name: str) -> float | None:
    if before is None or now.at_s <= before.at_s:
        return None
    grown = _grown(now, before, name)
    return None if grown is None else grown / (now.at_s - before.at_s)


def _sum(readings: Sequence[GpuReading], name: str) -> float | None:
    """The sum over GPUs; None where one of them does not give the figure."""
    return _known([getattr(reading, name) for reading in readings])


def _known(values: Sequence[float | None]) -> float | None:
    """The sum; None where a part is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
