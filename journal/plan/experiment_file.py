"""Experiment files: strict TOML, parsed once. docs/experiments.md describes every key."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from journal.errors import SpecError
from journal.paths import file_is_at
from journal.plan.cells import check_count
from journal.plan.check_claims import check_claims
from journal.plan.ramp import mean_rate
from journal.records.claim import Claim
from journal.records.engine import GpuRates
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.records.money import USD, read_money
from journal.records.workload import BUILT_IN, Length, Workload
from journal.redaction import HIDDEN, in_text, means_secret, remember

SECTIONS = {"engine": Engine, "grid": Grid, "load": Load, "slo": Slo, "workload": Workload}
# Fields that are written elsewhere, or settled before the experiment begins.
SETTLED: Mapping[type, tuple[str, ...]] = {
    Workload: ("content", "shared_prefix", "line_lengths"),
    Load: ("ramp", "variant"),
}
AS_THEY_ARE = ("question", "hypothesis", "find_capacity", "needed_vram", "quality_check", "predict")
TOP_LEVEL = ("name", *AS_THEY_ARE, *SECTIONS, "host", "claim")
RATES = tuple(field.name for field in fields(GpuRates))
MOST_BYTES = 1 << 20  # of a file
# A key of so many parts, whose reading takes a time that grows with their square.
DEEP_KEY = re.compile(r"""(?<![\w-])(?:["']?[\w-]{1,200}+["']?[ \t]*\.[ \t]*){100}""", re.ASCII)
HOST_KEYS = ("usd_per_hour", "price_per_hour", *RATES)


def shipped() -> dict[str, Path]:
    """The experiments that come with this package, by name."""
    here = Path(__file__).parent.parent
    for folder in (here / "experiments", here.parent / "experiments"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def load_experiment(path_or_name: Experiment | str | Path) -> Experiment:
    """The experiment in a TOML file, or the one of that name that ships with this package. An
    Experiment is returned as it is.

    Raises SpecError, which names the file, the key and the nearest known key.
    """
    if isinstance(path_or_name, Experiment):
        check_count(path_or_name)
        check_claims(path_or_name.claims, len(path_or_name.compared), path_or_name.name)
        return path_or_name
    path = Path(path_or_name)
    if not file_is_at(path):
        known = shipped()
        if str(path_or_name) not in known:
            raise SpecError(
                f"there is no experiment file {str(path_or_name)!r}, and none of that name ships "
                f"with journal{_nearest(str(path_or_name), known)} "
                f"(shipped: {', '.join(known)})"
            )
        path = known[str(path_or_name)]
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"{path} holds more than 1 MiB: it is no experiment file")
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return _beside(path, parse(source, default_name=path.stem, where=str(path)))


def _beside(path: Path, experiment: Experiment) -> Experiment:
    """`experiment` with files of prompts that are named from the directory of its own file."""
    workload = experiment.workload
    if workload.prompts is not None and not workload.is_named:
        workload = replace(workload, prompts=str(path.parent / workload.prompts))
    if workload.trace is not None:  # an absolute path stays what it is
        workload = replace(workload, trace=str(path.parent / workload.trace))
    mix = tuple(
        replace(
            part,
            prompt_tokens=_from(path, part.prompt_tokens),
            output_tokens=_from(path, part.output_tokens),
        )
        for part in workload.mix
    )
    return replace(experiment, workload=replace(workload, mix=mix))


def _from(path: Path, length: Length) -> Length:
    """A length of a mix, whose file is named from the directory of the file at `path`."""
    named = isinstance(length, str) and length.startswith("@")
    return f"@{path.parent / str(length)[1:]}" if named else length


def parse(source: str, *, default_name: str, where: str) -> Experiment:
    """The experiment in the TOML text `source`; `where` names it in errors (SpecError)."""
    remember(*in_text(source))
    try:
        if DEEP_KEY.search(source):
            raise RecursionError
        raw = tomllib.loads(source.removeprefix("\ufeff"))  # as editors of Windows write it
    except RecursionError:
        raise SpecError(
            f"{where} is not valid TOML: it is nested deeper than an experiment file may be"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{where} is not valid TOML: {str(error)[:300]}") from None
    except ValueError:  # of int()
        raise SpecError(f"{where} holds a number of thousands of digits: shorten it") from None
    _check_keys(raw, TOP_LEVEL, "the top level", where)
    host = _table(raw, "host", where)
    _check_keys(host, HOST_KEYS, "[host]", where)
    values: dict[str, Any] = {
        "name": raw.get("name", default_name),
        **{key: raw[key] for key in AS_THEY_ARE if key in raw},
        "engines": _engines(_table(raw, "engine", where), where),
        **{key: _section(raw, key, where) for key in SECTIONS if key in raw and key != "engine"},
        **_price(host, where),
        "card_rates": _card_rates(host, where),
        "claims": _claims(raw, where),
        "source": source,
    }
    rate = values.get("grid", {}).get("rate")
    if isinstance(rate, str):
        values["grid"] = {**values["grid"], "rate": [mean_rate(rate)]}
        values["load"] = {**values.get("load", {}), "ramp": rate}
    workload = values.get("workload", {})
    if "requests" in values.get("load", {}):
        workload.setdefault("all_lines", False)
    if str(workload.get("prompts")).startswith(BUILT_IN):
        workload["line_lengths"] = "output_tokens" not in values.get("grid", {})
    return _validated(values, where)


def _price(host: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The price of the host as fields of an experiment: in USD, or in another currency."""
    given = host.get("price_per_hour")
    if given is None:
        return {"usd_per_hour": host.get("usd_per_hour")}
    if "usd_per_hour" in host:
        raise SpecError(f"{where} has usd_per_hour and price_per_hour under [host]: leave out one")
    found = price_fields(str(given), f"{where}: host.price_per_hour")
    price = found["price_per_hour"]
    return {**found, "price_per_hour": price and asdict(price)}


def price_fields(text: str, name: str) -> dict[str, Any]:
    """The fields of an experiment for the price `text`, which `name` gives. Raises SpecError where
    it is no price."""
    price = read_money(text)
    if price is None:
        raise SpecError(
            f"{name} = {text[:60]!r} is not a price above 0, such as 1.20 (USD), '12.5 CNY' or "
            "'¥12.5'"
        )
    in_usd = price.currency == USD
    return {
        "usd_per_hour": price.amount if in_usd else None,
        "price_per_hour": None if in_usd else price,
    }


def validated(experiment: Experiment) -> Experiment:
    """The same experiment, checked against the limits of a file's values (SpecError)."""
    return _validated(asdict(experiment), "the options")


def _claims(raw: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The tables of [[claim]], as they are."""
    tables = raw.get("claim", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SpecError(f"{where}: claims are written as [[claim]]")
    for table in tables:
        _check_keys(table, _keys_of(Claim), "[[claim]]", where)
    return tables


def _card_rates(host: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The rates of the GPU in [host]; None where it has none. A floor under latency needs both of
    the first two (SpecError)."""
    rates = {key: host[key] for key in RATES if key in host}
    missing = [key for key in RATES[:2] if key not in rates]
    if rates and missing:
        raise SpecError(f"{where}: [host] gives {next(iter(rates))} and lacks {missing[0]}")
    return rates or None


def _engines(table: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
    """The keys of [engine], once for each [[engine.variants]], whose keys replace them."""
    common = {key: value for key, value in table.items() if key != "variants"}
    variants = table.get("variants", [{}])
    if not isinstance(variants, list) or not all(isinstance(table, dict) for table in variants):
        raise SpecError(f"{where}: variants of the engine are written as [[engine.variants]]")
    engines = [common | variant for variant in variants]
    for engine in engines:
        _check_keys(engine, _keys_of(Engine), "[engine]", where)
        if "model" not in engine:
            raise SpecError(f'{where}: [engine] needs a model, for instance model = "{_A_MODEL}"')
    return engines


NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # in JSON
_A_MODEL = "mistralai/Mistral-7B-Instruct-v0.2"


def _section(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = _table(raw, key, where)
    _check_keys(table, _keys_of(SECTIONS[key]), f"[{key}]", where)
    return table


def _table(raw: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    table = raw.get(key, {})
    if not isinstance(table, dict):
        raise SpecError(f"{where}: {key} is a table, written as [{key}]")
    return table


def _keys_of(record: type) -> list[str]:
    return [field.name for field in fields(record) if field.name not in SETTLED.get(record, ())]


def _check_keys(table: Mapping[str, Any], known: Iterable[str], place: str, where: str) -> None:
    known = list(known)
    for key in table:
        if key not in known:
            raise SpecError(
                f"{where}: {place} has no key {key[:60]!r}{_nearest(key, known)} "
                f"(known: {', '.join(known)})"
            )


def _nearest(key: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(key[:60], list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _validated(values: Mapping[str, Any], where: str) -> Experiment:
    from pydantic import TypeAdapter, ValidationError  # 0.1 s, and only needed here

    check_predictions(values.get("predict", {}), where)
    try:
        text = json.dumps(values, ensure_ascii=False)
        if NUL.search(text):
            raise SpecError(f"{where}: a value has a NUL character, which nothing takes: drop it")
        experiment = TypeAdapter(Experiment).validate_json(text.encode(), strict=True)
        check_count(experiment, f"{where}: ")
        check_claims(experiment.claims, len(experiment.compared), where)
        return experiment
    except UnicodeEncodeError:
        raise SpecError(
            f"{where}: a value has half a character, which nothing takes: drop it"
        ) from None
    except RecursionError:
        raise SpecError(f"{where} is nested deeper than an experiment file may be") from None
    except TypeError as error:  # a date or time, which no key of ours takes
        raise SpecError(f"{where}: dates and times are not values of any key: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])[:100]
        kept = means_secret(str(first["loc"][-1])) if first["loc"] else False
        value = HIDDEN if kept else _short(first["input"])
        raise SpecError(
            f"{where}: {key} = {value} cannot be used: {first['msg'].lower()}"
        ) from None
    except ValueError:  # of json: a whole number of thousands of digits
        raise SpecError(f"{where}: a number has more digits than any key takes") from None


def _short(value: Any) -> str:
    """A value as a file may give it, up to about 60 characters."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list) and len(value) > 6:
        return "a list"
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # the ValueError: of an integer with many digits
        return "a value"
    return text if len(text) <= 60 else f"{text[:60]}..."


def check_predictions(predict: Any, where: str) -> None:
    """Refuse (SpecError) a prediction of a metric that does not exist."""
    if not predict or not isinstance(predict, dict):
        return
    from journal.metrics.table import place_of_key, predictable  # numpy, and only needed here

    known = predictable()
    for key in predict:
        name = key.partition("@")[0]
        if name not in known:
            raise SpecError(
                f"{where}: [predict] names no metric {name[:60]!r}{_nearest(name, known)} "
                "(docs/metrics.md has them all, with underscores for dots)"
            )
        try:
            place_of_key(key)
        except ValueError as error:
            raise SpecError(f"{where}: [predict] {key[:60]!r} is about no cells: {error}") from None
