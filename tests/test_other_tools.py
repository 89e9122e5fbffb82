"""What docs/other-tools.md offers for the load tools of others."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FakeServer = Callable[..., str]
LOCUSTFILE = Path(__file__).parents[1] / "docs" / "examples" / "locustfile.py"
needs_locust = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust is not installed"
)


def locust(url: str, **env: str) -> tuple[int, dict[str, Any], str]:
    """Runs it for a moment, and until what is in flight then is over: its exit code, its rows by
    name, and what it said."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--json"]
    command += ["--host", url.removesuffix("/v1"), "--users", "4", "--spawn-rate", "4"]
    done = subprocess.run(
        [*command, "--run-time", "3s", "--stop-timeout", "30s"],
        env=os.environ | {"PROMPT_TOKENS": "16", "OUTPUT_TOKENS": "11"} | env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, {row["name"]: row for row in json.loads(done.stdout)}, done.stderr


@pytest.mark.alone
@needs_locust
def test_locust_reads_streams_to_their_end(fake_server: FakeServer) -> None:
    url = fake_server(ttft_s=0.5, itl_s=0.03, api_key="s3cret")
    code, rows, said = locust(url, JOURNAL_API_KEY="s3cret")
    assert code == 0, said
    whole, ttft, tpot = rows["/v1/completions"], rows["TTFT"], rows["TPOT"]
    assert whole["num_requests"] == ttft["num_requests"] == tpot["num_requests"] > 0
    assert whole["num_failures"] == 0
    assert ttft["min_response_time"] >= 500
    assert 29 <= tpot["min_response_time"] <= 70  # with the first token it would be 80
    assert whole["min_response_time"] >= 500 + 10 * 30


@pytest.mark.timing
@needs_locust
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("error_in_stream", "A scripted failure."),
        ("cut", "broke"),
        ("abort", "finish reason abort"),
    ],
)
def test_locust_counts_no_broken_stream_as_a_success(
    fake_server: FakeServer, fault: str, reason: str
) -> None:
    url = fake_server(ttft_s=0.05, itl_s=0.01, fault=fault)
    code, rows, said = locust(url)
    assert code == 1, said
    whole = rows["/v1/completions"]
    assert whole["num_failures"] == whole["num_requests"] > 0
    assert "TTFT" not in rows
    assert reason in said
