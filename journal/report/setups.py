"""Which server was measured: runs of different servers, versions or hosts are never averaged."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

from journal.records import Engine, Record
from journal.report.page import Text, say

NOT_PART_OF_A_SETUP = ("model", "quantisation", "python", "start_timeout_s")
# Of the environment: what changes nothing in the figures of a server.
NOT_MEASURED = (
    *("git_", "doctor_", "user"),
    *("version_mlflow", "version_openai", "version_nvidia_ml_py"),
)
DIFFERENCES_SHOWN = 2  # more than this, and a letter stands for them


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
    found = {**flags_of(record.cell.engine), **record.environment}
    attributes = tuple(
        (name, str(value))
        for name, value in found.items()
        if value is not None and not name.startswith(NOT_MEASURED)
    )
    return Setup(record.cell.model, record.cell.quantisation, attributes)


def flags_of(engine: Engine | None) -> dict[str, object]:
    """How a managed engine is started, by the names of Engine's fields; nothing of an endpoint."""
    if engine is None:
        return {}
    names = (each.name for each in fields(Engine) if each.name not in NOT_PART_OF_A_SETUP)
    found = {name: getattr(engine, name) for name in names}
    found["flags"] = " ".join(engine.flags)
    found["env"] = " ".join(f"{name}={value}" for name, value in engine.env.items())
    return {name: value for name, value in found.items() if value != ""}


def last_part(models: Sequence[str]) -> dict[str, str]:
    """The names without the organisations before them, where that leaves them different."""
    short = {model: model.rstrip("/").rpartition("/")[2] for model in models}
    doubles = Counter(short.values())
    return {model: name if doubles[name] == 1 else model for model, name in short.items()}


def abbreviated(models: Sequence[str]) -> dict[str, str]:
    """The first words of the names, as few as tell them apart; of names that begin alike, the
    first and the last word."""
    words = {model: name.split("-") for model, name in last_part(models).items()}
    for count in (2, 3):
        short = {model: "-".join(parts[:count]) for model, parts in words.items()}
        if len(set(short.values())) == len(short):
            return short
    ends = {model: "…".join(dict.fromkeys((parts[0], parts[-1]))) for model, parts in words.items()}
    return ends if len(set(ends.values())) == len(ends) else last_part(models)


def labels(
    setups: Iterable[Setup], name: Callable[[Sequence[str]], dict[str, str]] = last_part
) -> dict[Setup, Text]:
    """A label for each setup, different from all others': its model's name, its quantisation, the
    tool that measured it where that was another, and what else sets it apart from those like it."""
    setups = list(dict.fromkeys(setups))
    names = name(list(dict.fromkeys(setup.model for setup in setups)))
    found: dict[Setup, Text] = {}
    for setup in setups:
        alike = [each for each in setups if _kind(each) == _kind(setup)]
        kind = (setup.quantisation or "", setup.get("tool"))
        parts = (names[setup.model], *kind, _difference(setup, alike))
        text = " ".join(part for part in parts if part)
        marked = say("setup.nameless" if text == "simulated" else "setup.simulated", name=text)
        found[setup] = marked if setup.simulated else text
    return found


def _kind(setup: Setup) -> tuple[str, str | None, str]:
    """What a label always tells; the tool is that of an imported run."""
    return setup.model, setup.quantisation, setup.get("tool")


def differing(setups: Iterable[Setup]) -> tuple[str, ...]:
    """The names of the attributes that are not the same in all `setups`."""
    setups = list(setups)
    names = dict.fromkeys(name for setup in setups for name, _ in setup.attributes)
    return tuple(name for name in names if len({setup.get(name) for setup in setups}) > 1)


def _difference(setup: Setup, alike: list[Setup]) -> str:
    names = differing(alike)
    if not names:
        return ""
    if len(names) > DIFFERENCES_SHOWN:
        return f"({chr(ord('A') + alike.index(setup) % 26)})"
    return ", ".join(f"{name} {setup.get(name) or '–'}" for name in names)
