import json
from datetime import UTC, datetime, timedelta, timezone

from builders import a_cell

from journal.doubts.words import sentence
from journal.records.doubt import Doubt
from journal.records.figure import Figure
from journal.records.run import Record
from journal.report.run_json import run_json

FIXED = [
    *("id", "experiment", "model", "quantisation", "concurrency", "prompt_tokens"),
    *("output_tokens", "requests", "errors", "started_at", "duration_s"),
    *("ttft_s", "itl_s", "tpot_s", "e2e_s"),
    *("output_tokens_per_s", "total_tokens_per_s", "requests_per_s"),
    *("vram_peak_bytes", "kv_cache_peak_fraction", "mlflow_run_id", "doubts"),
]


def record(**changes: object) -> Record:
    given = {
        "id": "a1",
        "experiment_id": "e1",
        "cell": a_cell(engine=None, batch=8),
        "status": "valid",
        "started_at": datetime(2026, 11, 20, 9, 30, tzinfo=UTC),
        "duration_s": 3.5,
    }
    return Record(**{**given, **changes})  # type: ignore[arg-type]


def test_the_fixed_keys_come_first_and_in_order() -> None:
    assert list(run_json(record()))[: len(FIXED)] == FIXED


def test_what_was_not_measured_is_null_and_never_missing() -> None:
    row = run_json(record())
    nothing = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"))
    assert [row[name] for name in ("ttft_s", "itl_s", "tpot_s", "e2e_s")] == [nothing] * 4
    absent = ("requests", "errors", "output_tokens_per_s", "vram_peak_bytes", "mlflow_run_id")
    assert [row[name] for name in absent] == [None] * 5
    assert row["doubts"] == []


def test_measured_values_stand_under_their_names() -> None:
    metrics = {
        "ttft_s.p50": Figure(0.25, 0.2, 0.3, 24),
        "requests": Figure(24.0),
        "errors": Figure(0.0),
        "vram_peak_bytes": Figure(2.0**34),
        "output_tokens_per_s": Figure(float("nan")),
    }
    doubt = Doubt("given_up", {"sent": 3, "asked": 24}, "invalid")
    row = run_json(record(metrics=metrics, doubts=(doubt,)))
    assert row["ttft_s"]["p50"] == 0.25
    assert (row["requests"], row["errors"], row["vram_peak_bytes"]) == (24, 0, 2**34)
    assert isinstance(row["requests"], int)
    assert row["output_tokens_per_s"] is None
    assert row["doubts"] == [sentence(doubt)]
    assert row["doubts"][0].startswith("Only 3 of 24 requests were sent")
    assert row["doubt_rules"] == [
        {
            "name": "given_up",
            "severity": "invalid",
            "values": {"sent": 3, "asked": 24},
            "sentence": sentence(doubt),
        }
    ]
    assert row["intervals"] == {"ttft_s.p50": [0.2, 0.3]}
    json.dumps(row, allow_nan=False)


def test_started_at_is_utc_wherever_it_was_written() -> None:
    there = datetime(2026, 11, 20, 17, 30, tzinfo=timezone(timedelta(hours=8)))
    assert run_json(record(started_at=there))["started_at"] == "2026-11-20T09:30:00+00:00"
