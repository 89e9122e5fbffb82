"""MLflow's own web UI on a journal's runs."""

import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from journal.errors import MissingExtra, NotFound, UsageError
from journal.redaction import in_url, remember
from journal.serve import process_tree as process
from journal.serve.endpoint import is_loopback
from journal.serve.probe import printable
from journal.serve.start import hide_secrets
from journal.tracking.addresses import ui_address
from journal.tracking.tracker import tracking_uri

POLL_S = 0.2
STORE = "MLFLOW_BACKEND_STORE_URI"

# No telemetry, and none of the background workers, which take three times the UI's own memory.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
ALLOWED = "MLFLOW_SERVER_ALLOWED_HOSTS"


def serve_ui(home: Path, host: str, port: int, *, announce: Callable[[str], None]) -> None:
    """Serve the UI on `host`:`port` until KeyboardInterrupt; `announce` receives its address.

    On a loopback address it answers to the names of loopback alone, unless the environment has
    MLFLOW_SERVER_ALLOWED_HOSTS. Where MLFLOW_TRACKING_URI names a server, that server's own address
    is announced and nothing is started. The output of the UI goes to `home`/mlflow-ui.log; the UI
    ends with this process, however that happens. Raises NotFound where MLflow has nothing of this
    journal yet, MissingExtra where the UI is not installed, UsageError where it ends by itself.
    """
    uri = tracking_uri(home)
    remember(*in_url(uri))
    if uri.startswith(("http://", "https://")):
        announce(ui_address(uri) or uri)
        return
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise NotFound(f"{home} holds no runs for MLflow to show: `journal run` makes the first")
    if find_spec("flask") is None:  # the full mlflow has it, mlflow-skinny does not
        raise MissingExtra("journal ui", "ui")
    command = [sys.executable, "-m", "mlflow", "server"]  # its store by a variable, not in `ps`
    command += ["--default-artifact-root", (home.absolute() / "mlflow-artifacts").as_uri()]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    log_path = home / "mlflow-ui.log"
    names = {ALLOWED: _own_names(host)} if is_loopback(host) else {}
    env = {**names, **os.environ, **SETTINGS, STORE: uri}
    server = process.start_guarded(command, env=env, log_path=log_path)
    try:
        announce(f"http://{host}:{port}")
        while server.exit_code() is None:
            time.sleep(POLL_S)
    finally:
        server.stop()
        hide_secrets(log_path, {STORE: uri})
    said = [line for line in log_path.read_text(errors="replace").splitlines() if line.strip()]
    last = printable(said[-1]) if said else "it says nothing"
    raise UsageError(
        f"the MLflow UI ended with exit code {server.exit_code()} ({last}): choose another port "
        f"with --port where {port} of {host} is in use, or look into {log_path}"
    )


def _own_names(host: str) -> str:
    """The names that a UI at the loopback address `host` answers to, as MLflow takes them: texts
    and fnmatch's patterns. (MLflow's own list has 10.*, which 10.evil.example fits as well.)"""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}
    return ",".join(sorted(names | {f"{name.replace('[', '[[]')}:*" for name in names}))
