"""Prometheus histograms, in which vLLM gives its latencies: their growth over a time, and
quantiles of that."""

import math
from dataclasses import dataclass

from journal.measure.server import parsed_samples


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram: `counts[i]` values were at most `bounds[i]`; the last bound is infinite."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        return self.counts[-1]

    @property
    def mean(self) -> float | None:
        return self.sum / self.count if self.count > 0 else None

    def since(self, earlier: "Histogram | None") -> "Histogram":
        """The values that came after `earlier`: all values where `earlier` is None, or where the
        server has restarted its count."""
        if earlier is None or earlier.bounds != self.bounds or earlier.count > self.count:
            return self
        added = (now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(self.bounds, tuple(added), self.sum - earlier.sum)

    def quantile(self, fraction: float) -> float | None:
        """The value below which `fraction` of the values lie, interpolated linearly between the
        bounds of its bucket; the highest finite bound where it lies above that; None without
        values.

        Source: histogram_quantile in https://prometheus.io/docs/prometheus/latest/querying/functions/
        """
        wanted = fraction * self.count
        if self.count <= 0 or len(self.bounds) < 2:
            return None
        place = next((i for i, count in enumerate(self.counts) if count >= wanted), None)
        if place is None:  # counts that do not grow: no histogram
            return None
        if math.isinf(self.bounds[place]):
            return self.bounds[place - 1]
        low, before = (0.0, 0.0) if place == 0 else (self.bounds[place - 1], self.counts[place - 1])
        inside = self.counts[place] - before
        if inside <= 0:
            return self.bounds[place]
        return low + (self.bounds[place] - low) * (wanted - before) / inside


def histogram(text: bytes, name: str) -> Histogram | None:
    """The histogram `name` in a page of /metrics, summed over its label sets; None where the page
    lacks it, or where its label sets have different bounds."""
    start = name.encode()
    lines = b"\n".join(line for line in text.split(b"\n") if line.startswith(start))
    counts: dict[float, list[float]] = {}
    total = 0.0
    for sample in parsed_samples(lines):
        if sample.name == f"{name}_bucket" and "le" in sample.labels:
            bound = _bound(sample.labels["le"])
            if bound is None:
                return None
            counts.setdefault(bound, []).append(sample.value)
        elif sample.name == f"{name}_sum":
            total += sample.value
    bounds = tuple(sorted(counts))
    if not bounds or not math.isinf(bounds[-1]) or len({len(v) for v in counts.values()}) > 1:
        return None
    return Histogram(bounds, tuple(sum(counts[bound]) for bound in bounds), total)


def _bound(text: str) -> float | None:
    """The upper end of a bucket; None for a text that is not one."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
