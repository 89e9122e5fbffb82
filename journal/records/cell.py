"""One point of the grid of an experiment, tried once."""

from dataclasses import dataclass

from journal.records.experiment import Engine, Load, Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the grid, tried once. `batch` is the requests in flight (None in open loop);
    `rate` is the offered requests/s (None in closed loop). `identity` is a hash of all that
    defines the cell, the repeat included; equal identities are the same measurement."""

    experiment: str
    model: str
    quantisation: str | None
    engine: Engine | None
    batch: int | None
    rate: float | None
    prompt_tokens: int
    output_tokens: int
    load: Load
    slo: Slo | None = None
    repeat: int = 0
    seed: int = 0
    identity: str = ""
