"""Files and folders of results: what is found in them, and what is passed over."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from journal.errors import UsageError
from journal.exchange.import_results import import_results
from journal.records.run import Record

FORMS = Path(__file__).parent / "data" / "forms"


def form(name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((FORMS / name).read_text())
    return data


def put(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = data if isinstance(data, bytes) else json.dumps(data).encode()
    path.write_bytes(written)
    return path


def imported(path: Path, home: Path) -> tuple[Record, ...]:
    return import_results(path, home / "home").records


def tools(records: tuple[Record, ...]) -> list[Any]:
    return [record.environment["tool"] for record in records]


DETAILED = form("vllm-detailed.json")
SUMMARY = form("vllm-summary.json")
LATER = DETAILED | {"date": "20261123-190000"}


def pytorch() -> list[dict[str, Any]]:
    """A result as vLLM writes it for PyTorch's benchmarks: a record for each figure."""
    extra = {
        "duration": 10.0,
        "completed": 40,
        "total_input_tokens": 2560,
        "total_output_tokens": 680,
        "request_throughput": 4.0,
    }
    arguments = {"request_rate": [2.0], "max_concurrency": [4], "num_prompts": [40]}
    return [
        {
            "benchmark": {"name": "vLLM benchmark", "extra_info": {"args": arguments}},
            "model": {"name": "acme/tiny"},
            "metric": {"name": name, "benchmark_values": [ms], "extra_info": extra},
        }
        for name, ms in {"mean_ttft_ms": 50.0, "median_tpot_ms": 10.0}.items()
    ]


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("between", ["", "\n", "\n\n"])
def test_results_that_follow_each_other_are_each_read(
    indent: int | None, between: str, tmp_path: Path
) -> None:
    text = between.join(json.dumps(data, indent=indent) for data in (DETAILED, LATER))
    assert len(imported(put(tmp_path / "r.json", text.encode()), tmp_path)) == 2
    cut = put(tmp_path / "cut.json", text[:-50].encode())
    with pytest.raises(UsageError, match=r"cut.json, (object|line) \d, is not JSON"):
        imported(cut, tmp_path)


def test_a_result_in_the_form_of_pytorch_is_one_run(tmp_path: Path) -> None:
    (record,) = imported(put(tmp_path / "openai.pytorch.json", pytorch()), tmp_path)
    assert (record.cell.model, record.cell.rate, record.cell.batch) == ("acme/tiny", 2.0, None)
    assert record.value("ttft_s.mean") == pytest.approx(0.05)
    assert (record.value("requests"), record.value("requests_per_s")) == (40, 4.0)
    assert (record.cell.prompt_tokens, record.cell.output_tokens) == (64, 17)


