"""Where an engine of ours listens, under what name, and for whom."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_servers import hub

from journal.errors import EngineError, SpecError
from journal.records.engine import Access
from journal.records.experiment import Engine
from journal.records.progress import Event
from journal.serve import models
from journal.serve import start as engines
from journal.serve.probe import fetch

StandIn = Callable[..., Engine]


def test_it_bears_the_name_that_is_asked_for(stand_in: StandIn, tmp_path: Path) -> None:
    with engines.start(stand_in(), tmp_path / "log", name="org/a-model") as endpoint:
        assert endpoint.model == "org/a-model"
        assert fetch(f"{endpoint.base_url}/models").json()["data"][0]["id"] == "org/a-model"


def test_it_listens_for_the_network(stand_in: StandIn, tmp_path: Path) -> None:
    with engines.start(stand_in(), tmp_path / "log", host="0.0.0.0") as endpoint:
        assert endpoint.base_url.startswith("http://127.0.0.1:")
        port = int(endpoint.base_url.split(":")[2].split("/")[0])
        with pytest.raises(OSError), socket.create_server(("127.0.0.2", port)):
            pytest.fail("it listens at one address only")


def test_it_listens_on_ipv6(stand_in: StandIn, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this host has no IPv6")
    with engines.start(stand_in(), tmp_path / "log", host="::1") as endpoint:
        assert endpoint.base_url.startswith("http://[::1]:")
        assert endpoint.pid is not None


def test_a_name_is_no_address_to_listen_at(stand_in: StandIn, tmp_path: Path) -> None:
    with (
        pytest.raises(SpecError, match="'my-host' is not an IP address"),
        engines.start(stand_in(), tmp_path / "log", host="my-host"),
    ):
        pytest.fail("it never served")


def test_a_stranger_of_the_same_name_is_not_ours(
    stand_in: StandIn, tmp_path: Path, fake_server: Callable[..., str]
) -> None:
    """The stand-in never listens; what answers for it bears the same name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    events: list[Event] = []

    def come_later(event: Event) -> None:
        if not events:
            fake_server(model="org/a-model", port=port)
        events.append(event)

    engine = stand_in({"stall": True}, start_timeout_s=60)
    with (
        pytest.raises(EngineError, match="answered by another server"),
        engines.start(engine, tmp_path / "log", come_later, port=port, name="org/a-model"),
    ):
        pytest.fail("a stranger was taken for the engine")


def test_it_takes_only_requests_with_the_key(stand_in: StandIn, tmp_path: Path) -> None:
    with engines.start(stand_in(), tmp_path / "log", api_key="s3cret") as endpoint:
        assert endpoint.api_key == "s3cret"
        assert fetch(f"{endpoint.base_url}/models").status == 401
        assert fetch(f"{endpoint.base_url}/models", access=Access("s3cret")).status == 200
        assert not any("s3cret" in word for word in endpoint.facts.argv)
    assert "s3cret" not in (tmp_path / "log").read_text()


@pytest.mark.timing
def test_the_progress_of_a_download_is_told(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert models.fetched_bytes("example/tiny") is None
    blobs = tmp_path / "hub" / "models--example--tiny" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "whole").write_bytes(bytes(1024))
    assert models.fetched_bytes("example/tiny") is None
    (blobs / "part.incomplete").write_bytes(bytes(2048))
    events: list[Event] = []
    with hub(404) as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        engine = stand_in(
            {"log": "fetching", "stall": True}, model="example/tiny", start_timeout_s=1.0
        )
        with (
            pytest.raises(EngineError, match="last fetching the weights"),
            engines.start(engine, tmp_path / "log", events.append),
        ):
            pytest.fail("it never served")
    assert "example/tiny: downloading, 3 KiB are here" in {event.message for event in events}
