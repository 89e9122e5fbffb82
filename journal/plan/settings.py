"""Single settings of an engine, such as engine.max_num_seqs=64: read, applied, and shown as a
difference of TOML."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from journal.errors import SpecError
from journal.plan.experiment_file import validated
from journal.records.experiment import Engine, Experiment

SECTION = "engine."
FIXED = ("model", "python", "env", "flags", "start_timeout_s")  # another server, or no setting


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of an engine: a field of [engine], or else a flag of its program under its name
    with underscores."""

    name: str
    value: str | int | float | bool

    def __str__(self) -> str:
        return f"{SECTION}{self.name}={_toml(self.value)}"


def parsed_setting(text: str) -> Setting:
    """The setting that `text` names, such as "engine.max_num_seqs=64". Raises SpecError for what is
    none."""
    place, given, value = text.partition("=")
    name = place.strip().removeprefix(SECTION).replace("-", "_")
    if not place.strip().startswith(SECTION) or not given or not name.isidentifier() or not value:
        raise SpecError(f"--set {text}: write engine.NAME=VALUE, such as engine.max_num_seqs=64")
    if name in FIXED:
        raise SpecError(f"--set {text}: {name} is no setting to try: name another experiment")
    try:
        read = json.loads(value)
    except ValueError:
        read = value.strip().strip("'\"")
    if not isinstance(read, str | int | float):
        raise SpecError(f"--set {text}: a value is a number, true, false or a word")
    return Setting(name, read)


def changed_engine(engine: Engine, setting: Setting) -> Engine:
    """`engine` with `setting`. Raises SpecError for a value that its field does not take."""
    if setting.name in {field.name for field in fields(Engine)}:
        given: dict[str, Any] = {setting.name: setting.value}
        engine = replace(engine, **given)
    else:
        engine = replace(engine, flags=_with_flag(engine.flags, setting))
    return validated(Experiment(name="setting", engines=(engine,))).engines[0]


def _with_flag(flags: tuple[str, ...], setting: Setting) -> tuple[str, ...]:
    """`flags` with that of the setting in the place of its former value."""
    name = setting.name.replace("_", "-")
    kept: list[str] = []
    values = iter(flags)
    skipping = False
    for word in values:
        own = word.partition("=")[0] in (f"--{name}", f"--no-{name}")
        if own or (skipping and not word.startswith("-")):
            skipping = own and "=" not in word
            continue
        skipping = False
        kept.append(word)
    if isinstance(setting.value, bool):
        return (*kept, f"--{name}" if setting.value else f"--no-{name}")
    return (*kept, f"--{name}", str(setting.value))


def engine_difference(before: Engine, after: Engine) -> tuple[str, ...]:
    """The lines of [engine] that differ, as a TOML difference: "-" before those that go, "+" before
    those that come."""
    return ("  [engine]", *_differing(asdict(before), asdict(after)))


def _differing(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name, value in after.items():
        if value != before[name]:
            for sign, shown in (("-", before[name]), ("+", value)):
                if shown is not None and shown != ():
                    yield f"{sign} {name} = {_toml(shown)}"


def _toml(value: Any) -> str:
    """A value as TOML writes it; of strings, numbers and lists of these that is JSON's way."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
