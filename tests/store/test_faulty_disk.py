"""A disk that fails at any single write, tried at every one of them, as SQLite's own tests do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the faulty disk is compiled with gcc")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD and /proc are Linux's")
def test_a_write_that_fails_leaves_the_journal_whole_whichever_it_is(tmp_path: Path) -> None:
    shim = tmp_path / "faulty_disk.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(shim), str(HERE / "faulty_disk.c"), "-ldl"],
        check=True,
        capture_output=True,
    )
    path = os.pathsep.join([str(HERE.parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, str(HERE / "faulty_disk.py"), str(tmp_path)],
        env=os.environ | {"LD_PRELOAD": str(shim), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = dict(re.findall(r"^(\w+): (\d+) writes$", done.stdout, re.MULTILINE))
    assert tried.keys() == {"ENOSPC", "EIO", "short"}
    assert min(map(int, tried.values())) >= 3, tried
