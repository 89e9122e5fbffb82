"""The exporter for Prometheus: readings of this host's GPUs and servers, figures of last runs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal.errors import EndpointError, MeasureError, MissingExtra
from journal.measure.gpu import Gpus
from journal.measure.process import ProcessTree
from journal.metrics.table import rows
from journal.monitor.web_guard import guarded, serve_until_stopped
from journal.records.load_shape import AXIS_NAMES
from journal.records.run import Record
from journal.redaction import hidden, shown_url
from journal.serve.endpoint import normalised, observe
from journal.serve.standing import served
from journal.store.store import Store

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PORT = 9410
RUNS = 200  # the newest so many; of runs of the same cell only the last is shown
CELL = ("experiment", "model", "quantisation", *AXIS_NAMES)
# Name -> help, field of a reading. Names of counters end in _total.
GPU_GAUGES = {
    "journal_gpu_memory_used_bytes": ("Memory in use on the GPU.", "used_bytes"),
    "journal_gpu_memory_total_bytes": ("The GPU's memory.", "total_bytes"),
    "journal_gpu_utilisation_ratio": ("How busy the GPU is, 0 to 1.", "utilisation_fraction"),
    "journal_gpu_power_watts": ("Power that the GPU draws.", "power_w"),
    "journal_gpu_energy_joules_total": (
        "Energy that the GPU has used, by its counter.",
        "energy_j",
    ),
    "journal_gpu_temperature_celsius": ("The temperature of the GPU.", "temperature_c"),
    "journal_gpu_sm_clock_hertz": ("The clock of the GPU's processors.", "sm_clock_hz"),
}


def serve_exporter(
    store: Store,
    home: Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    endpoints: Sequence[str] = (),
    on_ready: Callable[[str], None],
) -> None:
    """Answer Prometheus at http://`host`:`port`/metrics until KeyboardInterrupt; `on_ready`
    receives that address. `endpoints` are base URLs of further servers on this host whose memory is
    exported, beside those that `journal serve` keeps up.

    Raises MissingExtra without prometheus_client, UsageError for a port that is not free, SpecError
    for an endpoint that is no address.
    """
    if find_spec("prometheus_client") is None:
        raise MissingExtra("the exporter", "dashboards")
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry()
    registry.register(Exporter(store, home, endpoints))
    app = guarded(make_wsgi_app(registry), host, lambda path: path in ("/metrics", "/"))
    serve_until_stopped(app, host, port, lambda url: on_ready(f"{url}metrics"))


class Exporter:
    """The collector of all families, which reads them at each scrape. A figure that cannot be read
    is left out, and `journal_gpus` is 0 where there is no GPU. Raises SpecError for an endpoint
    that is no address of a server."""

    def __init__(self, store: Store, home: Path, endpoints: Sequence[str] = ()) -> None:
        for url in endpoints:
            normalised(url)
        self._store, self._home, self._endpoints = store, home, tuple(endpoints)
        self._trees: dict[str, tuple[str, ProcessTree]] = {}
        self._alone = threading.Lock()  # two scrapes at once would share these trees

    def collect(self) -> "Iterator[Metric]":
        """The families of metrics; prometheus_client calls this at each scrape."""
        with self._alone:
            yield from self._gpus()
            yield from self._servers()
            yield from self._runs()

    def _gpus(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families: dict[str, Any] = {}
        for name, (help_, _) in GPU_GAUGES.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            families[name] = kind(name.removesuffix("_total"), help_, labels=("gpu", "name"))
        count = GaugeMetricFamily("journal_gpus", "GPUs that can be read here.")
        try:
            with Gpus() as opened:
                names = {gpu.index: gpu.name or "" for gpu in opened.gpus}
                readings = opened.look(0.0)
        except MeasureError:
            readings, names = [], {}
        for reading in readings:
            for name, (_, field) in GPU_GAUGES.items():
                value = getattr(reading, field)
                if value is not None:
                    labels = [str(reading.device), hidden(names[reading.device])]
                    families[name].add_metric(labels, value)
        count.add_metric([], len(readings))
        yield count
        yield from families.values()

    def _servers(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels = ("base_url", "model")
        memory = GaugeMetricFamily(
            "journal_server_resident_bytes", "Memory of the server's processes.", labels=labels
        )
        cpu = CounterMetricFamily(
            "journal_server_cpu_seconds", "CPU time of the server's processes.", labels=labels
        )
        here = {one.base_url for one in served(self._home)}
        for url in sorted({*here, *self._endpoints}):
            try:
                model, tree = self._tree(url)
                reading = tree.look(0.0)
            except (EndpointError, MeasureError):
                self._trees.pop(url, None)  # gone, or not of this host: looked up again next time
                continue
            where = [shown_url(url), hidden(model)]
            memory.add_metric(where, reading.rss_bytes)
            if reading.cpu_s is not None:
                cpu.add_metric(where, reading.cpu_s)
        yield memory
        yield cpu

    def _tree(self, url: str) -> tuple[str, ProcessTree]:
        if url not in self._trees:
            endpoint = observe(url)
            if endpoint.pid is None:
                raise MeasureError(f"the process behind {url} is not known here")
            self._trees[url] = endpoint.model, ProcessTree(endpoint.pid)
        return self._trees[url]

    def _runs(self) -> "Iterator[Metric]":
        from prometheus_client.core import GaugeMetricFamily

        last: dict[tuple[str, ...], Record] = {}
        for record in self._store.runs(limit=RUNS):
            last[tuple(_label(getattr(record.cell, name)) for name in CELL)] = record
        started = GaugeMetricFamily(
            "journal_run_started_timestamp_seconds", "When the last run began.", labels=CELL
        )
        for labels, record in last.items():
            started.add_metric(labels, record.started_at.timestamp())
        yield started
        for metric in rows(lambda shown: shown.family):
            assert metric.shown.family is not None
            shown = GaugeMetricFamily(
                metric.shown.family.name, metric.shown.family.help, labels=CELL
            )
            for labels, record in last.items():
                value = record.value(metric.name)
                if value is not None:
                    shown.add_metric(labels, value)
            yield shown


def _label(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else hidden(str(value))
