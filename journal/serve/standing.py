"""A server that is kept up by hand, and its entry, by which the other commands find it."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from journal.errors import EndpointError
from journal.paths import folder_is_at
from journal.private import make_folder
from journal.records.engine import Access, Endpoint
from journal.records.experiment import Engine
from journal.records.progress import Listener, ignore
from journal.serve import start as engines
from journal.serve.endpoint import HOST, models_of, normalised
from journal.serve.probe import NO_ACCESS

PERIOD_S = 1.0
DEFAULT_URL = f"http://{HOST}:8000/v1"


@dataclass(frozen=True, slots=True)
class Served:
    """The entry of a server that `journal serve` keeps up here. `pid` is the process of that
    command, and `created_s` its start, since process ids are used again."""

    base_url: str
    model: str
    pid: int
    created_s: float
    log_path: str
    has_key: bool = False

    @property
    def lives(self) -> bool:
        try:
            return psutil.Process(self.pid).create_time() == self.created_s
        except psutil.Error:
            return False


@contextmanager
def serve(
    engine: Engine | str,
    home: str | Path = "lab",
    *,
    host: str = HOST,
    port: int | None = None,
    api_key: str | None = None,
    listener: Listener = ignore,
) -> Iterator[Endpoint]:
    """Serve `engine` (or the model of that name) as long as the block lasts; `served` lists it
    meanwhile. It serves the model under the model's own name, and logs to `home`/engines. `port`
    None takes a free one. Raises SpecError or EngineError as `start` in serve/start.py does."""
    if isinstance(engine, str):
        engine = Engine(model=engine)
    home, now = Path(home), datetime.now(UTC)
    log_path = home.absolute() / "engines" / f"serve-{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    with engines.start(
        engine, log_path, listener, host=host, port=port, name=engine.model, api_key=api_key
    ) as endpoint:
        path = home / "serving" / f"{os.getpid()}.json"
        _announce(path, endpoint, log_path)
        try:
            yield endpoint
        finally:
            path.unlink(missing_ok=True)


def keep_up(endpoint: Endpoint) -> None:
    """Wait as long as the engine behind `endpoint` lives. Raises EngineError when it dies."""
    while True:
        engines.check_alive(endpoint)
        time.sleep(PERIOD_S)


def served(home: Path) -> list[Served]:
    """The servers that `journal serve` keeps up from this journal now, the newest last."""
    servers = []
    folder = home / "serving"
    for path in folder.glob("*.json") if folder_is_at(folder) else ():
        with suppress(OSError, ValueError, TypeError):
            one = Served(**json.loads(path.read_text()))
            if one.lives:
                servers.append(one)
            else:
                path.unlink(missing_ok=True)  # its command was killed
    return sorted(servers, key=lambda one: one.created_s)


def server_address(home: Path, base_url: str | None = None, access: Access = NO_ACCESS) -> str:
    """The base URL of a server: `base_url`, else the newest that `journal serve` keeps up from
    `home`, else the one that answers at DEFAULT_URL. Raises EndpointError where no server
    answers."""
    if base_url is not None:
        return normalised(base_url)
    if here := served(home):
        return here[-1].base_url
    try:
        models_of(DEFAULT_URL, access)
    except EndpointError as error:
        raise EndpointError(
            f"no server is kept up from {home}, and {error}; or name one with --endpoint, or "
            "start one with journal serve MODEL"
        ) from None
    return DEFAULT_URL


def _announce(path: Path, endpoint: Endpoint, log_path: Path) -> None:
    entry = Served(
        base_url=endpoint.base_url,
        model=endpoint.model,
        pid=os.getpid(),
        created_s=psutil.Process().create_time(),
        log_path=str(log_path),
        has_key=endpoint.api_key is not None,
    )
    make_folder(path.parent)
    half = path.with_suffix(".half")
    half.touch(mode=0o600)
    half.write_text(json.dumps(asdict(entry), indent=2) + "\n")
    half.rename(path)
