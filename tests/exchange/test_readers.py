"""Result files in every form that tools were seen to write, and how one is refused."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.cli.app import main
from journal.compare.points import lines, points
from journal.compare.setups import setups_of
from journal.doubts.words import LANGUAGES, sentence
from journal.errors import UsageError
from journal.exchange.import_results import import_results
from journal.plan.cells import identified
from journal.records.load_shape import Unknown
from journal.records.run import Record
from journal.report.run_json import run_json
from journal.store.history import last_measured, place
from journal.store.merge import merge
from journal.store.store import open_store
from journal.tracking.entries import params, run_name
from journal.tracking.mlflow_curves import curves

FORMS = Path(__file__).parent / "data" / "forms"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A form of a file with values in it changed, as a file of its own."""

    def written(name: str, changes: Mapping[str, Any] | None = None, to: str = "") -> Path:
        data = json.loads((FORMS / name).read_text()) | dict(changes or {})
        path = tmp_path / (to or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data))
        return path

    return written


def only(path: Path, home: Path) -> Record:
    (record,) = import_results(path, home).records
    return record


def flags(record: Record) -> set[str]:
    return {doubt.name for doubt in record.doubts if doubt.severity != "note"}


def said(record: Record, lang: str = "en") -> str:
    return "\n".join(sentence(doubt, lang) for doubt in record.doubts)


# ---- GuideLLM --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.5", "0.8"])
def test_a_schedule_of_guidellm_is_taken_only_where_there_is_a_rate(
    version: str, tmp_path: Path
) -> None:
    record = only(FORMS / f"guidellm-sync-{version}.json", tmp_path)
    assert (record.cell.batch, record.cell.rate, flags(record)) == (1, None, set())
    assert record.value("ttft_s.mean") == pytest.approx(0.05, abs=1e-4)
    assert record.value("e2e_s.mean") == pytest.approx(0.96, abs=1e-4)


def test_requests_in_guidellms_warm_up_and_cool_down_are_not_measured(tmp_path: Path) -> None:
    record = only(FORMS / "guidellm-warmup.json", tmp_path)
    assert (record.value("requests"), record.cell.load.requests) == (16, 16)
    assert record.value("ttft_s.mean") == pytest.approx(0.05, abs=1e-4)
    assert "4 requests outside the time that the tool counts" in said(record)


def test_a_report_of_guidellm_without_requests_gives_its_figures(write: Write) -> None:
    (one,) = json.loads((FORMS / "guidellm-sync-0.8.json").read_text())["benchmarks"]
    mean = {"successful": {"mean": 50.0, "median": 49.0, "count": 20}}
    one |= {
        "requests": {"successful": [], "errored": None, "incomplete": None},
        "metrics": {
            "request_totals": {"successful": 20, "errored": 1},
            "time_to_first_token_ms": mean,
        },
    }
    path = write("guidellm-sync-0.8.json", {"benchmarks": [one]})
    record = only(path, path.parent)
    assert (record.value("ttft_s.mean"), record.value("requests")) == (0.05, 21)
    assert (record.value("ttft_s.p50"), flags(record)) == (0.049, {"errors"})
    one["metrics"] = {}
    with pytest.raises(UsageError, match=r"neither requests nor metrics\.request_totals"):
        import_results(write("guidellm-sync-0.8.json", {"benchmarks": [one]}), path.parent)


# ---- AIPerf ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["aiperf-0.10-warmup-first", "aiperf-0.4-old-config", "aiperf-cancelled"]
)
def test_the_measured_phase_of_aiperf_sets_the_load(name: str, tmp_path: Path) -> None:
    record = only(FORMS / f"{name}.json", tmp_path)
    assert (record.cell.model, record.cell.batch, record.duration_s) == ("acme/tiny", 16, 100)
    assert (run_json(record)["prompt_tokens"], run_json(record)["output_tokens"]) == (None, 260)
    assert "how long prompts were" in said(record)


