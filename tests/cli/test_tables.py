"""Tables at 60, 80 and 100 columns: nothing is cut, and rows that differ in meaning differ as
text."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from builders import a_record, an_experiment
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from typer.testing import CliRunner

import journal
from journal import units
from journal.cli.app import app
from journal.cli.tables import table_lines
from journal.compare.ratios import Ratio
from journal.compare.tried import Tried
from journal.host import checks_engine
from journal.records.doubt import Doubt
from journal.records.experiment import ChangeTrial, Engine, Load
from journal.records.figure import Figure
from journal.records.run import Record
from journal.store.store import open_store

WIDTHS = (60, 80, 100)
MODELS = ("mistralai/Mistral-7B-Instruct-v0.2", "meta-llama/Meta-Llama-3-8B-Instruct")
GPUS = ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB")
SIDES = ("--baseline", "tiny-random-mistral", "--candidate", "tiny-random-llama")
DRIFT = Doubt(
    "drift",
    {"metric": "tpot_s", "before_s": 0.04, "after_s": 0.05, "at_fraction": 0.5, "remedy": "look"},
)


def measured() -> list[Record]:
    """Two models on two GPUs, three repeats of two cells; every second one is flagged."""
    records = []
    for model in MODELS:
        for gpu in GPUS:
            for batch in (1, 16):
                for repeat in range(3):
                    number = len(records)
                    record = a_record(
                        *(model, batch, 512),
                        number=number,
                        repeat=repeat,
                        identity=f"{model}-{batch}",
                        load=Load(requests=64, repeats=3),
                        status="flagged" if number % 2 else "valid",
                        doubts=(DRIFT,) if number % 2 else (),
                        metrics={
                            "ttft_s.p50": Figure(0.1234 + number / 1e4, 0.12, 0.13, 64),
                            "tpot_s.p50": Figure(0.0212 + number / 1e5, 0.02, 0.03, 64),
                            "tpot_s.mean": 0.0212 + number / 1e5,
                            "e2e_s.p50": 2.345 + number / 100,
                            "output_tokens_per_s": Figure(12345.6 + 10 * number, 12e3, 13e3, 64),
                            "vram_peak_bytes": 44.16 * 2**30,
                        },
                    )
                    environment = {**record.environment, "gpu_0_name": gpu}
                    records.append(replace(record, environment=environment))
    return records


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    with open_store(folder) as store:
        begun = store.begin_experiment(
            an_experiment(name="two").experiment, measured()[0].started_at, {}
        )
        for record in measured():
            store.add_run(replace(record, experiment_id=begun.id), None)
        for number in range(8):
            failed = a_record("org/Broken-7B", 2**number, 512, number=100 + number)
            store.add_run(
                replace(
                    failed,
                    experiment_id=begun.id,
                    status="failed",
                    duration_s=0.0,
                    metrics={},
                    error="the hub has no org/Broken-7B: look at its name",
                ),
                None,
            )
    return folder


def shown(home: Path, width: int, *asked: str) -> str:
    done = CliRunner().invoke(
        app, [*asked, "--home", str(home)], env={"COLUMNS": str(width)}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "asked",
    [
        ("runs",),
        ("show", "last"),
        ("show", "{first}"),
        ("compare", *MODELS),
        ("compare", *MODELS, "--lang", "zh"),
    ],
    ids=lambda asked: " ".join(part.rsplit("/", 1)[-1] for part in asked),
)
def test_no_table_is_cut(home: Path, width: int, asked: tuple[str, ...]) -> None:
    first = json.loads(shown(home, width, "runs", "--json"))[0]["id"]
    text = shown(home, width, *(part.format(first=first) for part in asked))
    assert "…" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= width


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "demo"
    journal.demo(folder)
    return folder


ENGINE_LOG = Path(__file__).parents[1] / "data" / "engine" / "kv_cache_too_large.log"
PROSE = [
    ("plan", "quickstart", "--home", "{home}"),
    ("quiz", "--home", "{home}"),
    ("quiz", "--lang", "zh", "--home", "{home}"),
    ("checklist", "--home", "{home}"),
    ("whatif", "--slo-e2e-ms", "500", "--home", "{home}"),
    ("check", *SIDES, "--across", "model", "--home", "{home}"),
    ("fit", "Mistral-7B-Instruct-v0.2", "--gpu", "4090"),
    ("fit", "Qwen/Qwen3-8B"),
    ("explain", str(ENGINE_LOG)),
    ("explain", str(ENGINE_LOG), "--lang", "zh"),
    ("doctor",),
    ("verify", "--home", "{home}"),
]


@pytest.fixture(scope="module")
def one_import() -> Iterator[None]:
    """The doctor imports vLLM, which takes seconds, once for all widths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks_engine, "build", cache(checks_engine.build))
        yield