def test_a_folder_holds_results_of_any_name_and_tool(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    put(folder / "openai-inf.json", DETAILED)
    put(folder / "openai-inf.pytorch.json", pytorch())  # the same once more
    put(folder / "packed.json.gz", gzip.compress(json.dumps(LATER).encode()))
    put(folder / "config.json", {"a": 1})
    put(folder / "notes.txt", b"not JSON")
    put(folder / "a" / "report.json", form("guidellm-sync-0.8.json"))
    shutil.copytree(FORMS / "aiperf-pair", folder / "b")
    put(folder / "b" / "profile_export_aiperf.csv", b"Metric,avg\n")
    records = imported(folder, tmp_path)
    assert tools(records) == ["GuideLLM", "AIPerf", "vllm bench serve", "vllm bench serve"]


def test_a_folder_with_a_damaged_result_is_refused_by_its_name(tmp_path: Path) -> None:
    put(tmp_path / "results" / "a.json", DETAILED)
    put(tmp_path / "results" / "b.json", b'{"request_through')
    with pytest.raises(UsageError, match=r"b\.json is not JSON"):
        imported(tmp_path / "results", tmp_path)


def test_a_folder_without_results_says_so(tmp_path: Path) -> None:
    put(tmp_path / "results" / "a.json", {"a": 1})
    with pytest.raises(UsageError, match="holds no results that are known here"):
        imported(tmp_path / "results", tmp_path)


@pytest.mark.parametrize(
    ("name", "what"), [("a.csv", "CSV"), ("a.yaml", "YAML"), ("benchmark_data.db", "a database")]
)
def test_other_forms_of_a_result_name_the_json_beside_it(
    name: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"is {what}, and results are read as JSON: give the JSON"):
        imported(put(tmp_path / name, b"Metric,avg\n1,2\n"), tmp_path)


def test_requests_of_aiperf_lead_to_their_export(tmp_path: Path) -> None:
    pair = shutil.copytree(FORMS / "aiperf-pair", tmp_path / "pair")
    (record,) = imported(pair / "profile_export.jsonl", tmp_path)
    assert record.value("requests") == 39
    (pair / "profile_export_aiperf.json").unlink()
    with pytest.raises(UsageError, match=r"put its profile_export_aiperf\.json beside it"):
        imported(pair / "profile_export.jsonl", tmp_path)


def test_a_damaged_line_of_aiperf_is_named(tmp_path: Path) -> None:
    pair = shutil.copytree(FORMS / "aiperf-pair", tmp_path / "pair")
    lines = (pair / "profile_export.jsonl").read_bytes().splitlines(keepends=True)
    put(pair / "profile_export.jsonl", b"".join([*lines[:3], lines[3][:40]]))
    with pytest.raises(UsageError, match=r"profile_export\.jsonl, line 4: it is not whole JSON"):
        imported(pair / "profile_export_aiperf.json", tmp_path)


def test_requests_that_succeeded_are_counted_by_their_latencies_where_aiperf_does_not(
    tmp_path: Path,
) -> None:
    data = form("aiperf-0.10-warmup-first.json")
    count = data["request_latency"]["count"]
    (record,) = imported(put(tmp_path / "a.json", data | {"request_count": None}), tmp_path)
    assert (record.value("requests"), record.value("errors")) == (count, 0)


def test_requests_that_a_file_does_not_call_completed_have_failed(tmp_path: Path) -> None:
    none = SUMMARY | {"completed": 0, "failed": 0}
    (record,) = imported(put(tmp_path / "a.json", none), tmp_path)
    assert (record.status, record.value("errors")) == ("failed", 40)
    more = DETAILED | {"completed": 50}
    (record,) = imported(put(tmp_path / "b.json", more), tmp_path)
    assert "tool_differs" in {doubt.name for doubt in record.doubts}


def test_a_time_of_nan_is_that_of_a_failed_request(tmp_path: Path) -> None:
    lists = {"ttfts": [float("nan"), *DETAILED["ttfts"][1:]], "errors": None}
    (record,) = imported(put(tmp_path / "a.json", DETAILED | lists), tmp_path)
    assert record.value("errors") == 1


@pytest.mark.parametrize("by_s", [-100, 100])
def test_timings_of_guidellm_that_go_back_are_refused(by_s: float, tmp_path: Path) -> None:
    data = form("guidellm-sync-0.8.json")
    timings = data["benchmarks"][0]["requests"]["successful"][0]["info"]["timings"]
    timings["first_token_iteration"] += by_s
    with pytest.raises(UsageError, match="the timings of request 0 go back in time"):
        imported(put(tmp_path / "a.json", data), tmp_path)


def test_a_rate_beside_a_closed_loop_of_guidellm_is_no_schedule(tmp_path: Path) -> None:
    data = form("guidellm-sync-0.8.json")
    strategy = data["benchmarks"][0]["config"]["strategy"]
    strategy |= {"type_": "concurrent", "streams": 4, "rate": 4.0}
    (record,) = imported(put(tmp_path / "a.json", data), tmp_path)
    assert (record.cell.batch, record.cell.rate) == (4, None)
    assert record.value("ttft_s.mean") == pytest.approx(0.05, abs=1e-4)
