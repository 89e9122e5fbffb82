"""Starting, waiting for, and stopping an engine, with a stand-in that follows a script."""

import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from journal.errors import EndpointError, EngineError, EngineOutOfMemory
from journal.records.experiment import Engine
from journal.records.progress import Event
from journal.serve import process_tree as process
from journal.serve import start as engines
from journal.serve.probe import fetch

StandIn = Callable[..., Engine]
Gone = Callable[..., bool]


def pids_in(path: Path) -> list[int]:
    while not path.exists() or not path.read_text():
        time.sleep(0.02)
    return list(json.loads(path.read_text()))


def test_it_serves_tells_its_facts_and_leaves_nothing(
    stand_in: StandIn, gone: Gone, tmp_path: Path
) -> None:
    family, log_path = tmp_path / "family", tmp_path / "engines" / "one.log"
    events: list[Event] = []
    engine = stand_in({"family": str(family)})
    with engines.start(engine, log_path, events.append) as endpoint:
        assert fetch(f"{endpoint.base_url}/models").json()["data"][0]["id"] == endpoint.model
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        assert endpoint.prompt_form == "token_ids"
        assert endpoint.max_model_len == 4096
        assert endpoint.has_metrics
        assert psutil.pid_exists(endpoint.pid or 0)
        engines.check_alive(endpoint)
    facts = endpoint.facts
    assert (facts.kv_pool_bytes, facts.kv_pool_tokens) == (2 * 2**30, 93_184)
    assert facts.weights_bytes is None
    assert facts.prefix_caching is False
    assert facts.log_path == str(log_path)
    assert "--served-model-name" in facts.argv
    assert facts.start_s is not None and 0 < facts.start_s < 60
    assert stat.S_IMODE(log_path.stat().st_mode) == 0o600
    assert {event.stage for event in events} == {"engine"}
    passed = [event.done for event in events]
    assert passed == sorted(passed)
    assert all(event.total is not None and event.done < event.total for event in events)
    assert gone(pids_in(family), within_s=0.1)


def test_death_at_start_gives_the_cause_and_the_last_lines(
    stand_in: StandIn, gone: Gone, tmp_path: Path
) -> None:
    engine = stand_in({"log": "unknown_flag", "exit": 2, "family": str(tmp_path / "family")})
    with (
        pytest.raises(EngineError, match="knows no flag --nonsense-flag:") as caught,
        engines.start(engine, tmp_path / "log"),
    ):
        pytest.fail("it never served")
    assert "unrecognized arguments" in caught.value.log_tail
    assert gone(pids_in(tmp_path / "family"), within_s=0.1)


def test_death_for_want_of_memory_is_an_error_of_its_own(stand_in: StandIn, tmp_path: Path) -> None:
    engine = stand_in({"log": "kv_cache_too_large", "exit": 1})
    with (
        pytest.raises(EngineOutOfMemory, match=r"7\.3/9\.46 GiB .* asks for 100\.0 GiB"),
        engines.start(engine, tmp_path / "log"),
    ):
        pytest.fail("it never served")


@pytest.mark.timing
def test_an_engine_that_never_answers_is_given_up(
    stand_in: StandIn, gone: Gone, tmp_path: Path
) -> None:
    family = tmp_path / "family"
    engine = stand_in({"stall": True, "family": str(family)}, start_timeout_s=2.0)
    with (
        pytest.raises(EngineError, match=r"start_timeout_s = 2 s .* waiting for the first answer"),
        engines.start(engine, tmp_path / "log"),
    ):
        pytest.fail("it never served")
    assert gone(pids_in(family), within_s=0.1)


@pytest.mark.timing
def test_the_death_of_its_guard_is_named(stand_in: StandIn, gone: Gone, tmp_path: Path) -> None:
    family = tmp_path / "family"
    others = psutil.Process().children()  # among them the guard of an engine that tests share

    def kill_guard(_: Event) -> None:
        if family.exists():
            for child in set(psutil.Process().children()).difference(others):
                if process.is_running(child.pid) and str(process.GUARD) in child.cmdline():
                    child.kill()

    with (
        pytest.raises(EngineError, match="guard was killed by signal 9, and vLLM with it"),
        engines.start(
            stand_in({"stall": True, "family": str(family)}), tmp_path / "log", kill_guard
        ),
    ):
        pytest.fail("it never served")
    assert gone(pids_in(family))


def test_a_port_that_is_taken_is_refused_before_the_start(
    stand_in: StandIn, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(EngineError, match=rf"port {port} .*process {os.getpid()}"),
            engines.start(stand_in(), tmp_path / "log", port=port),
        ):
            pytest.fail("it never served")
    assert not (tmp_path / "log").exists()


