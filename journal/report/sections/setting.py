"""The setups of an experiment: its servers as they were started, and its host."""

from collections.abc import Iterable, Iterator, Sequence

from journal import units
from journal.compare.points import Points
from journal.compare.setups import Setup, differing
from journal.metrics.beside_theory import of_engine
from journal.records.engine import StartPhases
from journal.records.run import Record
from journal.report.document import (
    Block,
    Box,
    Bullets,
    Column,
    Paragraph,
    Section,
    Table,
    Text,
    say,
)
from journal.report.places import Places

HOSTS_NAMED = 12
SWITCHES = {"True": say("on"), "False": say("off")}
SHOWN = (
    *("version", "dtype", "tensor_parallel", "executor"),
    *("max_model_len", "prefix_caching", "flags"),
)


def setting_section(points: Points, places: Places) -> Section:
    """A section with a table of the servers, the settings that differ, and the hosts."""
    setups = list(dict.fromkeys(point.setup for point in points))
    records = {s: [r for p in points if p.setup == s for r in p.records] for s in setups}
    blocks: list[Block] = [_servers(setups, records, places)]
    blocks += [Paragraph((say("setting.simulated"),))] if any(s.simulated for s in setups) else []
    apart = tuple(_apart(setups))
    if apart:
        blocks += [Paragraph((say("setting.apart"),)), Bullets(apart)]
    host = tuple(_host(points[0].records[0]))
    blocks += [Paragraph(host)] if host else []
    where = tuple(_where(record for point in points for record in point.records))
    blocks += [Paragraph((say("host.several", hosts=where),))] if len(where) > 1 else []
    return Section(3, say("setting.heading"), tuple(blocks))


def _shown(setup: Setup, name: str) -> Text:
    """A setting as text; the number of GPUs as `4`, in stages as `4 x 2`."""
    value, stages = setup.get(name), setup.get("pipeline_parallel")
    if name == "tensor_parallel" and stages not in ("", "1"):
        return f"{value} x {stages}"
    return SWITCHES.get(value, value)


def _servers(setups: Sequence[Setup], records: dict[Setup, list[Record]], places: Places) -> Table:
    named = any(setup.model != places.labels[setup] for setup in setups)
    rows = [
        [
            Box(places.labels[setup]),
            Box(setup.model if named else ""),
            Box(setup.quantisation or ""),
            *(Box(_shown(setup, name)) for name in SHOWN),
            *_facts(records[setup]),
        ]
        for setup in setups
    ]
    names = ("setup", "model", "quantisation", *SHOWN, "start_kind", *FACTS)
    without = {"tensor_parallel"} if not any(map(_has_gpu, records.values())) else set()
    kept = [
        n for n in range(len(names)) if names[n] not in without and any(row[n].text for row in rows)
    ]
    columns = (Column(say(f"column.{names[n]}"), numeric=names[n] in FACTS) for n in kept)
    return Table(tuple(columns), tuple(tuple(_filled(row[n]) for n in kept) for row in rows))


def _has_gpu(records: Sequence[Record]) -> bool:
    """Whether a host of `records` is not known to be without a GPU."""
    return any(
        not record.environment.get("gpu_absent") and record.environment.get("gpus") != 0
        for record in records
    )


PHASES = ("start_download_s", "start_load_s", "start_compile_s", "start_graphs_s", "start_init_s")
FACTS = ("start_s", *PHASES, "weights_bytes", "kv_pool_bytes", "kv_pool_tokens")


def _facts(records: Sequence[Record]) -> Iterator[Box]:
    """The figures of the engine itself, from the least to the most over its starts, and whether
    these were cold or warm."""
    yield Box(_kinds(records))
    for name in FACTS:
        known = [v for record in records if (v := _of_facts(record, name)) is not None]
        ends = (min(known), max(known)) if known else ()
        if name == "kv_pool_tokens":
            shown = [f"{end:,.0f}" for end in ends]
        else:
            shown = [units.formatted(end, "bytes" if "bytes" in name else "s") for end in ends]
        yield Box("–".join(dict.fromkeys(shown)))


def _kinds(records: Sequence[Record]) -> Text:
    phases = (record.facts.phases for record in records)
    kinds = dict.fromkeys(one.kind for one in phases if one is not None and one.kind is not None)
    return tuple(say(f"start.{kind}") for kind in kinds) or ""


def _of_facts(record: Record, name: str) -> float | None:
    if name == "start_s":
        return record.facts.start_s
    if name in PHASES:
        duration: float | None = getattr(
            record.facts.phases or StartPhases(), name.removeprefix("start_")
        )
        return duration
    return of_engine(record, name)


def _filled(box: Box) -> Box:
    return box if box.text else Box(units.ABSENT)


def _apart(setups: Sequence[Setup]) -> Iterator[Text]:
    """The settings that differ between setups of one model, beyond its quantisation: such runs are
    never averaged in the log."""
    for model in dict.fromkeys(setup.model for setup in setups):
        alike = [setup for setup in setups if setup.model == model]
        for name in differing(alike):
            values = tuple(dict.fromkeys(setup.get(name) or units.ABSENT for setup in alike))
            yield say("setting.differs", model=model, name=name, values=values)


def _where(records: Iterable[Record]) -> Iterator[str]:
    """Every host, and the user who measured on it."""
    places = dict.fromkeys((r.environment.get("host"), r.environment.get("user")) for r in records)
    named = [f"{host} ({user})" if user else str(host) for host, user in places if host]
    yield from named[:HOSTS_NAMED]
    if len(named) > HOSTS_NAMED:
        yield f"… ({len(named):,})"


def _host(record: Record) -> Iterator[Text]:
    here = record.environment
    gpus = [str(here[f"gpu_{n}_name"]) for n in range(int(here.get("gpus") or 0))]
    memory = here.get("memory_limit_bytes") or here.get("memory_bytes")
    parts: list[Text] = [str(here["cpu"])] if here.get("cpu") else []
    if here.get("cpu_threads_usable"):
        parts.append(say("host.threads", n=str(here["cpu_threads_usable"])))
    if isinstance(memory, int):
        parts.append(say("host.memory", size=units.data_size(memory)))
    parts += [f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus)]
    if here.get("gpu_driver"):
        parts.append(say("host.driver", version=str(here["gpu_driver"])))
    if here.get("os"):
        parts.append(str(here["os"]))
    if parts:
        yield say("host.all", parts=tuple(parts))
    if here.get("gpu_absent"):
        yield say("host.no_gpu")
