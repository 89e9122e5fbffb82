"""What a server does wrong while it is measured: the cell says what happened, the cells after it
are dealt with sensibly, and no figure of a failed cell passes for a good one."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

import journal
from journal.doubts.words import sentence
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.progress import Event
from journal.records.run import Record
from journal.run.stages import Result
from journal.simulator.engine_model import Fault
from journal.tracking.entries import run_entry

Server = Callable[..., str]
QUICK = {"ttft_s": 0.01, "itl_s": 0.001}


def sweep(*batches: int, **load: object) -> Experiment:
    given = {"requests": 12, "warmup": 1, "timeout_s": 30.0, **load}
    return Experiment(
        name="faults",
        grid=journal.Grid(batch=batches, prompt_tokens=(4,), output_tokens=(4,)),
        load=journal.Load(**given),  # type: ignore[arg-type]
    )


def measured(endpoint: Endpoint, home: Path, asked: Experiment) -> Result:
    return journal.run(asked, home, endpoint=endpoint)


def names(record: Record) -> set[str]:
    return {doubt.name for doubt in record.doubts if doubt.severity != "note"}


def looks_good(record: Record) -> bool:
    """Whether someone who reads JSON, MLflow or a table would take its figures for good ones."""
    shown = journal.run_json(record)
    latencies = [shown[name]["p50"] for name in ("ttft_s", "tpot_s", "e2e_s")]
    told = run_entry(record, "parent").status
    return (shown["status"] in ("valid", "flagged") or told == "FINISHED") and any(latencies)


FAULTS: list[tuple[Fault, dict[str, object], str]] = [
    ("status", {"error_status": 400}, "HTTP 400: A scripted refusal."),
    ("status", {"error_status": 429}, "HTTP 429: A scripted refusal."),
    ("status", {"error_status": 500}, "HTTP 500: A scripted refusal."),
    ("status", {"error_status": 503}, "HTTP 503: A scripted refusal."),
    ("redirect", {}, "redirects are not followed"),
    ("error_in_stream", {}, "an error in the stream: A scripted failure."),
    ("cut", {}, "the connection was closed in the middle of the answer"),
    ("garbage", {}, "cannot be read"),
    ("not_http", {}, "not valid HTTP"),
    ("abort", {}, "finish reason abort"),
]
IDS = [f"{fault} {options.get('error_status', '')}".strip() for fault, options, _ in FAULTS]


@pytest.mark.parametrize(("fault", "options", "said"), FAULTS, ids=IDS)
def test_some_requests_that_fail_flag_the_cell_and_the_run_goes_on(
    fake_server: Server, tmp_path: Path, fault: Fault, options: dict[str, object], said: str
) -> None:
    clean = journal.attach(fake_server(**QUICK))
    url = fake_server(**QUICK, fault=fault, fault_every=3, **options)
    endpoint = Endpoint(base_url=url, model=clean.model)
    result = measured(endpoint, tmp_path, sweep(1, 2))
    assert result.ok
    for record in result.records:
        assert record.status == "flagged" and "errors" in names(record)
        assert said in str(record.error)
        failed = record.metrics["errors"].value
        assert failed in ((4,) if record.cell.batch == 1 else (3, 4, 5))  # one of two is the third
        assert record.metrics["ttft_s.p50"].count == 12 - failed  # of those that came, no others


@pytest.mark.parametrize(
    ("fault", "doubt", "severity"),
    [("no_done", "done_missing", "note"), ("no_usage", "usage_missing", "flag")],
)
def test_a_whole_stream_without_usage_or_done_is_measured_with_a_doubt(
    fake_server: Server, tmp_path: Path, fault: Fault, doubt: str, severity: str
) -> None:
    endpoint = journal.attach(fake_server(**QUICK, fault=fault))
    (record,) = measured(endpoint, tmp_path, sweep(2)).records
    assert record.metrics["errors"].value == 0
    assert record.metrics["ttft_s.p50"].count == record.metrics["ttfo_s.p50"].count == 12
    assert [d.severity for d in record.doubts if d.name == doubt] == [severity]
    assert record.metrics["output_tokens_per_s"].value is not None  # a chunk is a token here


def test_more_failures_than_the_experiment_allows_make_the_cell_invalid(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(**QUICK, fault="cut", fault_every=3))
    result = measured(endpoint, tmp_path, sweep(1, 2, max_error_rate=0.2))
    assert [record.status for record in result.records] == ["invalid", "invalid"]
    assert not result.ok and not any(looks_good(record) for record in result.records)
    (fatal,) = (doubt for doubt in result.records[0].doubts if doubt.severity == "invalid")
    assert "more than the 20" in sentence(fatal)


def test_a_cell_of_failures_shows_no_figures(fake_server: Server, tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server(**QUICK, fault="garbage"))
    (record,) = measured(endpoint, tmp_path, sweep(2)).records
    assert record.status == "failed" and not looks_good(record)
    assert record.error is not None and "12 of 12 requests failed" in record.error


def kill_server(url: str) -> None:
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    for child in psutil.Process().children():
        if any(place.laddr.port == port for place in child.net_connections()):
            child.kill()


@pytest.mark.timing
def test_a_server_that_dies_fails_the_cells_that_are_left_at_once(
    fake_server: Server, tmp_path: Path
) -> None:
    url = fake_server(**QUICK)
    endpoint = journal.attach(url)

    def listener(event: Event) -> None:
        if event.message.startswith("cell 2 of 5") and event.done == 4:
            kill_server(url)

    began_s = time.monotonic()
    result = journal.run(
        sweep(1, 2, 3, 4, 5, requests=30), tmp_path, endpoint=endpoint, listener=listener
    )
    assert time.monotonic() - began_s < 20
    first, second, *others = result.records
    assert first.status in ("valid", "flagged")
    assert second.status in ("invalid", "failed") and not looks_good(second)
    assert "Connection refused" in str(second.error)
    assert [record.status for record in others] == ["failed"] * 3
    (why,) = {record.error for record in others}
    assert why is not None and "127.0.0.1" in why and "refuse" in why.lower()


@pytest.mark.timing
def test_a_server_that_stands_still_fails_the_cells_that_are_left_soon(
    fake_server: Server, tmp_path: Path
) -> None:
    endpoint = journal.attach(fake_server(**QUICK, stall_at_s=1.0, stall_s=600.0))
    asked = sweep(1, 2, 3, 4, 5, 6, 7, 8, timeout_s=1.0, requests=40)
    began_s = time.monotonic()
    result = measured(endpoint, tmp_path, asked)
    assert time.monotonic() - began_s < 40  # 8 cells of 40 requests of 1 s would take longer
    stuck = [record for record in result.records if record.status not in ("valid", "flagged")]
    assert stuck and not any(looks_good(record) for record in stuck)
    assert "were not sent" in str(stuck[0].error) and "timeout" in str(stuck[0].error)
    assert all(record.status == "failed" for record in stuck[1:])
    assert len({record.error for record in stuck[-3:]}) == 1


def test_a_server_that_refuses_one_cell_is_asked_for_the_next(
    fake_server: Server, tmp_path: Path
) -> None:
    """Its context is too short for the first prompt length only; it does not tell its context."""
    endpoint = journal.attach(fake_server(**QUICK, max_model_len=64))
    forgetful = Endpoint(base_url=endpoint.base_url, model=endpoint.model)
    asked = Experiment(
        name="faults",
        grid=journal.Grid(batch=(2,), prompt_tokens=(100, 8), output_tokens=(4,)),
        load=journal.Load(requests=12, warmup=1),
    )
    long, short = measured(forgetful, tmp_path, asked).records
    assert (long.status, short.status in ("valid", "flagged")) == ("failed", True)
    assert "maximum context length is 64" in str(long.error)


@pytest.mark.timing
def test_every_cell_ends_as_exactly_one_thing(fake_server: Server, tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server(**QUICK, fault="error_in_stream", fault_every=4))
    result = measured(endpoint, tmp_path, sweep(1, 2, 4, max_error_rate=0.3))
    kinds = {"valid", "flagged", "invalid", "failed", "interrupted"}
    assert len(result.records) == 3
    for record in result.records:
        assert record.status in kinds
        reasons = [*names(record), *([record.error] if record.error else [])]
        assert bool(reasons) == (record.status != "valid")
