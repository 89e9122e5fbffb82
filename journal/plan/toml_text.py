"""An experiment as the TOML of a file: the text that it came from, comments included, with what was
asked instead."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from journal.errors import SpecError
from journal.plan.experiment_file import SECTIONS, SETTLED, parse
from journal.records.experiment import Experiment, Slo

TABLES = tuple(name for name in SECTIONS if name != "engine")


def toml_text(experiment: Experiment) -> str:
    """The text of a file that asks what `experiment` does: its own source, in which the values that
    differ stand in the place of the old ones. Paths in it are those of the experiment, from the
    working directory. Raises SpecError for an experiment without an engine, which a file needs."""
    import tomlkit  # 50 ms, and only needed here

    if not experiment.engines:
        raise SpecError(
            "an experiment file names a model to serve: leave --endpoint out of --toml, or name an "
            "experiment"
        )
    source = experiment.source.removeprefix("\ufeff")
    before = parse(source, default_name=experiment.name, where=experiment.name)
    document: Any = tomlkit.parse(source)
    for name in ("find_capacity", "needed_vram"):
        if getattr(experiment, name) != getattr(before, name):
            document[name] = getattr(experiment, name)
    _write_engines(document, before, experiment)
    for name in TABLES:
        old, new = (_values(name, getattr(each, name)) for each in (before, experiment))
        _write(document, name, old, new)
    _write_what_follows(document, before, experiment)
    return tomlkit.dumps(document)


def _values(name: str, record: Any) -> dict[str, Any]:
    """The fields of a section as a file may give them; those that are absent are None."""
    kind = SECTIONS[name]
    values = asdict(record or Slo())
    settled = SETTLED.get(kind, ())
    return {one.name: _plain(values[one.name]) for one in fields(kind) if one.name not in settled}


def _plain(value: Any) -> Any:
    """`value` in the types that TOML has; a field that is None is left out of a table."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _write(place: Any, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Write what differs into the table `name` of `place`, which is made where it is missing."""
    import tomlkit

    differing = {key: value for key, value in new.items() if value != old[key]}
    if differing and name not in place:
        place[name] = tomlkit.table()
    for key, value in differing.items():
        if value is None:
            place[name].pop(key, None)
        else:
            place[name][key] = value


def _write_engines(document: Any, before: Experiment, after: Experiment) -> None:
    """Write what differs into [engine], and out of its variants where all have the same now."""
    variants = document["engine"].get("variants", [{}])
    for number, (old, new) in enumerate(zip(before.engines, after.engines, strict=True)):
        was, now = (_plain(asdict(each)) for each in (old, new))
        _write(document, "engine", was, now)
        for key in now:
            if now[key] != was[key]:
                variants[number].pop(key, None)


def _write_what_follows(document: Any, before: Experiment, after: Experiment) -> None:
    """Write what a file says in another way than the record, or takes from what else it says."""
    import tomlkit

    workload = after.workload
    if after.load.ramp != before.load.ramp and after.load.ramp is not None:
        document["grid"]["rate"] = after.load.ramp
    if workload.is_built_in and workload.line_lengths:
        document.get("grid", {}).pop("output_tokens", None)
    elif workload.is_built_in and "output_tokens" not in document.get("grid", {}):
        _write(document, "grid", {"output_tokens": None}, _values("grid", after.grid))
    said = parse(tomlkit.dumps(document), default_name=after.name, where=after.name)
    if said.workload.all_lines != workload.all_lines:
        document["workload"]["all_lines"] = workload.all_lines