def test_another_server_that_answers_on_the_port_is_refused(
    stand_in: StandIn, tmp_path: Path, fake_server: Callable[..., str]
) -> None:
    """It comes after the port was found free, and says that it is healthy: ours never listened."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    family = tmp_path / "family"
    script = (
        "import sys; from journal.simulator.http import Script, serve;"
        "serve(Script(), '127.0.0.1', int(sys.argv[1]))"
    )
    strangers: list[subprocess.Popen[bytes]] = []

    def come_later() -> None:
        pids_in(family)
        strangers.append(subprocess.Popen([sys.executable, "-c", script, str(port)]))

    thread = threading.Thread(target=come_later)
    thread.start()
    try:
        engine = stand_in({"stall": True, "family": str(family)}, start_timeout_s=60)
        with (
            pytest.raises(
                EngineError, match=f"port {port} is answered by another server"
            ) as failure,
            engines.start(engine, tmp_path / "log", port=port),
        ):
            pytest.fail("a stranger was taken for the engine")
        assert f"process {strangers[0].pid}" in str(failure.value)
    finally:
        thread.join()
        for stranger in strangers:
            stranger.kill()
            stranger.wait()


def test_a_stranger_who_answers_for_a_moment_is_waited_out(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it is healthy, and is gone when it is asked for its models."""
    asked: list[str] = []

    def fetched(url: str, **options: Any) -> Any:
        asked.append(url)
        if url.endswith("/models") and asked.count(url) == 1:
            raise EndpointError(f"{url} refuses the connection")
        return fetch(url, **options)

    monkeypatch.setattr(engines, "fetch", fetched)
    with engines.start(stand_in(), tmp_path / "log") as endpoint:
        engines.check_alive(endpoint)
    assert sum(url.endswith("/models") for url in asked) >= 2


def test_a_server_of_another_name_is_not_ours(stand_in: StandIn, tmp_path: Path) -> None:
    with (
        pytest.raises(EngineError, match="answered by another server"),
        engines.start(stand_in({"serve_as": "an-old-one"}), tmp_path / "log"),
    ):
        pytest.fail("an old server was taken for the engine")


@pytest.mark.timing
def test_death_while_it_serves_is_reported(stand_in: StandIn, gone: Gone, tmp_path: Path) -> None:
    family = tmp_path / "family"
    with pytest.raises(EngineError, match=r"was killed .* while it served"):  # noqa: SIM117
        with engines.start(stand_in({"family": str(family)}), tmp_path / "log") as endpoint:
            pids = pids_in(family)
            os.kill(pids[0], signal.SIGKILL)
            assert gone(pids), "its children live on"
            with pytest.raises(EngineError, match="died while it served"):
                engines.check_alive(endpoint)


def test_an_exception_in_the_block_passes_and_the_engine_ends(
    stand_in: StandIn, gone: Gone, tmp_path: Path
) -> None:
    family = tmp_path / "family"
    with (
        pytest.raises(KeyboardInterrupt),
        engines.start(stand_in({"family": str(family)}), tmp_path / "log"),
    ):
        raise KeyboardInterrupt
    assert gone(pids_in(family), within_s=0.1)


HOLDER = """
import json, sys
from pathlib import Path
from typing import Any
from journal.records.experiment import Engine
from journal.serve import start as engines
with engines.start(Engine(**json.loads(sys.argv[1])), Path(sys.argv[2])):
    print("ready", flush=True)
    input()
"""


def hold(engine: Engine, log_path: Path) -> "subprocess.Popen[str]":
    """Another process that starts `engine` and holds it."""
    fields = {"model": engine.model, "python": engine.python, "env": dict(engine.env)}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, json.dumps(fields), str(log_path)],
        env={**os.environ, "PYTHONPATH": engine.env["PYTHONPATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.timing
@pytest.mark.parametrize("attempt", range(4))
def test_sigkill_of_the_parent_leaves_nothing(
    stand_in: StandIn, gone: Gone, tmp_path: Path, attempt: int
) -> None:
    """At a random moment: while the engine loads (it stalls after its log), or while it serves."""
    family = tmp_path / "family"
    engine = stand_in({"family": str(family), "stall": attempt % 2 == 0})
    with hold(engine, tmp_path / "log") as holder:
        assert holder.stdout is not None
        try:
            pids = pids_in(family)
            if attempt % 2:
                assert holder.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0, 0.3))
        finally:
            holder.kill()
    assert gone(pids)


@pytest.mark.timing
def test_an_interrupt_while_it_starts_leaves_nothing(
    stand_in: StandIn, gone: Gone, tmp_path: Path
) -> None:
    family = tmp_path / "family"
    with hold(stand_in({"family": str(family), "stall": True}), tmp_path / "log") as holder:
        pids = pids_in(family)
        holder.send_signal(signal.SIGINT)
        assert holder.wait(30) != 0
    assert gone(pids, within_s=0.1)
