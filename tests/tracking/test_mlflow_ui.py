"""The MLflow UI lives as long as the command that opened it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from journal.errors import UsageError
from journal.serve.process_tree import is_running
from journal.tracking.mlflow_store import make_whole
from journal.tracking.mlflow_ui import serve_ui

pytestmark = pytest.mark.mlflow

OPEN = """
import sys
from pathlib import Path
from journal.tracking.mlflow_ui import serve_ui

where = Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2])
serve_ui(*where, announce=lambda url: print(url, flush=True))
"""


@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_of_it_outlives_its_command(tmp_path: Path, number: signal.Signals) -> None:
    make_whole(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", OPEN, str(tmp_path), str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as opened:
        assert opened.stdout is not None
        assert opened.stdout.readline() == f"http://127.0.0.1:{port}\n"
        children = psutil.Process(opened.pid).children(recursive=True)
        assert any("mlflow" in child.cmdline() for child in children)
        opened.send_signal(number)
        opened.communicate()
    deadline = time.monotonic() + 30
    while left := [child.pid for child in children if is_running(child.pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert (tmp_path / "mlflow-ui.log").stat().st_mode & 0o077 == 0


@pytest.mark.timing
def test_what_mlflow_says_of_no_address_of_a_store_is_told_without_its_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://s3cret-Xq9zPw7K@host/x")
    with pytest.raises(UsageError, match="unsupported URI") as ended:
        serve_ui(tmp_path, "127.0.0.1", 1, announce=lambda _: None)
    for text in (str(ended.value), (tmp_path / "mlflow-ui.log").read_text()):
        assert "nothing://" in text and "Xq9zPw7K" not in text
