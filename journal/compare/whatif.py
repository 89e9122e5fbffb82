"""What if the SLO were another: goodput, good fraction and capacity of every stored setup under
any SLO, from the raw samples, without a run."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import fsum
from pathlib import Path
from typing import Any

from journal.compare.capacity import Capacity, Of, Probe, capacity_of
from journal.compare.setups import Setup, setups_of
from journal.errors import NotFound
from journal.metrics.slo_times import SloTimes, figures_under
from journal.records.cell import Cell
from journal.records.experiment import Slo
from journal.records.money import USD, Money
from journal.records.run import Record

IN_USD, PRICE = "usd_per_million_output_tokens", "price_per_million_output_tokens"
ENERGY = "energy_per_output_token_j"
RESTS_ON = (
    "steady_s",
    "steady_requests_per_s",
    IN_USD,
    PRICE,
    ENERGY,
)  # beside what an SLO decides


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
    price_per_million_output_tokens: Money | None
    energy_per_output_token_j: float | None

    def as_json(self) -> dict[str, Any]:
        """The setup as plain JSON values, in SI units."""
        capacity, price = self.capacity, self.price_per_million_output_tokens
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
            "price_per_million_output_tokens": price and asdict(price),
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

    The figures are those that a run with this SLO would have stored; the runs have no others than
    these and what verdict, price and energy rest on. Raises NotFound where no run has samples."""
    from journal.store.slo_runs import runs_with_slo_times
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        runs = list(runs_with_slo_times(store, RESTS_ON))
    if not runs:
        raise NotFound("no good run of this journal has raw samples: journal run makes some")
    cells = {id(record.cell): record.cell for record, _ in runs}  # each is that of many runs
    under = {key: replace(cell, slo=slo) for key, cell in cells.items()}
    records = [supposed(record, times, under[id(record.cell)]) for record, times in runs]
    groups: dict[tuple[Setup, Of, int | None, int | None], list[Record]] = {}
    for record, setup in zip(records, setups_of(records), strict=True):
        cell = record.cell
        of: Of = "rate" if cell.shape.is_open else "concurrency"
        groups.setdefault((setup, of, cell.prompt_tokens, cell.output_tokens), []).append(record)
    found = [_of_setup(setup, of, slo, group) for (setup, of, *_), group in groups.items()]
    prices = (one.price_per_million_output_tokens for one in found)
    priced = len({price.currency for price in prices if price}) == 1
    return tuple(sorted(found, key=partial(_order, priced=priced)))


def supposed(record: Record, times: SloTimes, cell: Cell) -> Record:
    """The run as it would be if its cell were `cell`, which differs in its SLO: what depends on
    that is computed again."""
    return replace(record, cell=cell, metrics={**record.metrics, **figures_under(times, cell)})


def _of_setup(setup: Setup, of: Of, slo: Slo, records: list[Record]) -> Supposed:
    capacity = capacity_of(of, slo, records)
    held = capacity.held.records if capacity.held is not None else ()
    goodput = {p.load: _mean(p.records, "goodput_per_s") for p in capacity.probes}
    return Supposed(
        setup=setup,
        capacity=capacity,
        goodput_per_s={load: value for load, value in goodput.items() if value is not None},
        usd_per_million_output_tokens=_mean(held, IN_USD),
        price_per_million_output_tokens=mean_price(held),
        energy_per_output_token_j=_mean(held, ENERGY),
    )


def mean_price(records: Sequence[Record]) -> Money | None:
    """The mean price of a million output tokens; None where `records` have several currencies."""
    currencies = {record.facts.currency for record in records} - {None}
    if len(currencies) != 1:
        return None
    currency = str(currencies.pop())
    mean = _mean(records, IN_USD if currency == USD else PRICE)
    return None if mean is None else Money(amount=mean, currency=currency)


def _mean(records: Iterable[Record], name: str) -> float | None:
    values = [value for record in records if (value := record.value(name)) is not None]
    return fsum(values) / len(values) if values else None


def _order(one: Supposed, *, priced: bool) -> tuple[bool, bool, float, float]:
    """The key that sorts setups; prices count where all are in one currency (`priced`)."""
    held = one.capacity.holds_up_to
    price = one.price_per_million_output_tokens if priced else None
    return held is None, price is None, price.amount if price else 0.0, -(held or 0.0)
