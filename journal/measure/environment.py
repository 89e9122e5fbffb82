"""The environment of a measurement: host, account, system, versions, GPUs, commit.

It holds only facts that do not change while the host runs, so that two measurements in the same
environment have equal ones. Of the user it holds the name of the account alone.
"""

import getpass
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import psutil

from journal.errors import MeasureError
from journal.serve.engines.vllm.packages import BESIDE, PACKAGES

Environment = dict[str, str | int | float | None]

OURS = ("serving-journal", "openai", "mlflow", "mlflow-skinny", "nvidia-ml-py")
ENGINES = (*PACKAGES, *BESIDE)
PATIENCE_S = 5.0


def environment(installed: Mapping[str, str | None] | None = None) -> Environment:
    """The environment of this host, as a flat mapping. `installed` are the versions in the
    engine's interpreter, "python" among them (None: this interpreter serves). Absent facts are
    None; sizes are in bytes."""
    return {
        "host": platform.node(),
        "user": _user(),
        **_system(),
        **_processor(),
        **{f"version_{_key(name)}": _version(name) for name in OURS},
        **_engine(installed),
        **_gpus(),
        **_commit(),
    }


def _user() -> str | None:
    """The name of the account; None where the system has no name for its number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return None


def _system() -> Environment:
    kernel = platform.release()
    return {
        "os": _os_name(),
        "kernel": kernel,
        "machine": platform.machine(),
        "container": _in_container(),
        "wsl": "microsoft" in kernel.lower(),
        "python": platform.python_version(),
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _in_container() -> bool:
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return True
    hints = ("docker", "kubepods", "containerd", "lxc")
    return any(hint in _text("/proc/1/cgroup") for hint in hints)


def _processor() -> Environment:
    model = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.M)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cpu": model[1].strip() if model else platform.processor() or None,
        "cpu_cores": psutil.cpu_count(logical=False),
        "cpu_threads": psutil.cpu_count(),
        "cpu_threads_usable": usable,
        "cpu_quota_cores": cpu_quota_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_limit_bytes": _limit("/sys/fs/cgroup/memory.max"),
    }


def cpu_quota_cores() -> float | None:
    """The processor time in core-seconds per second that control group v2 grants; None without a
    limit."""
    quota, _, period = _text("/sys/fs/cgroup/cpu.max").strip().partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _limit(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _engine(installed: Mapping[str, str | None] | None) -> Environment:
    if installed is None:
        ours = {name: _version(name) for name in ENGINES}
        installed = {**ours, "python": platform.python_version()}
    versions = {f"version_{_key(name)}": installed.get(name) for name in ENGINES}
    return {"engine_python": installed.get("python"), **versions}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _key(name: str) -> str:
    return name.removeprefix("serving-").replace("-", "_")


def _gpus() -> Environment:
    from journal.measure.gpu import Gpus, driver

    try:
        with Gpus() as opened:
            version, cuda = driver()
            gpus = opened.gpus
    except MeasureError as error:
        return {"gpus": None, "gpu_absent": str(error)}
    facts: Environment = {"gpus": len(gpus), "gpu_driver": version, "gpu_cuda": cuda}
    for number, gpu in enumerate(gpus):
        facts[f"gpu_{number}_name"] = gpu.name
        facts[f"gpu_{number}_uuid"] = gpu.uuid
        facts[f"gpu_{number}_total_bytes"] = gpu.total_bytes
    return facts


def _commit() -> Environment:
    """The commit of the working directory's repository, and whether tracked files differ from it;
    both None outside a repository."""
    try:
        commit = _output(["git", "rev-parse", "HEAD"]).strip()
        changed = _output(["git", "status", "--porcelain", "--untracked-files=no"]).strip()
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None, "git_changed": None}
    return {"git_commit": commit, "git_changed": bool(changed)}


def _output(command: list[str]) -> str:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    ).stdout


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
