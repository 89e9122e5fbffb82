"""Which server was measured: runs of different servers, versions or hosts are never averaged."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from journal.records.experiment import Engine
from journal.records.run import Record
from journal.records.sameness import counted, counting


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to serve: a model, and all that may change its figures, as (name, value)."""

    model: str
    quantisation: str | None
    attributes: tuple[tuple[str, str], ...]

    @property
    def simulated(self) -> bool:
        """Whether a scripted server answered, and no model."""
        return self.model.startswith("simulated") or "simulated" in self.get("version")

    def get(self, name: str) -> str:
        return dict(self.attributes).get(name, "")


def setups_of(records: Sequence[Record]) -> list[Setup]:
    """The setup of each of `records`. A run that failed before its server told its version
    belongs to the one version that served the same way, where there is only one."""
    bare = [_setup(record) for record in records]
    served: dict[Setup, dict[str, None]] = {}
    for setup, record in zip(bare, records, strict=True):
        if record.facts.version is not None:
            served.setdefault(setup, {})[record.facts.version] = None
    found = []
    for setup, record in zip(bare, records, strict=True):
        version = record.facts.version
        if version is None and len(served.get(setup, ())) == 1:
            version = next(iter(served[setup]))
        said = (("version", version),) if version else ()
        found.append(replace(setup, attributes=(*said, *setup.attributes)))
    return found


def _setup(record: Record) -> Setup:
    flags = flags_of(record.cell.engine)
    around = counted(record.environment)  # the version comes with `setups_of`
    found = {name: value for name, value in {**flags, **around}.items() if value is not None}
    attributes = tuple((name, str(value)) for name, value in found.items())
    return Setup(record.cell.model, record.cell.quantisation, attributes)


def flags_of(engine: Engine | None) -> dict[str, object]:
    """How a managed engine is started, by the names of Engine's fields; nothing of an endpoint."""
    if engine is None:
        return {}
    found = {name: getattr(engine, name) for name in counting("engine", "setup")}
    found["flags"] = " ".join(engine.flags)
    found["env"] = " ".join(f"{name}={value}" for name, value in engine.env.items())
    return {name: value for name, value in found.items() if value != ""}


def differing(setups: Iterable[Setup]) -> tuple[str, ...]:
    """The names of the attributes that are not the same in all `setups`."""
    setups = list(setups)
    every = dict.fromkeys(name for setup in setups for name, _ in setup.attributes)
    return tuple(name for name in every if len({setup.get(name) for setup in setups}) > 1)
