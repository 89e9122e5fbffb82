"""Since last time: what changed beyond the noise, and what else changed, is named; no more."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from journal.plan.cells import cells
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Experiment, Grid, Load
from journal.records.figure import Figure
from journal.records.run import Record
from journal.report.day import Day, collect
from journal.report.document import Section
from journal.report.phrases import words
from journal.report.sections.since import comparisons, since_section
from journal.store.store import Store, open_store

TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MODEL = Engine(model="m", dtype="float16")
Levels = Mapping[tuple[int, str], float]  # what batch 1 or 8 had of a metric, if not the usual


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path)


def measure(
    store: Store,
    days_ago: int,
    levels: Levels = MappingProxyType({}),
    *,
    engine: Engine = MODEL,
    repeats: int = 3,
    seed: int = 0,
    anew: bool = True,
    **of_record: object,
) -> list[Record]:
    """One experiment over two cells, with 1% of noise between repeats, each of which has an engine
    start of its own if `anew`."""
    asked = Experiment(
        name="nightly",
        engines=(engine,),
        grid=Grid(batch=(1, 8), prompt_tokens=(64,)),
        load=Load(repeats=repeats),
    )
    at = NOON - timedelta(days=days_ago)
    begun = store.begin_experiment(asked, at, {})
    chance = np.random.default_rng(100 * days_ago + seed)
    made = []
    for number, cell in enumerate(cells(asked)):
        usual = {"ttft_s.p50": 0.1 * (cell.batch or 1), "output_tokens_per_s": 50.0}
        own = {name: value for (batch, name), value in levels.items() if batch == cell.batch}
        figures = {
            name: Figure(value * float(chance.normal(1, 0.01)))
            for name, value in {**usual, **own}.items()
        }
        record = Record(
            id=f"{days_ago:03}{seed:03}{number:010}",
            experiment_id=begun.id,
            cell=cell,
            status="valid",
            started_at=at + timedelta(minutes=number),
            duration_s=10.0,
            metrics=figures,
            facts=EngineFacts(version="0.32.0"),
            environment={"gpu_driver": "580.65"},
        )
        record = replace(record, **of_record)  # type: ignore[arg-type]
        log = f"{begun.id}-{cell.repeat if anew else 0}.log"
        made.append(replace(record, facts=replace(record.facts, log_path=log, start_s=60.0)))
        store.add_run(made[-1], None)
    return made


def prose(section: Section | None, lang: str = "en") -> str:
    assert section is not None
    speak = words(lang)
    parts = []
    for block in section.blocks:
        if block.kind == "paragraph":
            parts.append(speak.paragraph((block.about, *block.sentences), str))
        elif block.kind == "bullets":
            parts += [f"- {speak.say(item, str)}" for item in block.items]
    return "\n".join(parts)


def today(store: Store) -> str:
    return prose(since_section(comparisons(collect(store, TODAY, UTC))))


def test_a_regression_is_named_with_its_size(store: Store) -> None:
    measure(store, 3)
    measure(store, 0, {(8, "ttft_s.p50"): 1.2})
    text = today(store)
    assert "last on 2026-11-17: 2 cells." in text
    assert "Regressions: worse than then, beyond the noise." in text
    (line,) = [line for line in text.splitlines() if line.startswith("- ")]
    assert line.startswith("- batch 8, 64 prompt tokens: TTFT p50 was ")
    assert "1.5" in line and "95% interval 1.4" in line
    assert "slower in 1" in text and "no difference seen in 2" in text
    assert "Better than then" not in text
    assert "Nothing that is recorded of the engine or the host changed" in text


def test_a_slower_start_is_one_change_however_many_cells_it_served(store: Store) -> None:
    for days_ago, took_s in ((3, 30.0), (0, 60.0)):
        levels = {(batch, "start_warm_s"): took_s for batch in (1, 8)}
        measure(store, days_ago, levels)
    text = today(store)
    assert text.count("- the engine: start of the engine, warm was 3") == 1


def test_what_got_better_is_named_too(store: Store) -> None:
    measure(store, 3)
    measure(store, 0, {(1, "output_tokens_per_s"): 80.0})
    text = today(store)
    assert "Better than then, beyond the noise." in text
    assert "faster in 1" in text
    assert "Regressions" not in text


def test_noise_is_no_change(store: Store) -> None:
    for days_ago in range(8):
        measure(store, days_ago)
    for day in range(7):
        text = prose(since_section(comparisons(collect(store, TODAY - timedelta(days=day), UTC))))
        assert "beyond the noise" not in text
        assert "no difference seen in 2" in text
    assert since_section(comparisons(collect(store, TODAY - timedelta(days=7), UTC))) is None


def test_no_difference_is_seen_without_repeats(store: Store) -> None:
    measure(store, 1, repeats=1)
    measure(store, 0, {(1, "ttft_s.p50"): 0.5}, repeats=1)
    text = today(store)
    assert "not distinguishable from chance in 2, for want of engine starts" in text
    assert "beyond the noise" not in text


def test_repeats_on_one_start_a_day_show_no_difference(store: Store) -> None:
    measure(store, 1, anew=False)
    measure(store, 0, {(1, "ttft_s.p50"): 0.5}, anew=False)
    text = today(store)
    assert "not distinguishable from chance in 2, for want of engine starts" in text
    assert "beyond the noise" not in text
    assert "half a day apart or more: the intervals allow for a drift of the host of 3%" in text
    assert "Engine starts are counted: 1 of 2026-11-19, 1 of 2026-11-20." in text


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"environment": {"gpu_driver": "590.1"}}, "gpu_driver: 580.65, now 590.1"),
        ({"facts": EngineFacts(version="0.33.0")}, "engine_version: 0.32.0, now 0.33.0"),
        ({"engine": replace(MODEL, flags=("--enforce-eager",))}, "flags: –, now --enforce-eager"),
        ({"engine": replace(MODEL, revision="abc123")}, "revision: –, now abc123"),
    ],
    ids=["driver", "version", "flags", "revision"],
)
def test_a_change_of_environment_is_named(
    store: Store, changed: dict[str, object], line: str
) -> None:
    measure(store, 1)
    measure(store, 0, {(1, "ttft_s.p50"): 0.2}, **changed)  # type: ignore[arg-type]
    text = today(store)
    assert "What changed between then and now" in text
    assert f"- {line}" in text.splitlines()
    assert "Regressions" in text
    assert "Nothing that is recorded" not in text


def test_the_last_day_of_the_very_same_cell_goes_before_a_nearer_one_of_another(
    store: Store,
) -> None:
    measure(store, 5)
    measure(store, 2, {(1, "ttft_s.p50"): 0.9}, engine=replace(MODEL, flags=("--slow",)))
    measure(store, 0)
    text = today(store)
    assert "last on 2026-11-15: 2 cells." in text
    assert "beyond the noise" not in text


def test_runs_that_failed_count_neither_then_nor_now(store: Store) -> None:
    measure(store, 4)
    measure(store, 2, {(1, "ttft_s.p50"): 9.0}, status="invalid")
    measure(store, 0)
    measure(store, 0, {(1, "ttft_s.p50"): 9.0}, seed=1, status="failed")
    text = today(store)
    assert "last on 2026-11-16: 2 cells." in text
    assert "beyond the noise" not in text


def test_runs_of_different_environments_are_never_put_together(store: Store) -> None:
    measure(store, 1)
    new = {"gpu_driver": "590.1"}
    measure(store, 1, {(1, "ttft_s.p50"): 0.9}, seed=1, environment=new)
    measure(store, 0)
    (comparison,) = comparisons(collect(store, TODAY, UTC))
    runs = {r.id[:6] for row in comparison.rows for pair in row.match.pairs for r in pair[0]}
    assert runs == {"001000"}, "those with the driver of today"
    assert "- gpu_driver: 580.65, 590.1, now 580.65" in today(store)


def test_cells_that_were_last_measured_on_different_days(store: Store) -> None:
    first = measure(store, 6)
    day = collect(store, TODAY - timedelta(days=6), UTC)
    (second,) = [r for r in measure(store, 3) if (r.cell.batch, r.cell.repeat) == (8, 0)]
    now = measure(store, 0)
    mixed = Day(
        date=TODAY,
        zone=UTC,
        records=tuple(now),
        experiments=day.experiments,
        earlier=(*first, second),
    )
    assert [(f.a.name, len(f.rows)) for f in comparisons(mixed)] == [
        ("2026-11-17", 1),
        ("2026-11-14", 1),
    ]
    assert prose(since_section(comparisons(mixed))).count("Measured before") == 2


def test_a_long_list_of_changes_ends(store: Store) -> None:
    def runs(day: int, factor: float) -> Sequence[Record]:
        (made,) = measure(store, day, repeats=1)[:1]
        return [
            replace(
                made,
                id=f"{day}{n:02}{repeat}",
                started_at=made.started_at + timedelta(seconds=n),
                cell=replace(made.cell, prompt_tokens=16 * (n + 1), repeat=repeat, identity=f"{n}"),
                metrics={"ttft_s.p50": Figure(0.1 * factor * (1 + 0.001 * repeat))},
                facts=replace(made.facts, log_path=f"{day}-{repeat}.log"),
            )
            for n in range(30)
            for repeat in range(2)
        ]

    then, now = runs(1, 1.0), runs(0, 1.5)
    mixed = Day(date=TODAY, zone=UTC, records=tuple(now), experiments=(), earlier=tuple(then))
    section = since_section(comparisons(mixed))
    assert section is not None
    assert "- 22 more" in prose(section)
    (table,) = [block for block in section.blocks if block.kind == "table"]
    assert len(table.rows) == 20


def test_the_chinese_words_are_there(store: Store) -> None:
    measure(store, 1)
    measure(store, 0, {(1, "ttft_s.p50"): 0.2})
    text = prose(since_section(comparisons(collect(store, TODAY, UTC))), "zh")
    assert "退步：比上次差，且超出噪声。" in text
