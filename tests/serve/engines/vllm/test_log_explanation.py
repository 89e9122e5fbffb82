"""Explanations of logs of any shape: what happened, and that nothing raises."""

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.records.explanation import Explanation
from journal.serve.engines.vllm import start_log
from journal.serve.engines.vllm.log_explanation import explanation

DATA = Path(__file__).parents[3] / "data" / "engine"
STARTS: list[dict[str, Any]] = json.loads((DATA / "public" / "start-logs.json").read_text())
FAILURES: list[dict[str, Any]] = json.loads((DATA / "public" / "failure-logs.json").read_text())
LOGS = [
    *("\n".join(case["lines"]) for case in STARTS),
    *(case["log"] for case in FAILURES),
    *(path.read_text() for path in sorted(DATA.glob("*.log"))),
]
GIB = 2**30


@pytest.mark.parametrize("case", FAILURES, ids=lambda case: case["id"])
def test_a_log_of_a_failure_has_a_cause_in_its_own_field(case: dict[str, Any]) -> None:
    known = explanation(case["log"].splitlines())
    assert known.cause is not None
    assert all(words in known.cause for words in case["cause_should_hold"]), known.cause
    said = f"{known.cause} {known.remedy}"
    assert not any(words in said for words in case["must_not_hold"]), said


@pytest.mark.parametrize("case", STARTS, ids=lambda case: case["id"])
def test_a_log_of_a_start_has_no_cause(case: dict[str, Any]) -> None:
    assert explanation(case["lines"]).cause is None


def test_a_real_start_is_explained() -> None:
    known = explanation((DATA / "start.log").read_text().splitlines())
    assert (known.engine_version, known.serves, known.cause) == ("0.32.0", True, None)
    assert (known.longest, known.at_once) == (4096, 22.75)
    assert known.phases is not None
    assert (known.phases.load_s, known.phases.init_s) == (0.78, 5.92)


def test_a_request_that_failed_is_no_end_of_the_server() -> None:
    lines = (DATA / "start.log").read_text().splitlines()
    lines += ["Traceback (most recent call last):", "ValueError: this request is wrong"]
    assert explanation(lines).cause is None
    died = [*lines, "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue."]
    core = "(EngineCore pid=13634) ERROR 11-23 18:00:00 [core.py:9] "
    died.insert(-1, core + "torch.AcceleratorError: CUDA error: an illegal memory access")
    assert "illegal memory access" in (explanation(died).cause or "")


def test_the_last_of_several_starts_counts() -> None:
    failed, came_up = FAILURES[0]["log"].splitlines(), (DATA / "start.log").read_text().splitlines()
    assert explanation([*failed, *came_up]).cause is None
    begin = "(APIServer pid=40) INFO 11-24 [x.py:1] non-default args: {'model': 'm'}"
    after = explanation([*came_up, begin, *failed])
    assert after.cause is not None
    assert (after.serves, after.kv_pool_tokens) == (False, None)


def test_figures_are_kept_by_process() -> None:
    case = next(case for case in STARTS if case["id"] == "L26")
    ranks = explanation(case["lines"]).ranks
    first, second = ranks["Worker_PP0_TP0 pid=3"], ranks["Worker_PP1_TP0 pid=4"]
    assert (first.weights_bytes, second.weights_bytes) == (round(51.29 * GIB), round(58.0 * GIB))
    assert first.total_bytes == second.total_bytes == round(95.0 * GIB)


def test_the_requests_of_data_parallel_engines_add_up() -> None:
    line = (
        "INFO [x.py:1] GPU KV cache size: 80,000 tokens, Maximum concurrency for 8,000 tokens per "
    )
    lines = [f"(EngineCore_DP{n} pid={n}) {line}request: 10.00x" for n in (0, 1)]
    known = explanation(lines)
    assert (known.kv_pool_tokens, known.longest, known.at_once) == (160_000, 8000, 20.0)


def test_graphs_count_once_where_the_peak_includes_their_estimate() -> None:
    case = next(case for case in STARTS if case["id"] == "L41")
    known = explanation(case["lines"])
    assert known.graph_estimate_bytes == round(0.64 * GIB)
    off = "WARNING CUDA graph memory profiling is disabled (X=0). Without it, memory is not"
    assert explanation([*case["lines"], off]).graph_estimate_bytes is None
    older = next(case for case in STARTS if case["id"] == "L37")  # keeps the estimate apart
    assert explanation(older["lines"]).graph_estimate_bytes is None


