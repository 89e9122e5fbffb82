"""A disk that fails at single writes, as SQLite's own tests have it: at some of them here, at every
one of them in `make faults`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STEP = int(os.environ.get("JOURNAL_FAULT_STEP", "37"))
ACTS = {"a run", "a merge", "a compaction", "a new journal"}
FAULTS = {"ENOSPC", "EIO", "short"}


@pytest.mark.slow
@pytest.mark.timeout(3600 // STEP + 200)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the faulty disk is compiled with gcc")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and /proc are Linux's")
def test_a_write_that_fails_leaves_the_journal_whole_whichever_it_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    shim = tmp_path / "faulty_disk.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(shim), str(HERE / "faulty_disk.c"), "-ldl"],
        check=True,
        capture_output=True,
    )
    report, path = tmp_path / "report", os.pathsep.join([str(HERE.parent), *filter(None, sys.path)])
    with report.open("wb") as file:
        done = subprocess.run(
            [sys.executable, str(HERE / "faulty_disk.py"), str(tmp_path), str(STEP)],
            env=os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=3600 // STEP + 180,
        )
    said = report.read_text()
    print(said)
    assert done.returncode == 0, said
    tried = re.findall(r"^(.*), (\w+): (\d+) writes$", said, re.MULTILINE)
    assert {(act, fault) for act, fault, _ in tried} == {(a, f) for a in ACTS for f in FAULTS}
    assert min(int(count) for *_, count in tried) >= STEP, said