def test_a_length_that_a_file_does_not_tell_is_no_zero(tmp_path: Path) -> None:
    aiperf = import_results(FORMS / "aiperf-cancelled.json", tmp_path).records
    vllm = import_results(FORMS / "vllm-summary.json", tmp_path).records
    assert run_name(aiperf[0].cell) == "tiny b16 p? o260"
    assert params(aiperf[0].cell)["prompt_tokens"] == "none"
    assert params(vllm[0].cell)["prompt_tokens"] == "64"
    both = (*aiperf, *vllm)
    assert lines(points(zip(both, setups_of(both), strict=True)), "prompt_tokens") == []
    with open_store(tmp_path) as store:
        stored = store.run(aiperf[0].id)
        assert (stored.cell.prompt_tokens, stored.cell.output_tokens) == (None, 260)
        earlier = last_measured(store, [stored.cell], datetime.max.replace(tzinfo=UTC))
        assert set(earlier) == {place(stored.cell)}


def test_a_load_that_a_file_does_not_tell_is_no_batch(tmp_path: Path) -> None:
    files = ("genai-perf.json", "inference-perf.json", "vllm-summary.json")
    runs = [only(FORMS / name, tmp_path) for name in files]
    assert [(run.cell.batch, run.cell.rate) for run in runs] == [(None, None)] * 2 + [(4, None)]
    assert runs[0].cell.shape == Unknown() and "load that is not known" in str(runs[0].cell)
    assert run_json(runs[0])["concurrency"] is run_json(runs[0])["rate"] is None
    assert "how many requests were in flight" in said(runs[0])
    with open_store(tmp_path) as store:
        assert store.run(runs[0].id).cell == runs[0].cell
        assert set(last_measured(store, [runs[0].cell], datetime.max.replace(tzinfo=UTC)))
    assert run_name(runs[0].cell) == "tiny load unknown p? o?"
    for day, lang in product({run.started_at.date() for run in runs}, LANGUAGES):
        written = journal.log(tmp_path, day, lang=lang, zone=UTC).markdown.read_text()
        assert "None" not in written.replace("**Doubts.** None", "")
    beside = journal.compare(runs[0].id, runs[2].id, tmp_path)
    assert beside.as_json()
    journal.export(tmp_path / "runs.csv", tmp_path)
    with (tmp_path / "runs.csv").open() as file:
        assert {row["batch"] for row in csv.DictReader(file)} == {"", "4"}


