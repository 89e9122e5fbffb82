"""The benchmark runs, and its server and our client agree on the truth."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contenders import CONTENDERS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timing
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the scripted server")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_the_benchmark_measures_the_scripted_truth() -> None:
    clients = [name for name in CONTENDERS if name.startswith("journal")]
    command = [sys.executable, "-m", "benchmarks.clients", "--no-write", "--streams", "4", "--only"]
    done = subprocess.run(
        [*command, *clients], cwd=ROOT, capture_output=True, text=True, check=True
    )
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line[:1] == "|"]
    assert [cells[0] for cells in rows[2:]] == clients
    for cells in rows[2:]:
        cpu_us, ttft_ms, e2e_ms = (float(re.sub("[^0-9.]", "", cells[k])) for k in (2, 4, 6))
        assert cpu_us > 0 and ttft_ms >= 50 and e2e_ms >= 1040
        assert cells[-1] == "4"
