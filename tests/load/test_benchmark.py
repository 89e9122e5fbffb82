"""The benchmark runs, and its server and our client agree on the truth."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.clients import TURNS
from benchmarks.contenders import CONTENDERS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the scripted server")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_the_benchmark_measures_the_scripted_truth() -> None:
    timed = {name for name, _, _ in TURNS}
    clients = [name for name in CONTENDERS if name.startswith("journal") and name in timed]
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


@pytest.mark.alone
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the scripted server")
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two cores")
def test_chats_and_completions_are_measured_side_by_side() -> None:
    """Every chat of the file is answered with the tokens that its line asks for."""
    command = [sys.executable, "-m", "benchmarks.chats", "--no-write", "--pairs", "1"]
    command += ["--waves", "3"]
    done = subprocess.run(
        [*command, "--streams", "4"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (told,) = re.findall(r"at most 1.1 times; ([0-9.]+) times", done.stdout)
    assert 0.2 < float(told) < 5
    for load in ("completions", "chats"):
        row = rf"\| journal, {load} of mixed lengths \| 4 \| [0-9.]+ us \|.*\| [0-9]+% \|"
        assert re.search(row, done.stdout)
    assert re.search("Over completions of the same lengths: [0-9.]+ times", done.stdout)
