"""What if the SLO were another: goodput, good fraction and capacity of every stored setup under
any SLO, from the raw samples, without a run."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import fsum
from pathlib import Path
from typing import Any

from journal.compare.capacity import Capacity, Of, Probe, capacity_of
from journal.compare.setups import Setup, setups_of
from journal.errors import NotFound
from journal.metrics.table import named
from journal.metrics.view import View
from journal.records.experiment import Slo
from journal.records.run import Record
from journal.records.samples import Samples

DECIDED_BY_SLO = ("goodput_per_s", "good_fraction", "steady_good_fraction")
PRICE, ENERGY = "usd_per_million_output_tokens", "energy_per_output_token_j"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supposed:
    """One setup under the supposed SLO, at one pair of lengths: its loads with their verdicts, as a
    search for capacity would give them. `goodput_per_s` maps each load to its good requests/s, the
    mean over its runs; price and energy of output tokens are those at the highest load that holds,
    None where they are not known."""

    setup: Setup
    capacity: Capacity
    goodput_per_s: dict[float, float]
    usd_per_million_output_tokens: float | None
    energy_per_output_token_j: float | None

    def as_json(self) -> dict[str, Any]:
        """The setup as plain JSON values, in SI units."""
        capacity = self.capacity
        return {
            "model": self.setup.model,
            "quantisation": self.setup.quantisation,
            "setup": dict(self.setup.attributes),
            "prompt_tokens": capacity.cell.prompt_tokens,
            "output_tokens": capacity.cell.output_tokens,
            "of": capacity.of,
            "holds_up_to": capacity.holds_up_to,
            "breaks_from": capacity.breaks_from,
            "loads": [self._load_json(probe) for probe in capacity.probes],
            "usd_per_million_output_tokens": self.usd_per_million_output_tokens,
            "energy_per_output_token_j": self.energy_per_output_token_j,
        }

    def _load_json(self, probe: Probe) -> dict[str, Any]:
        return {
            "load": probe.load,
            "verdict": probe.verdict,
            "good_fraction": probe.good.value,
            "good_fraction_low": probe.good.low,
            "good_fraction_high": probe.good.high,
            "goodput_per_s": self.goodput_per_s.get(probe.load),
            "runs": [record.id for record in probe.records],
        }


def whatif(slo: Slo, home: str | Path = "lab") -> tuple[Supposed, ...]:
    """Every setup of the journal in `home` under `slo`, from its good runs with raw samples: those
    that hold it first, the cheapest first where prices are known, else by the load that they hold.

    The figures are those that a run with this SLO would have stored. Raises NotFound where no run
    has samples."""
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        records = [record for record in store.runs() if record.good]
        judged = [
            (record, supposed(record, samples, slo))
            for record in records
            if (samples := store.samples(record.id)) is not None
        ]
    if not judged:
        raise NotFound("no good run of this journal has raw samples: journal run makes some")
    setups = setups_of([record for record, _ in judged])
    groups: dict[tuple[object, ...], list[Record]] = {}
    for (_, record), setup in zip(judged, setups, strict=True):
        cell = record.cell
        of: Of = "rate" if cell.shape.is_open else "concurrency"
        key = (setup, of, cell.prompt_tokens, cell.output_tokens)
        groups.setdefault(key, []).append(record)
    found = [_of_setup(key[0], key[1], slo, group) for key, group in groups.items()]  # type: ignore[arg-type]
    return tuple(sorted(found, key=_order))


def supposed(record: Record, samples: Samples, slo: Slo) -> Record:
    """The run as it would be if its cell had `slo`: what depends on an SLO is computed again."""
    cell = replace(record.cell, slo=slo)
    view = View(replace(samples, cell=cell))
    changed = {name: named(name).figure(view) for name in DECIDED_BY_SLO}
    return replace(record, cell=cell, metrics={**record.metrics, **changed})


def _of_setup(setup: Setup, of: Of, slo: Slo, records: list[Record]) -> Supposed:
    capacity = capacity_of(of, slo, records)
    held = capacity.held.records if capacity.held is not None else ()
    goodput = {p.load: _mean(p.records, "goodput_per_s") for p in capacity.probes}
    return Supposed(
        setup=setup,
        capacity=capacity,
        goodput_per_s={load: value for load, value in goodput.items() if value is not None},
        usd_per_million_output_tokens=_mean(held, PRICE),
        energy_per_output_token_j=_mean(held, ENERGY),
    )


def _mean(records: Iterable[Record], name: str) -> float | None:
    values = [value for record in records if (value := record.value(name)) is not None]
    return fsum(values) / len(values) if values else None


def _order(one: Supposed) -> tuple[bool, bool, float, float]:
    held, usd = one.capacity.holds_up_to, one.usd_per_million_output_tokens
    return held is None, usd is None, usd if usd is not None else 0.0, -(held or 0.0)
