"""Checks of the host for the doctor: processor, memory, disk, system, port and network."""

import os
import platform
import shutil
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from journal.paths import anything_is_at
from journal.private import cache_dir
from journal.records.notebook import Check
from journal.serve.endpoint import HOST, listeners
from journal.serve.engines.vllm.defaults import SHARED_MEMORY_PREFIX
from journal.serve.hub_reach import HUB, TRUE, unreachable
from journal.serve.models import hub_cache_dir
from journal.units import data_size, number

GB = 10**9
THREADS = 8
MEMORY_BYTES, MEMORY_NEEDED_BYTES = 60 * GB, 4 * GB  # a host sold with 64 GB shows a little less
DISK_BYTES, DISK_NEEDED_BYTES = 100 * GB, 4 * GB
GLIBC, UBUNTU = (2, 35), (22, 4)  # Ubuntu 22.04's own
LEFT_BEHIND = ("psm_", "sem.loky-", "sem.mp-", SHARED_MEMORY_PREFIX)

Environment = Mapping[str, str | int | float | None]


def check_cpu(here: Environment) -> Check:
    """Whether this process may use enough threads, by its affinity and its quota."""
    usable, quota = here.get("cpu_threads_usable"), here.get("cpu_quota_cores")
    known = [float(n) for n in (usable, quota) if isinstance(n, int | float)]
    threads = min(known, default=float(os.cpu_count() or 1))
    text = f"{number(threads)} threads for this process ({here.get('cpu') or 'unknown'})"
    if threads >= THREADS:
        return Check("cpu", "ok", text)
    advice = f"{THREADS} or more are recommended: with fewer, starts and a busy server are slower"
    return Check("cpu", "note", text, advice)


def check_memory(here: Environment) -> Check:
    """Whether the host, or this process by its limit, has enough memory."""
    sizes = [here.get("memory_bytes"), here.get("memory_limit_bytes")]
    size = min(int(n) for n in sizes if isinstance(n, int))
    text = f"{data_size(size)}, {data_size(psutil.virtual_memory().available)} of it free"
    if size < MEMORY_NEEDED_BYTES:
        advice = f"even the smallest model wants {data_size(MEMORY_NEEDED_BYTES)}"
        return Check("memory", "missing", text, advice)
    if size < MEMORY_BYTES:
        advice = "64 GB are recommended: weights pass through it on their way to the GPU"
        return Check("memory", "note", text, advice)
    return Check("memory", "ok", text)


def check_shared_memory(folder: Path = Path("/dev/shm")) -> Check | None:
    """Shared memory that was left in `folder` by engines that were killed together with their guard
    and all their helpers: files of the kinds that vLLM and Python make, this user's, which no
    process maps. None where there are no such files."""
    mapped = _mapped(folder)
    left = [
        path
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if path.name.startswith(LEFT_BEHIND) and _is_nobodys(path, mapped)
    ]
    if not left:
        return None
    text = f"{len(left)} files that no process here uses any more are in {folder}"
    advice = (
        "killed engines leave them. Where no other container shares this memory: "
        f"cd {folder} && rm {' '.join(path.name for path in left)}"
    )
    return Check("shared memory", "note", text, advice)


def _mapped(folder: Path) -> set[int]:
    """The inodes of the files in `folder` that processes have in their memory."""
    inodes = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            lines = maps.read_text(errors="replace").splitlines()
            inodes |= {int(line.split()[4]) for line in lines if f" {folder}/" in line}
    return inodes


def _is_nobodys(path: Path, mapped: set[int]) -> bool:
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:  # gone by now
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_uid == os.getuid()
        and status.st_ino not in mapped
    )


def check_disk(home: Path) -> list[Check]:
    """The free room where models are kept, and where the journal is."""
    places = {"model cache": hub_cache_dir(), "made models": cache_dir(), "journal": home}
    return [_room(name, place.expanduser().absolute()) for name, place in places.items()]