def _as_dockers_json(log: str) -> str:
    return "\n".join(
        json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-01-02T03:04:05Z"})
        for line in log.splitlines()
    )


def _before_each(prefix: str) -> Callable[[str], str]:
    return lambda log: "\n".join(prefix + line for line in log.splitlines())


CARRIERS: dict[str, Callable[[str], str]] = {
    "Docker Compose": _before_each("vllm-1  | "),
    "Docker's files": _as_dockers_json,
    "Kubernetes": _before_each("2026-01-02T03:04:05.123456789Z stderr F "),
    "kubectl": _before_each("[pod/vllm-0/server] "),
    "systemd": _before_each("Jan 02 03:04:05 host vllm[71]: "),
    "journalctl with a full date": _before_each("2026-01-02T03:04:05+0100 host python3[71]: "),
    "srun": _before_each("0: "),
    "a frame": lambda log: "\n".join(f"│ {line}    │" for line in log.splitlines()),
    "colours": lambda log: "\n".join(f"\x1b[36m{line}\x1b[0m" for line in log.splitlines()),
    "colours without escapes": _before_each("[0;36m"),
    "Windows": lambda log: log.replace("\n", "\r\n"),
    "Ray": _before_each("(ServeReplica:app:llm pid=4385, ip=10.0.0.7) "),
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_the_carrier_of_a_log_changes_nothing(carrier: str) -> None:
    for log in LOGS:
        plain, carried = (
            explanation(log.splitlines()),
            explanation(CARRIERS[carrier](log).splitlines()),
        )
        assert _told(carried) == _told(plain)


def _told(known: Explanation) -> dict[str, Any]:
    told = asdict(known)
    if carried_alone := told.pop("ranks"):
        told["of_ranks"] = sorted(map(str, carried_alone.values()))
    return told


LINES = st.one_of(
    st.text(max_size=80),
    st.sampled_from([line for log in LOGS for line in log.splitlines()]),
    st.binary(max_size=80).map(lambda raw: raw.decode("utf-8", "replace")),
    st.sampled_from(["{" * 500, '{"log": 7}', "[1]", "9" * 4000, "KV cache size: ,,. tokens"]),
    st.integers(1, 400).map(lambda n: f"KV cache size: {'9' * n} tokens"),
    st.integers(1, 400).map(lambda n: f"Available KV cache memory: -{'9' * n}.{'1' * n} GiB"),
    st.integers(1, 60).map(lambda n: "(a pid=1" * n),
)


@settings(deadline=None, max_examples=60)
@given(
    log=st.sampled_from(LOGS),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    inserted=st.lists(st.tuples(st.floats(0, 1), LINES), max_size=5),
    carrier=st.sampled_from(list(CARRIERS.values())),
)
def test_no_log_of_any_shape_raises(
    log: str,
    cut: tuple[float, float],
    inserted: list[tuple[float, str]],
    carrier: Callable[[str], str],
) -> None:
    start, end = sorted(round(share * len(log)) for share in cut)
    lines = carrier(log[start:end]).splitlines()
    for share, line in inserted:
        lines.insert(round(share * len(lines)), line)
    known = explanation(lines)
    sizes = [
        known.weights_bytes,
        known.kv_pool_bytes,
        known.kv_pool_tokens,
        known.activation_bytes,
        known.graph_bytes,
        known.context_bytes,
    ]
    assert all(size is None or size >= 0 for size in sizes)
    assert known.at_once is None or math.isfinite(known.at_once)
    assert known.remedy is None or known.cause is not None


def test_huge_lines_take_no_time() -> None:
    line = (
        "INFO 01-02 03:04:05 [x.py:1] " + "(a pid=1 KV cache size: 1 Error: max seq len (1) " * 9000
    )
    assert explanation([line] * 20).cause is None


def test_lines_without_a_telling_word_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = [explanation(log.splitlines()) for log in LOGS]
    monkeypatch.setattr(start_log, "TELLING", re.compile(""))
    assert [explanation(log.splitlines()) for log in LOGS] == quick


@pytest.mark.timing
def test_the_log_of_a_long_day_is_read_quickly() -> None:
    asked = '(APIServer pid=1) INFO:     127.0.0.1:1 - "POST /v1/completions HTTP/1.1" 200 OK'
    began_s = time.process_time()
    explanation([*(DATA / "start.log").read_text().splitlines(), *[asked] * 200_000])
    assert time.process_time() - began_s < 5.0