@pytest.mark.usefixtures("one_import")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("asked", PROSE, ids=lambda asked: " ".join(asked[:2]).rsplit("/", 1)[-1])
def test_no_sentence_is_cut(recorded: Path, width: int, asked: tuple[str, ...]) -> None:
    words = [part.format(home=recorded) for part in asked]
    done = CliRunner().invoke(app, words, env={"COLUMNS": str(width)}, catch_exceptions=False)
    assert done.stdout and "…" not in done.stdout
    for line in done.stdout.splitlines():
        assert cell_len(line) <= width or len(line.split()) == 1, "a path stays whole"


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_that_differ_in_meaning_differ_as_text(home: Path, width: int) -> None:
    text = shown(home, width, "runs")
    head, _, body = text.partition("───\n")
    rows = [" ".join(row.split()[1:]) for row in body.split("\n\n") if row.strip()]
    above = " ".join(head.split())
    for name in ("batch", "repeat", "TTFT p50", "TPOT mean", "E2E p50", "output tok/s", "memory"):
        assert name in above or name in text
    for record in measured():
        assert units.seconds(record.value("ttft_s.p50")) in text
        assert units.number(record.value("output_tokens_per_s")) in text
        assert f"{record.started_at.astimezone():%Y-%m-%d %H:%M}" in text
    places = {
        (r.cell.model, str(r.environment["gpu_0_name"]), r.cell.batch, r.cell.repeat)
        for r in measured()
    }
    assert len(places) == 24 and len(set(rows[:24])) == 24
    for gpu in GPUS:
        assert gpu in text, "the GPU sets the runs of one model apart"
    assert text.count("flagged: drift") == 12


def test_a_start_that_failed_is_said_once(home: Path) -> None:
    text = " ".join(shown(home, 80, "runs").split())
    assert text.count("the hub has no org/Broken-7B") == 1
    assert "1 failed start, 8 cells not measured" in text


def test_cells_of_one_length_are_named_by_their_variants_and_engines(home: Path) -> None:
    lines = shown(home, 100, "plan", "structured").splitlines()
    assert [sum(name in line for line in lines) for name in ("free text", "JSON")] == [6, 6]
    text = shown(home, 80, "plan", "speculative")
    assert text.count("SmolLM2-135M-Instruct (A)") == text.count("SmolLM2-135M-Instruct (B)") > 2
    assert "SmolLM2-135M-Instruct (B): flags --speculative-config" in text


def test_a_page_is_in_the_language_that_was_asked_for_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("compare", *MODELS, "--lang", "en")
    english = shown(home, 100, *asked)
    monkeypatch.setenv("JOURNAL_LANG", "zh")
    assert shown(home, 100, *asked) == english


def test_columns_counts_in_pipes(home: Path) -> None:
    lines = {width: shown(home, width, "runs").splitlines() for width in (60, 100)}
    assert len(lines[60]) > len(lines[100])


CELL = st.text(st.sampled_from("ab 中文1,.%"), max_size=30)


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=1, max_size=6)
    ),
    st.integers(24, 120),
)
def test_every_word_of_every_cell_is_shown(rows: list[list[str]], width: int) -> None:
    columns = [f"c{n}" for n in range(len(rows[0]))]
    lines = table_lines(columns, rows, left=columns[:1], kept=columns[:1], width=width)
    assert all(isinstance(line, Text) and line.cell_len <= width for line in lines)
    text = "".join("".join(line.plain.split()) for line in lines)
    for row in rows:
        for cell in row:
            for word in cell.split():
                assert word in text


TRIED = Tried(
    trial=ChangeTrial(
        setting="engine.max_num_seqs=64",
        metric="output_tokens_per_s",
        cause="queue",
        gist="more_at_once",
        low=1.2,
        high=2.5,
        risks=("memory", "latency"),
        run_id="3f9a1b2c4d5e6f70",
    ),
    before=Engine(model=MODELS[0], flags=("--max-num-seqs", "8")),
    after=Engine(model=MODELS[0], flags=("--max-num-seqs", "64")),
    verdict="undecided",
    ratio=Ratio(1.123, 0.987, 1.289, 0.07),
    starts=(4, 4),
    more=12,
    failed="the engine ended with exit code 1: it lacked memory for its KV cache, which takes "
    "12.5 GiB of the 11.25 GiB that are left",
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_no_sentence_of_a_trial_is_cut(
    width: int, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "try_change", lambda *_, **__: [TRIED])
    env = {"COLUMNS": str(width), "JOURNAL_LANG": lang}
    done = CliRunner().invoke(app, ["try"], env=env, catch_exceptions=False)
    assert done.exit_code == 3 and "…" not in done.stdout
    assert all(cell_len(line) <= width for line in done.stdout.splitlines()), done.stdout
    assert '+ flags = ["--max-num-seqs", "64"]' in done.stdout
    for figure in ("12.5 GiB", "11.25 GiB"):
        assert figure in done.stdout, "a number stays beside its unit"


def test_a_column_without_words_is_not_named_above_the_rows() -> None:
    rows = [("TTFT", "a" * 50, "", "64"), ("TPOT", "b" * 50, "", "64")]
    lines = table_lines(("metric", "values", "95% interval", "n"), rows, (), (), 60)
    text = "\n".join(line.plain for line in lines)
    assert "n 64" in text and "interval" not in text
