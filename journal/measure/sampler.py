"""Readings of GPUs, server, its processes and this host, taken beside a load.

Each meter has a daemon thread that sleeps, looks and stores; /metrics is parsed after the run. A
meter that cannot be read, or stops in mid-run, appears in `Readings.absent` with the reason, and
the run goes on.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Generic, Self, TypeVar
from urllib.parse import urlsplit

from journal.errors import MeasureError
from journal.measure import host
from journal.measure.absence import unreadable, values_of
from journal.measure.process import ProcessTree
from journal.measure.server import ServerConnection, names_of, server_reading
from journal.records.doubt import Values
from journal.records.engine import Endpoint
from journal.records.samples import GpuReading, HostReading, ProcessReading, Readings, ServerReading
from journal.serve.engines.server_kinds import UNREAD

PERIOD_S = 0.25
AFTER_FAILURE_S = 1.0
PATIENCE_S = 8.0  # for the last look of a run: two time-outs of a Connection, and some more
DENSE_LOOKS = 20_000  # looks after which the period doubles: memory grows as log(time)

Look = TypeVar("Look")


class Meter(Generic[Look]):
    """A meter that calls `look` at an absolute rhythm in a thread of its own: once before `start`
    returns, once after `stop`, and every `period_s` between, which doubles after every `dense`
    looks. `looks` are the results. A look that raises is counted in `absent` and tried again
    AFTER_FAILURE_S later."""

    def __init__(
        self, name: str, look: Callable[[], Look], period_s: float, dense: int = DENSE_LOOKS
    ) -> None:
        self.looks: list[Look] = []
        self._name, self._look, self._period_s, self._dense = name, look, period_s, dense
        self._began_s = self._due_s = time.monotonic()
        self._worked = True
        self._failures = 0
        self._first_failure: Values = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"journal-{name}", daemon=True)

    def start(self) -> None:
        """Take the first look and start the thread."""
        self._try()
        self._thread.start()

    def stop(self) -> None:
        """Ask for the last look and the end of the thread."""
        self._stop.set()

    def join(self) -> None:
        """Wait up to PATIENCE_S for the end of the thread."""
        self._thread.join(PATIENCE_S)

    @property
    def absent(self) -> tuple[Values, ...]:
        """The looks that failed, as the values of a doubt "absent"; empty where all worked."""
        if not self._failures:
            return ()
        tried = len(self.looks) + self._failures
        failed: Values = {"meter": self._name, "failures": self._failures, "tried": tried}
        return ({"variant": "looks_failed", **failed, **self._first_failure},)

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s()):
            self._try()
        self._try()

    def _pause_s(self) -> float:
        """The time in s until the next look; looks that came due during another are skipped."""
        now_s = time.monotonic()
        period_s = self._period_s * 2 ** (len(self.looks) // self._dense)
        self._due_s += (max(0.0, now_s - self._due_s) // period_s + 1) * period_s
        return max(self._due_s - now_s, 0.0 if self._worked else AFTER_FAILURE_S)

    def _try(self) -> None:
        try:
            self.looks.append(self._look())
            self._worked = True
        except MeasureError as error:
            self._failed(values_of(error))
        except Exception as error:  # noqa: BLE001 - recorded: no meter may end a run
            self._failed({"sentence": f"{type(error).__name__}: {error}"})

    def _failed(self, why: Values) -> None:
        self._worked = False
        if not self._failures:
            after_s = time.monotonic() - self._began_s
            self._first_failure = {"after_s": after_s, "why": why}
        self._failures += 1


class Sampler:
    """A sampler that takes readings from entry to exit of its `with` block; after that they are in
    `readings`.

    Times are in s on the monotonic clock since `origin_s`. Each meter has a reading at the start
    and one at the end, however short the block is. `period_s` None means 0.25 s for /metrics and
    processes, and 0.1 s for GPUs, which are never read more often (gpu.SENSOR_PERIOD_S). A meter
    that cannot be read raises nothing: `readings.absent` names it with the reason.
    """

    def __init__(self, endpoint: Endpoint, origin_s: float, period_s: float | None = None) -> None:
        self.readings = Readings()
        self._endpoint, self._origin_s, self._period_s = endpoint, origin_s, period_s
        self._open = ExitStack()
        self._absent: list[Values] = []

    def __enter__(self) -> Self:
        self._tree = self._find_tree()
        self._processes = self._meter_processes()
        self._gpus = self._meter_gpus()
        self._server = self._meter_server()
        self._host = self._meter_host()
        for meter in self._meters():
            meter.start()
        return self

    def __exit__(self, *_: object) -> None:
        for meter in self._meters():
            meter.stop()
        for meter in self._meters():
            meter.join()
            self._absent += meter.absent
        self._open.close()
        self.readings = Readings(
            gpu=tuple(one for look in _looks(self._gpus) for one in look),
            server=self._server_readings(),
            process=tuple(_looks(self._processes)),
            absent=tuple(self._absent),
            host=tuple(_looks(self._host)),
        )

    def _meters(self) -> Iterator[Meter[Any]]:
        return filter(None, (self._processes, self._gpus, self._server, self._host))

    def _now_s(self) -> float:
        return time.monotonic() - self._origin_s

    def _every_s(self, default_s: float) -> float:
        return default_s if self._period_s is None else self._period_s

    def _find_tree(self) -> ProcessTree | None:
        if self._endpoint.pid is None:
            self._absent.append({"variant": "no_processes"})
            return None
        try:
            return ProcessTree(self._endpoint.pid)
        except MeasureError as error:
            self._absent.append(values_of(error))
            return None

    def _meter_processes(self) -> Meter[ProcessReading] | None:
        tree = self._tree
        if tree is None:
            return None
        return Meter("processes", lambda: tree.look(self._now_s()), self._every_s(PERIOD_S))

    def _meter_host(self) -> Meter[HostReading]:
        tree, here = self._tree, _is_here(self._endpoint.base_url)
        counters = host.Host(self._endpoint.pid if tree else None, whole=bool(tree) or not here)
        return Meter("host", lambda: counters.look(self._now_s()), self._every_s(host.PERIOD_S))

    def _meter_gpus(self) -> Meter[list[GpuReading]] | None:
        endpoint, tree = self._endpoint, self._tree
        if not endpoint.gpus and tree is None and not _is_here(endpoint.base_url):
            self._absent.append({"variant": "not_here"})
            return None
        from journal.measure.gpu import SENSOR_PERIOD_S, Gpus

        pids = None if tree is None else tree.pids
        try:
            gpus = self._open.enter_context(Gpus(endpoint.gpus or None))
            if not endpoint.gpus and pids is not None:
                held = gpus.holding(pids)
                if not held:
                    raise unreadable("gpus_unheld")
                gpus = self._open.enter_context(Gpus(held))
        except MeasureError as error:
            self._absent.append(values_of(error))
            return None
        self._open.callback(lambda: self._absent.extend(gpus.absent))
        return Meter(
            "gpus",
            lambda: gpus.look(self._now_s(), None if tree is None else tree.pids),
            max(self._every_s(SENSOR_PERIOD_S), SENSOR_PERIOD_S),
        )

    def _meter_server(self) -> Meter[tuple[float, bytes]] | None:
        if not self._endpoint.has_metrics:
            if not any(one.get("variant") in UNREAD for one in self._endpoint.absent):
                self._absent.append({"variant": "no_metrics"})
            return None
        connection = self._open.enter_context(ServerConnection(self._endpoint))

        def look() -> tuple[float, bytes]:
            began_s = self._now_s()
            lines = connection.look()
            return (began_s + self._now_s()) / 2, lines

        return Meter("server", look, self._every_s(PERIOD_S))

    def _server_readings(self) -> tuple[ServerReading, ...]:
        names = names_of(self._endpoint)
        readings = tuple(server_reading(text, at_s, names) for at_s, text in _looks(self._server))
        missing = [
            aliases[0]
            for field, aliases in names.readings.items()
            if field not in names.sometimes
            and readings
            and all(getattr(reading, field) is None for reading in readings)
        ]
        if missing:
            self._absent.append({"variant": "metrics_lack", "names": missing})
        return () if len(missing) == len(set(names.readings) - names.sometimes) else readings


def _looks(meter: Meter[Look] | None) -> list[Look]:
    return [] if meter is None else list(meter.looks)


def _is_here(base_url: str) -> bool:
    """Whether `base_url` names this host by a loopback address."""
    host = urlsplit(base_url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")