def _room(name: str, place: Path) -> Check:
    existing = next(path for path in (place, *place.parents) if anything_is_at(path))
    free_bytes = shutil.disk_usage(existing).free
    text = f"{data_size(free_bytes)} free in {_tidy(place)}"
    named = f"disk: {name}"
    if not os.access(existing, os.W_OK):
        return Check(named, "missing", f"{text}, which cannot be written", "make it writable")
    if free_bytes < DISK_NEEDED_BYTES:
        advice = "free some, or move it: HF_HOME, JOURNAL_CACHE and --home say where"
        return Check(named, "missing", text, advice)
    if name == "model cache" and free_bytes < DISK_BYTES:
        advice = "100 GB are recommended: a 7B model takes 15 GB. HF_HOME moves it elsewhere"
        return Check(named, "note", text, advice)
    return Check(named, "ok", text)


def _tidy(path: Path) -> str:
    """`path` without the user's name."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def check_system(release: Mapping[str, str] | None = None, libc: str | None = None) -> Check:
    """Ubuntu 22.04 or later, or a Linux whose C library is as new."""
    if not sys.platform.startswith("linux"):
        advice = "vLLM is started on Linux only: measure a server elsewhere with --endpoint"
        return Check("system", "missing", platform.platform(), advice)
    release = _os_release() if release is None else release
    libc = platform.libc_ver()[1] if libc is None else libc
    name = release.get("PRETTY_NAME", "an unnamed Linux")
    if release.get("ID") == "ubuntu" and _numbers(release.get("VERSION_ID", "")) >= UBUNTU:
        return Check("system", "ok", name)
    if _numbers(libc) >= GLIBC:
        return Check("system", "ok", f"{name}, as new as Ubuntu 22.04 (glibc {libc})")
    text = f"{name}, glibc {libc or 'unknown'}"
    return Check(
        "system", "note", text, "Ubuntu 22.04 or later is recommended: vLLM is built there"
    )


def _os_release() -> Mapping[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def check_python(engine: str | int | float | None) -> Check:
    """The versions of Python. Ours is always new enough, as the package installs on no older one;
    `engine` is the version of the engine's Python."""
    text = f"{platform.python_version()}, the engine's {engine or 'unknown'}"
    return Check("python", "ok", text)


def check_port(port: int) -> Check:
    """Whether `port` is free, or which processes listen on it."""
    holders = listeners(port) - {os.getpid()}
    if not holders:
        return Check("port", "ok", f"{port} is free on {HOST}")
    text = ", ".join("another user's" if pid is None else _named(pid) for pid in holders)
    return Check("port", "note", f"{port} is taken by {text}", "serve on another with --port")


def _named(pid: int) -> str:
    try:
        return f"process {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"process {pid}"


def check_hub(env: Mapping[str, str]) -> Check:
    """Whether models can be fetched: one request to the Hugging Face hub, within HUB_S seconds."""
    instead = "serve a model that is in the cache or a directory"
    if env.get("HF_HUB_OFFLINE", "").upper() in TRUE:
        return Check("hub", "note", "offline, as HF_HUB_OFFLINE says", instead)
    url = env.get("HF_ENDPOINT") or HUB
    reason = unreachable(url, strict=True)
    host = urlsplit(url).hostname or url
    if reason is None:
        return Check("hub", "ok", f"{host} answers")
    return Check("hub", "note", f"offline: {host} {reason}", f"check the network, or {instead}")


def check_token(env: Mapping[str, str]) -> Check:
    """Whether there is a token for gated models. The token itself is never shown."""
    path = Path(env.get("HF_TOKEN_PATH") or hub_cache_dir().parent / "token").expanduser()
    if any(env.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")) or path.is_file():
        return Check("hub token", "ok", "present")
    advice = "gated models (Llama 3) want one: accept their licence on the hub, then set HF_TOKEN"
    return Check("hub token", "note", "absent", advice)
