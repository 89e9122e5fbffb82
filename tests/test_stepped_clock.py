"""A clock on the wall that is stepped all the time while a run is measured: by hours back and by
days forward, in the middle of requests."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import journal
from journal.store.store import open_store

SHIM = Path(__file__).parent / "stepped_clock.c"
PROGRAM = """
import ctypes, itertools, sys, threading
from datetime import datetime
from pathlib import Path
import journal

home, url = Path(sys.argv[1]), sys.argv[2]
clock, over, met = ctypes.CDLL(None), threading.Event(), set()

def step():
    for offset_s in itertools.cycle((-7200, 259200, 0, -40)):
        if over.wait(0.03):
            return
        clock.step(ctypes.c_long(offset_s))
        met.add(datetime.now().date())

threading.Thread(target=step, daemon=True).start()
result = journal.run(
    journal.Experiment(
        name="stepped",
        grid=journal.Grid(batch=(1, 2, 4), prompt_tokens=(4,), output_tokens=(4,)),
        load=journal.Load(requests=12, warmup=1),
    ),
    home,
    endpoint=journal.attach(url),
)
over.set()
print(len(result.records), len(met), result.ok)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="the clock is compiled with gcc")
@pytest.mark.skipif(sys.platform != "linux", reason="LD_PRELOAD is Linux's")
def test_a_clock_that_is_stepped_in_mid_run_changes_no_figure_and_loses_nothing(
    fake_server: Callable[..., str], tmp_path: Path
) -> None:
    home, shim = tmp_path / "lab", tmp_path / "stepped_clock.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(shim), str(SHIM)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(home), fake_server(ttft_s=0.05, itl_s=0.01)],
        env=os.environ | {"LD_PRELOAD": str(shim), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    cells, days, ok = done.stdout.split()[-3:]
    assert (cells, ok) == ("3", "True") and int(days) >= 2, done.stdout
    with open_store(home) as store:
        (begun,), runs = store.experiments(), store.runs()
        assert begun.status == "done" and len({run.id for run in runs}) == 3
        for run in runs:
            right(store.samples(run.id), run)
    assert journal.recompute(home) == ()


def right(samples: journal.Samples | None, run: journal.Record) -> None:
    """Whether durations are those of the server, and all stands in the order in which it was."""
    assert samples is not None and run.value("requests") == 12
    assert 0.05 <= (run.value("ttft_s.p50") or 0) < 5
    assert 0.2 < run.duration_s < 60
    for trace in samples.traces:
        moments = [trace.start_s, *trace.chunk_s, trace.end_s]
        assert moments == sorted(moments) and 0.05 < moments[-1] - moments[0] < 9
    for readings in (samples.readings.process, samples.readings.server):
        at_s = [reading.at_s for reading in readings]
        assert at_s == sorted(at_s)