@pytest.mark.parametrize("load", [{"request_rate": "trace"}, {"request_rate": None}])
def test_a_load_of_vllm_is_known_by_its_rate_or_its_limit(
    load: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    unknown = only(write("vllm-summary.json", load | {"max_concurrency": None}), tmp_path)
    assert (unknown.cell.batch, unknown.cell.rate) == (None, None)
    limited = only(write("vllm-summary.json", load | {"max_concurrency": 8}), tmp_path)
    assert (limited.cell.batch, limited.cell.rate) == (8, None)


def test_prompts_of_no_tokens_have_no_known_length(write: Write, tmp_path: Path) -> None:
    """As vllm bench serve writes those of pictures and failed requests."""
    count = len(json.loads((FORMS / "vllm-detailed.json").read_text())["input_lens"])
    record = only(write("vllm-detailed.json", {"input_lens": [0] * count}), tmp_path)
    assert (record.cell.prompt_tokens, record.cell.output_tokens) == (None, 17)
    assert "how long prompts were" in said(record)


def test_runs_without_lengths_are_shown_beside_others(tmp_path: Path) -> None:
    names = ("aiperf-cancelled.json", "genai-perf.json", "sglang.jsonl")
    runs = [run for name in names for run in import_results(FORMS / name, tmp_path).records]
    with open_store(tmp_path) as store:
        for batch in (1, 4):
            cell = identified(replace(runs[0].cell, batch=batch))
            store.add_run(replace(runs[0], id=f"{batch:016x}", cell=cell, status="valid"), None)
        every = store.runs()
    drawn = {curve.name.partition("/")[2] for curve in curves(every, several_outputs=True)}
    assert drawn and all(name.startswith("p- o260 by batch: ") for name in drawn)
    for day, lang in product({run.started_at.date() for run in every}, LANGUAGES):
        written = journal.log(tmp_path, day, lang=lang, zone=UTC).markdown.read_text()
        assert "tok/s" in written
    beside = journal.compare(runs[0].id, runs[1].id, tmp_path)
    assert beside.rows[0].figures and beside.as_json()
    journal.export(tmp_path / "runs.csv", tmp_path)
    with (tmp_path / "runs.csv").open() as file:
        assert {row["prompt_tokens"] for row in csv.DictReader(file)} == {"", "64"}


@pytest.mark.parametrize(
    "warm_up",
    [
        {"name": "warmup", "exclude_from_results": False},
        {"name": "Warm-up"},
        {"kind": "warmup"},
        {"name": "first", "exclude_from_results": True},
    ],
)
def test_a_warm_up_of_aiperf_is_known_by_mark_name_or_kind(
    write: Write, warm_up: dict[str, Any]
) -> None:
    config = {
        "models": {"items": [{"name": "m"}]},
        "phases": [
            {"type": "concurrency", "concurrency": 2, **warm_up},
            {"type": "poisson", "rate": 5.0, "name": "profiling"},
        ],
    }
    path = write("aiperf-0.10-warmup-first.json", {"input_config": config})
    assert only(path, path.parent).cell.rate == 5.0


def test_cancelled_and_partly_failed_runs_carry_their_doubt_and_status(
    write: Write, tmp_path: Path
) -> None:
    cancelled = only(FORMS / "aiperf-cancelled.json", tmp_path)
    assert (cancelled.status, flags(cancelled)) == ("flagged", {"tool_cancelled", "errors"})
    failed = only(FORMS / "aiperf-partly-failed.json", tmp_path)
    assert (failed.status, failed.value("requests"), failed.value("errors")) == (
        "flagged",
        1000,
        300,
    )
    lost = {
        "request_count": None,
        "error_request_count": None,
        "error_summary": [{"count": 3}, {"count": 4}],
        **dict.fromkeys(("time_to_first_token", "request_latency")),
    }
    nothing = only(write("aiperf-partly-failed.json", lost), tmp_path)
    assert (nothing.status, nothing.value("errors")) == ("failed", 7)


def test_cached_tokens_of_aiperf_are_read_and_its_two_files_compared(tmp_path: Path) -> None:
    record = only(FORMS / "aiperf-pair" / "profile_export_aiperf.json", tmp_path)
    with open_store(tmp_path) as store:
        samples = store.samples(record.id)
    assert samples
    assert {trace.cached_tokens for trace in samples.traces} == {96}
    assert {trace.prompt_tokens for trace in samples.traces} == {104}
    assert "tool_differs" in flags(record)
    assert "is 0.05 s by its requests and 0.03 s by the file" in said(record)
    assert "文件写的是 0.03 s" in said(record, "zh")


# ---- vllm bench serve and its family -----------------------------------------------------------


VLLM = sorted(path.name for path in FORMS.glob("vllm-*.json") if "sweep" not in path.name)


@pytest.mark.parametrize("name", VLLM)
def test_every_form_of_vllm_bench_serve_is_taken(name: str, tmp_path: Path) -> None:
    record = only(FORMS / name, tmp_path)
    own = json.loads((FORMS / name).read_text())
    assert record.environment["tool"] == "vllm bench serve"
    assert record.cell.batch == (40 if "no-limit" in name else 4)
    assert (record.cell.prompt_tokens, record.cell.output_tokens) == (64, 17)
    assert record.value("ttft_s.mean") == pytest.approx(own["mean_ttft_ms"] / 1e3)
    assert record.value("requests") == 40
    assert record.value("errors") == (5 if "failed" in name else 0)
    with open_store(tmp_path) as store:
        alone = name in ("vllm-summary.json", "vllm-no-start-times.json")
        assert (store.samples(record.id) is None) == alone


def test_figures_that_contradict_their_requests_are_a_doubt_with_both(tmp_path: Path) -> None:
    spec = only(FORMS / "vllm-spec.json", tmp_path)
    assert spec.value("tpot_s.mean") == pytest.approx(0.005)
    failed = only(FORMS / "vllm-failed-zero-ttft.json", tmp_path)
    pairs = (
        (spec, "tpot_s.mean is 0.005 s by its requests and 0.01 s by the file"),
        (failed, "the number of failed requests is 5 by its requests and 0 by the file"),
    )
    for record, words in pairs:
        assert "tool_differs" in flags(record) and words in said(record)
        assert all(said(record, lang) for lang in LANGUAGES)
    assert "tool_differs" not in flags(only(FORMS / "vllm-detailed.json", tmp_path))


def test_lists_of_latencies_without_times_are_compared_too(write: Write) -> None:
    path = write("vllm-no-start-times.json", {"mean_ttft_ms": 70.0})
    record = only(path, path.parent)
    assert record.value("ttft_s.mean") == pytest.approx(0.05)
    assert "ttft_s.mean is 0.05 s by its requests and 0.07 s by the file" in said(record)


def test_runs_of_a_sweep_are_repeats_and_are_the_same_in_every_file(
    write: Write, tmp_path: Path
) -> None:
    lab, sweep = tmp_path / "lab", tmp_path / "sweep"
    assert len(import_results(FORMS / "vllm-sweep-list.json", lab).new) == 2
    for number in (0, 1):
        change = {"run_number": number, "date": f"20260930-17000{number}"}
        write("vllm-summary.json", change, f"sweep/SERVE--BENCH-a/run={number}.json")
    write("vllm-summary.json", {"model_id": "warm"}, "sweep/SERVE--BENCH-a/warmup.json")
    (sweep / "SERVE--BENCH-a" / "run=2.failure.json").write_text('{"error": "x"}')
    first = import_results(sweep, lab)
    assert [record.cell.repeat for record in first.records] == [0, 1]
    runs = [json.loads((sweep / "SERVE--BENCH-a" / f"run={n}.json").read_text()) for n in (0, 1)]
    (sweep / "SERVE--BENCH-a" / "summary.json").write_text(json.dumps(runs))
    assert import_results(sweep, lab).new == ()
    lines = tmp_path / "appended.json"
    lines.write_text("\n".join(map(json.dumps, [*runs, runs[0] | {"date": "20261001-000000"}])))
    assert len(import_results(lines, lab).new) == 1


def test_sglang_appends_a_run_with_each_line(tmp_path: Path) -> None:
    imported = import_results(FORMS / "sglang.jsonl", tmp_path)
    assert len(imported.new) == len(imported.records) == 2
    record = imported.records[0]
    assert record.environment["tool"] == "SGLang bench_serving"
    assert record.value("ttft_s.mean") == pytest.approx(0.05)
    assert record.value("tpot_s.mean") == pytest.approx(0.01)
    assert import_results(FORMS / "sglang.jsonl", tmp_path).new == ()


# ---- figures alone -----------------------------------------------------------------------------


def figures_of(data: dict[str, Any], home: Path, name: str = "file.json") -> Record:
    path = home / name
    path.write_text(json.dumps(data))
    return only(path, home)


@pytest.mark.parametrize(
    ("name", "tool", "metric", "value"),
    [
        ("inference-perf", "inference-perf", "e2e_s.mean", 0.2),
        ("genai-perf", "GenAI-Perf", "requests_per_s", 4.0),
        ("llmperf_summary", "LLMPerf", "ttft_s.mean", 0.05),
    ],
)
def test_a_tool_without_requests_gives_its_figures_alone(
    name: str, tool: str, metric: str, value: float, tmp_path: Path
) -> None:
    record = only(FORMS / f"{name}.json", tmp_path)
    assert (record.environment["tool"], record.value(metric)) == (tool, value)
    assert run_json(record)["prompt_tokens"] is run_json(record)["output_tokens"] is None
    assert "the file does not say" in said(record) and "文件没有说明" in said(record, "zh")
    assert record.metrics[metric].low is None


def test_whole_reports_of_such_tools_tell_their_load(tmp_path: Path) -> None:
    spread = {"mean": 0.05, "median": 0.04, "p90": 0.08, "p95": 0.09, "p99": 0.1}
    report = {
        "load_summary": {"count": 200, "requested_rate": 10.0, "achieved_rate": 9.9},
        "successes": {
            "count": 190,
            "latency": {"time_to_first_token": spread, "time_per_output_token": spread},
            "throughput": {"requests_per_sec": 9.5, "output_tokens_per_sec": 160.0},
            "prompt_len": {"mean": 64.2},
            "output_len": {"mean": 16.0},
        },
        "failures": {"count": 10},
    }
    record = figures_of(report, tmp_path)
    assert (record.cell.rate, record.cell.prompt_tokens, record.duration_s) == (10.0, 64, 20.0)
    assert (record.value("ttft_s.p90"), record.value("ttft_s.p99")) == (0.08, None)
    assert (record.value("errors"), record.status) == (10, "flagged")
    summary = {
        "Test Duration (s)": 2.0,
        "Concurrency": 4,
        "Request Rate (req/s)": -1,
        "Total Requests": 100,
        "Success Requests": 100,
        "Failed Requests": 0,
        "Avg TTFT (ms)": 50.0,
        "Avg Latency (s)": 0.2,
        "Avg Output Tokens": 16.0,
    }
    rows = [{"Percentiles": "50%", "TTFT (ms)": 49.0}, {"Percentiles": "P99", "TTFT (ms)": 90.0}]
    (tmp_path / "benchmark_percentile.json").write_text(json.dumps(rows))
    (tmp_path / "benchmark_args.json").write_text('{"model": "m"}')
    record = figures_of(summary, tmp_path, "benchmark_summary.json")
    assert (record.cell.model, record.cell.batch) == ("m", 4)
    assert (record.value("ttft_s.mean"), record.value("ttft_s.p50")) == (0.05, 0.049)
    assert (record.value("ttft_s.p99"), record.value("e2e_s.mean")) == (None, 0.2)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("vllm-summary", {"mean_ttft_ms": float("inf")}, ("mean_ttft_ms is inf", "again")),
        ("vllm-summary", {"duration": float("inf")}, ("duration", "inf", "again")),
        ("vllm-summary", {"completed": None, "num_prompts": None}, ("completed", "again")),
        ("vllm-detailed", {"ttfts": {}}, ("ttfts", "{}", "again")),
        ("genai-perf", {"request_throughput": {"unit": "m", "avg": -1}}, ("avg", "-1", "again")),
        ("genai-perf", {"time_to_first_token": {"unit": "h", "avg": 1}}, ("'h'", "again")),
        ("llmperf_summary", {"results_ttft_s_mean": "0.1"}, ("results_ttft_s_mean", "'0.1'")),
        ("inference-perf", {"successes": []}, ("successes", "[]", "again")),
        ("aiperf-cancelled", {"input_config": {"phases": 3}}, ("phases", "3", "again")),
        ("guidellm-sync-0.8", {"benchmarks": "x"}, ("benchmarks", "'x'", "GuideLLM 0.5 to 0.8")),
    ],
)
def test_a_refusal_names_file_value_and_what_to_do_and_stores_nothing(
    write: Write, name: str, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    path = write(f"{name}.json", change)
    with pytest.raises(UsageError) as refused:
        import_results(path, path.parent)
    for word in (path.name, *words):
        assert word in str(refused.value)
    with open_store(path.parent) as store:
        assert store.runs() == store.experiments() == []


NAN = float("nan")
UNKNOWN: list[tuple[str, dict[str, Any], str, float | None]] = [
    ("vllm-summary", {"mean_ttft_ms": NAN}, "ttft_s.mean", None),
    ("vllm-summary", {"mean_ttft_ms": None, "burstiness": None}, "ttft_s.mean", None),
    ("vllm-summary", {"max_concurrency": 4.0, "completed": 40.0}, "requests", 40),
    ("vllm-summary", {"date": "2026-05-01T10:00:00"}, "requests", 40),
    ("vllm-detailed", {"errors": [], "generated_texts": []}, "errors", 0),
    ("sglang", {"mean_ttft_ms": NAN, "errors": []}, "ttft_s.mean", 0.05),
    ("genai-perf", {"time_to_first_token": {"unit": "ms", "avg": NAN}}, "ttft_s.mean", None),
    ("genai-perf", {"time_to_first_token": {"unit": "ns", "avg": 5e7}}, "ttft_s.mean", 0.05),
    ("genai-perf", {"time_to_first_token": {"unit": "\u00b5s", "avg": 5e4}}, "ttft_s.mean", 0.05),
    ("genai-perf", {"time_to_first_token": {"unit": "Seconds", "avg": 0.05}}, "ttft_s.mean", 0.05),
    ("inference-perf", {"failures": None}, "e2e_s.mean", 0.2),
    ("inference-perf", {"load_summary": {"count": 40, "x": None}}, "requests", 40),
]


@pytest.mark.parametrize(
    ("name", "change", "metric", "value"),
    UNKNOWN,
    ids=[f"{name}-{k}" for k, (name, *_) in enumerate(UNKNOWN)],
)
def test_null_and_nan_are_what_a_tool_does_not_know(
    tmp_path: Path, name: str, change: dict[str, Any], metric: str, value: float | None
) -> None:
    form = next(FORMS.glob(f"{name}.json*"))
    data = json.loads(form.read_text().splitlines()[0] if name == "sglang" else form.read_text())
    read = figures_of(data | change, tmp_path).value(metric)
    assert read == (None if value is None else pytest.approx(value))


def test_lists_of_requests_may_lack_what_failed_ones_have_not(tmp_path: Path) -> None:
    data = json.loads((FORMS / "vllm-detailed.json").read_text())
    count = len(data["input_lens"])
    data["ttfts"][0] = data["itls"][0] = data["output_lens"][0] = None
    data["errors"] = ["boom", *[""] * (count - 1)]
    record = figures_of(data, tmp_path)
    assert (record.value("errors"), record.value("requests")) == (1, count)


def test_latencies_of_no_answer_are_no_zeros(tmp_path: Path) -> None:
    data = json.loads((FORMS / "vllm-summary.json").read_text())
    data |= {"completed": 0, "failed": 40}
    data |= {f"{name}_ttft_ms": 0.0 for name in ("mean", "median", "p99")}
    assert figures_of(data, tmp_path).value("ttft_s.mean") is None


def test_a_file_in_utf_16_is_read(tmp_path: Path) -> None:
    text = (FORMS / "vllm-summary.json").read_text()
    path = tmp_path / "wide.json"
    path.write_bytes(text.encode("utf-16"))
    assert import_results(path, tmp_path)


def test_one_bad_line_refuses_the_whole_file(tmp_path: Path) -> None:
    good = (FORMS / "sglang.jsonl").read_text().splitlines()[0]
    path = tmp_path / "cut.jsonl"
    path.write_text(f"{good}\n{good[:200]}")
    with pytest.raises(UsageError, match=r"cut\.jsonl, line 2, is not JSON"):
        import_results(path, tmp_path)
    with open_store(tmp_path) as store:
        assert store.runs() == []


def test_gzip_is_unpacked_within_bounds(tmp_path: Path) -> None:
    path = tmp_path / "result.json.gz"
    whole = gzip.compress((FORMS / "vllm-summary.json").read_bytes())
    path.write_bytes(whole[:-20])
    with pytest.raises(UsageError, match="gzip that cannot be unpacked"):
        import_results(path, tmp_path)
    path.write_bytes(whole)
    assert only(path, tmp_path).value("requests") == 40
    path.write_bytes(gzip.compress(b" " * (257 * 2**20), 1))
    with pytest.raises(UsageError, match="larger than 256 MiB"):
        import_results(path, tmp_path)


# ---- the same file again -------------------------------------------------------------------------


def test_two_imports_at_once_end_in_already_there(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    with ThreadPoolExecutor(4) as pool:
        path = FORMS / "vllm-sweep-list.json"
        every = list(pool.map(lambda _: import_results(path, tmp_path), range(4)))
    assert sorted(len(each.new) for each in every) == [0, 0, 0, 2]
    assert all(each.records == every[0].records for each in every)
    with open_store(tmp_path) as store:
        assert (len(store.runs()), len(store.experiments())) == (2, 1)


def test_two_merges_at_once_take_in_everything_once(tmp_path: Path) -> None:
    import_results(FORMS / "vllm-sweep-list.json", tmp_path / "other")
    open_store(tmp_path / "lab").close()
    with ThreadPoolExecutor(2) as pool:
        merged = list(pool.map(lambda _: merge(tmp_path / "other", tmp_path / "lab"), range(2)))
    assert sorted(each.runs for each in merged) == [0, 2]
    assert sorted(each.experiments for each in merged) == [0, 1]


@pytest.mark.mlflow
def test_runs_that_an_import_left_are_sent_by_the_next_sync_which_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import_results(FORMS / "vllm-summary.json", tmp_path)  # and the process is killed
    monkeypatch.setattr("sys.argv", ["journal", "sync", "--home", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
        raise SystemExit(0)
    out = capsys.readouterr().out
    assert not ended.value.code, out
    assert "among them 1 run of other tools that an import had not sent" in out
    with open_store(tmp_path) as store:
        assert store.pending() == ([], [])
