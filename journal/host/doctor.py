"""The doctor: checks of whether serving can work on this host, and advice on what to do."""

import os
import platform
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from journal.host import checks_engine, checks_host
from journal.measure.environment import environment
from journal.records.experiment import Engine
from journal.records.notebook import Check, Checkup
from journal.records.progress import Event, Listener, ignore
from journal.serve.interpreter import installed
from journal.serve.models import EMBEDDED
from journal.store.checkups import add_checkup
from journal.store.store import open_store

PORT = 8000


def doctor(
    home: str | Path = "lab",
    *,
    python: str | None = None,
    port: int = PORT,
    listener: Listener = ignore,
) -> Checkup:
    """Check whether serving can work on this host, for an engine run by `python` (None: our own
    interpreter) on `port`, and keep the checkup in the journal of `home`, where it stands in the
    environment of later runs. Takes as long as importing vLLM. Raises StoreError when it cannot be
    kept; what cannot be found out is a check that says so."""
    checkup = examine(Path(home), python=python, port=port, listener=listener)
    with open_store(Path(home)) as store:
        add_checkup(store, checkup)
    return checkup


def examine(
    home: Path, *, python: str | None = None, port: int = PORT, listener: Listener = ignore
) -> Checkup:
    """All checks of this host, as `doctor` makes them, without keeping them. Never raises: a check
    that cannot be made says so."""
    return Checkup(
        id=secrets.token_hex(8),
        host=platform.node(),
        made_at=datetime.now(UTC),
        checks=tuple(_checks(home, python, port, listener)),
    )


def _checks(home: Path, python: str | None, port: int, listener: Listener) -> Iterator[Check]:
    def say(part: str, done: int) -> None:
        listener(Event("prepare", f"examining this host: {part}", done, 4))

    say("GPUs", 0)
    gpus = checks_engine.host_gpus()
    yield checks_engine.check_gpu(gpus)
    for check in (checks_engine.check_vram(gpus), checks_engine.check_readings(gpus)):
        if check is not None:
            yield check
    say("system", 1)
    here = environment(installed(Engine(model=EMBEDDED, python=python)))
    yield checks_host.check_cpu(here)
    yield checks_host.check_memory(here)
    if left := checks_host.check_shared_memory():
        yield left
    yield from checks_host.check_disk(home)
    yield checks_host.check_system()
    yield checks_host.check_python(here["engine_python"])
    say("importing vLLM", 2)
    build = checks_engine.build(python)
    yield checks_engine.check_vllm(build, gpus)
    yield checks_engine.check_cuda(build, gpus)
    yield checks_engine.check_embedded(build)
    yield checks_host.check_port(port)
    say("network", 3)
    yield checks_host.check_hub(os.environ)
    yield checks_host.check_token(os.environ)


def checkup_verdict(checkup: Checkup) -> str:
    """Whether and how serving works on the host, in a sentence or two."""
    missing = [check.name for check in checkup.checks if check.state == "missing"]
    states = {check.name: check for check in checkup.checks}
    if missing:
        return (
            f"Serving cannot work here yet: see {', '.join(missing)}. A server elsewhere can be "
            "measured: journal run --endpoint URL."
        )
    if states["gpu"].state != "ok":
        return (
            "There is no GPU here. Serving works on the CPU with small models, slowly: journal "
            f"run measures {EMBEDDED}, journal serve {EMBEDDED} keeps it up. For 7B models rent "
            "a GPU host, or measure a server elsewhere: journal run --endpoint URL."
        )
    if states["cuda"].state != "ok":
        return (
            "Serving works here on the CPU only, although there is a GPU: this vLLM cannot use it."
        )
    return "Serving works here, on the GPU: journal run measures, journal serve MODEL keeps it up."
