"""A server that is kept up by hand, and how it is found."""

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import psutil
import pytest

from journal.errors import EndpointError, EngineError, SpecError
from journal.records.engine import Endpoint
from journal.records.experiment import Engine
from journal.serve import standing
from journal.serve.standing import keep_up, serve, served, server_address

StandIn = Callable[..., Engine]


def test_it_is_known_while_it_is_up_and_no_longer(stand_in: StandIn, tmp_path: Path) -> None:
    home = tmp_path / "lab"
    engine = stand_in()
    assert served(home) == []
    with serve(engine, home) as endpoint:
        (server,) = served(home)
        assert (server.base_url, server.model) == (endpoint.base_url, engine.model)
        assert server.pid == os.getpid()
        assert not server.has_key
        assert Path(server.log_path).parent == home / "engines"
        assert "vLLM" in Path(server.log_path).read_text()
        assert server_address(home) == endpoint.base_url
        assert server_address(home, "http://elsewhere:1") == "http://elsewhere:1/v1"
    assert served(home) == []


def test_a_model_is_served_by_its_name_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Engine] = []

    def start(engine: Engine, *_: object, **__: object) -> AbstractContextManager[Endpoint]:
        started.append(engine)
        return nullcontext(Endpoint(base_url="http://127.0.0.1:9/v1", model=engine.model))

    monkeypatch.setattr(standing.engines, "start", start)
    with serve("owner/model", str(tmp_path)) as endpoint:
        assert [one.model for one in served(tmp_path)] == [endpoint.model]
    assert started == [Engine(model="owner/model")]


def test_what_a_killed_command_left_is_not_believed(tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    entry = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "log_path": "x"}
    dead = {**entry, "pid": 2**22 + 1, "created_s": 1.0}
    reused = {**entry, "pid": os.getpid(), "created_s": psutil.Process().create_time() - 100}
    for name, content in (("dead", dead), ("reused", reused)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "torn.json").write_text("{")
    (folder / "other.json").write_text('{"a": 1}')
    assert served(tmp_path) == []
    assert not (folder / "dead.json").exists()


def test_the_newest_is_the_one_that_is_meant(tmp_path: Path) -> None:
    (tmp_path / "serving").mkdir()
    me = psutil.Process()
    with subprocess.Popen(["sleep", "60"]) as younger:
        for process in (psutil.Process(younger.pid), me):
            entry = {
                "base_url": f"http://127.0.0.1:{process.pid}/v1",
                "model": "m",
                "log_path": "x",
            }
            entry |= {"pid": process.pid, "created_s": process.create_time()}
            (tmp_path / "serving" / f"{process.pid}.json").write_text(json.dumps(entry))
        assert [one.pid for one in served(tmp_path)] == [me.pid, younger.pid]
        assert server_address(tmp_path) == f"http://127.0.0.1:{younger.pid}/v1"
        younger.kill()


def test_no_server_at_all_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_server: Callable[..., str]
) -> None:
    monkeypatch.setattr(standing, "DEFAULT_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(EndpointError, match="journal serve MODEL"):
        server_address(tmp_path)
    with pytest.raises(SpecError, match="not the address"):
        server_address(tmp_path, "elsewhere")
    url = fake_server()
    monkeypatch.setattr(standing, "DEFAULT_URL", url)
    assert server_address(tmp_path) == url


def test_its_death_is_reported_with_the_cause(stand_in: StandIn, tmp_path: Path) -> None:
    def kept_up() -> None:
        with serve(stand_in(), tmp_path / "lab") as endpoint:
            psutil.Process(endpoint.pid).kill()
            keep_up(endpoint)

    with pytest.raises(EngineError, match="died while it served"):
        kept_up()
    assert served(tmp_path / "lab") == []
