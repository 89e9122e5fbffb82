"""The benchmark runs, and its server and our client agree on the truth."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the scripted server")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_the_benchmark_measures_the_scripted_truth() -> None:
    command = [sys.executable, "-m", "benchmarks.clients", "--no-write", "--streams", "4", "--only"]
    done = subprocess.run(
        [*command, "journal"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    row = next(line for line in done.stdout.splitlines() if line.startswith("| journal "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    ttft_ms, e2e_ms = (float(re.sub("[^0-9.]", "", cells[k])) for k in (4, 6))
    assert ttft_ms >= 50 and e2e_ms >= 1040
