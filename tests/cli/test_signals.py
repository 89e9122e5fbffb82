"""An end that is asked for politely, from outside."""

import signal
import subprocess
import sys

import pytest

SLEEPS = """
import time
from journal.cli.signals import like_ctrl_c
with like_ctrl_c() as asked:
    try:
        print("up", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("ended as", asked.exit_code)
"""


@pytest.mark.parametrize("ctrl_c", [signal.SIG_DFL, signal.SIG_IGN], ids=["shell", "background"])
def test_kill_ends_a_command_as_ctrl_c_does(ctrl_c: signal.Handlers) -> None:
    """Also where a shell's `&` has Ctrl-C ignored."""
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPS],
        preexec_fn=lambda: signal.signal(signal.SIGINT, ctrl_c),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        said, _ = process.communicate(timeout=30)
    assert said == "ended as 143\n"
