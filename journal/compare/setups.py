"""Setups of servers: runs of different servers, versions or hosts are never averaged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from journal.records.cell import Cell
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.records.sameness import counted, counting


@dataclass(frozen=True, slots=True)
class Setup:
    """One setup of a server: a model, and all attributes that may change its figures, as (name,
    value)."""

    model: str
    quantisation: str | None
    attributes: tuple[tuple[str, str], ...]

    @property
    def simulated(self) -> bool:
        """Whether a scripted server answered in the place of a model."""
        return self.model.startswith("simulated") or "simulated" in self.get("version")

    def get(self, name: str) -> str:
        """The value of the attribute `name`; "" where the setup lacks it."""
        return dict(self.attributes).get(name, "")


def setups_of(records: Sequence[Record]) -> list[Setup]:
    """The setup of each of `records`, in their order. A run that failed before the version of its
    server was known takes the version of the other runs of the same setup, where they have one."""
    made: dict[tuple[int, int], Setup] = {}  # for all runs with one cell and one environment
    bare = []
    for record in records:
        key = (id(record.cell), id(record.environment))
        bare.append(made.get(key) or made.setdefault(key, _setup(record)))
    served: dict[Setup, dict[str, None]] = {}
    for setup, record in zip(bare, records, strict=True):
        if record.facts.version is not None:
            served.setdefault(setup, {})[record.facts.version] = None
    whole: dict[tuple[int, str | None], Setup] = {}
    setups = []
    for setup, record in zip(bare, records, strict=True):
        version = record.facts.version
        if version is None and len(served.get(setup, ())) == 1:
            version = next(iter(served[setup]))
        place = (id(setup), version)
        setups.append(whole.get(place) or whole.setdefault(place, _of_version(setup, version)))
    return setups


def _of_version(setup: Setup, version: str | None) -> Setup:
    first = (("version", version),) if version else ()
    return replace(setup, attributes=(*first, *setup.attributes))


def _setup(record: Record) -> Setup:
    return planned_setup(record.cell, counted(record.environment))  # `setups_of` adds the version


def planned_setup(cell: Cell, around: Mapping[str, object] = MappingProxyType({})) -> Setup:
    """The setup that `cell` asks for, with what is known `around` it: nothing before it has run."""
    known = {**flags_of(cell.engine), **around}
    attributes = tuple((name, str(value)) for name, value in known.items() if value is not None)
    return Setup(cell.model, cell.quantisation, attributes)


def flags_of(engine: Engine | None) -> dict[str, object]:
    """The fields of a managed engine that count for its setup, by name; empty for an endpoint."""
    if engine is None:
        return {}
    values = {name: getattr(engine, name) for name in counting("engine", "setup")}
    values["flags"] = " ".join(engine.flags)
    values["env"] = " ".join(f"{name}={value}" for name, value in engine.env.items())
    return {name: value for name, value in values.items() if value != ""}


def differing(setups: Iterable[Setup]) -> tuple[str, ...]:
    """The names of the attributes that are not the same in all `setups`."""
    setups = list(setups)
    names = dict.fromkeys(name for setup in setups for name, _ in setup.attributes)
    return tuple(name for name in names if len({setup.get(name) for setup in setups}) > 1)
