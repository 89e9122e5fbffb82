"""Runs as Benchmark Reports: valid by the schema's own package, with the same figures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.cli.app import main
from journal.errors import NotFound, UsageError
from journal.exchange.benchmark_report import benchmark_report, export_reports
from journal.records.figure import Figure
from journal.records.run import Record, Status
from journal.records.samples import Samples
from journal.records.workload import Workload
from journal.store.store import Store

FORMS = Path(__file__).parent / "data" / "forms"
NewRecord = Callable[..., Record]


def checked(report: dict[str, Any]) -> Any:
    """The report as the schema's own package reads it."""
    package = pytest.importorskip(
        "llmd_benchmark_report", reason="llmd-benchmark-report is not installed"
    )
    return package.load_benchmark_report(report)


def reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/journal.db"


def test_a_report_has_the_figures_of_its_run(new_record: NewRecord) -> None:
    record = new_record()
    report = benchmark_report(record)
    assert (report["version"], report["run"]["uid"]) == ("0.2", record.id)
    aggregate = report["results"]["request_performance"]["aggregate"]
    assert report["scenario"]["load"]["standardized"]["concurrency"] == 8
    assert report["scenario"]["load"]["standardized"]["input_seq_len"]["value"] == 64
    native = report["scenario"]["load"]["native"]["config"]
    assert native["intervals_95"]["ttft_s.p50"] == [0.09, 0.11]
    assert [doubt["name"] for doubt in native["doubts"]] == ["few-samples", "prefix-cache"]
    assert "latency" not in aggregate, "the schema asks for a mean, and this run has none"
    whole = replace(record, metrics={"ttft_s.mean": Figure(0.1), "ttft_s.p50": Figure(0.09)})
    latency = benchmark_report(whole)["results"]["request_performance"]["aggregate"]["latency"]
    assert latency == {"time_to_first_token": {"units": "s", "mean": 0.1, "p50": 0.09}}


@pytest.mark.parametrize("name", ["vllm-detailed", "inference-perf", "aiperf-cancelled"])
def test_reports_are_valid_by_the_schema(name: str, tmp_path: Path) -> None:
    journal.import_results(FORMS / f"{name}.json", tmp_path)
    assert export_reports(tmp_path / "reports", tmp_path) == 1
    (report,) = reports(tmp_path / "reports")
    read = checked(report)
    assert read.version == "0.2"
    latency = read.results.request_performance.aggregate.latency
    assert latency.request_latency.mean > 0.1
    assert (read.scenario.load is None) == (name != "vllm-detailed")


def test_reports_are_valid_with_and_without_an_engine(new_record: NewRecord) -> None:
    record = new_record()
    with_gpu = replace(record, facts=replace(record.facts, card="NVIDIA L4"))
    for one in (record, with_gpu, replace(record, metrics={})):
        checked(benchmark_report(one))


RANDOM = Workload()
KINDS: dict[str, tuple[dict[str, Any], Workload, dict[str, Any]]] = {
    "closed": ({"batch": 8}, RANDOM, {"concurrency": 8, "source": "random"}),
    "open": ({"batch": None, "rate": 2.5}, RANDOM, {"rate_qps": 2.5, "concurrency": None}),
    "of no known load": ({"batch": None}, RANDOM, {"rate_qps": None, "concurrency": None}),
    "a trace": (
        {"batch": None, "rate": 2.5},
        Workload(trace="t.csv"),
        {"input_seq_len.distribution": "other", "source": "random"},
    ),
    "conversations": (
        {"batch": 4},
        Workload(turns=3, think_s=1.0),
        {"concurrency": 4, "multi_turn.max_turns.value": 3, "input_seq_len.distribution": "other"},
    ),
    "prompts of one's own": (
        {"batch": 4},
        Workload(prompts="p.jsonl", natural_end=True),
        {"source": "sampled", "output_seq_len": None},
    ),
    "a shared prefix": (
        {"batch": 4},
        Workload(shared_prefix=32, prefixes=2),
        {"prefix.prefix_len.value": 32, "prefix.num_groups": 2},
    ),
}


@pytest.mark.parametrize("status", ["valid", "failed"])
@pytest.mark.parametrize(("load", "workload", "told"), KINDS.values(), ids=KINDS)
def test_reports_of_every_kind_of_run_are_valid_and_tell_its_load(
    load: dict[str, Any],
    workload: Workload,
    told: dict[str, Any],
    status: Status,
    new_record: NewRecord,
) -> None:
    record = new_record(status=status)
    record = replace(record, cell=replace(record.cell, **{"rate": None, **load}, workload=workload))
    standardized = checked(benchmark_report(record)).scenario.load.standardized
    for path, value in told.items():
        found = standardized
        for name in path.split("."):
            found = getattr(found, name)
        assert found == value, path


def test_the_command_writes_a_report_for_each_good_run_or_one(
    tmp_path: Path,
    store: Store,
    new_record: NewRecord,
    samples: Samples,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, failed = new_record(), new_record(status="failed")
    store.add_run(good, samples)
    store.add_run(failed, None)

    def export(*arguments: str) -> tuple[int, str]:
        command = ["journal", "export", *arguments, "--home", str(tmp_path)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    folder = str(tmp_path / "reports")
    assert export(folder, "--to", "llm-d") == (0, f"1 report written to {folder}\n")
    assert [report["run"]["uid"] for report in reports(Path(folder))] == [good.id]
    assert export(folder, "--to", "llm-d", "--run", failed.id)[0] == 0
    assert len(reports(Path(folder))) == 2
    for wrong in (("x", "--to", "xml"), ("--to", "llm-d"), ("x", "--to", "llm-d", "--raw")):
        code, said = export(*wrong)
        assert (code, "give" in said) == (2, True)
    with pytest.raises(NotFound):
        export_reports(tmp_path / "none", tmp_path, "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        export_reports(tmp_path / "file", tmp_path)
