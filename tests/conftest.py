"""Fixtures that more than one room needs."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from journal.desk.fake_server import Script, running


@pytest.fixture
def fake_server() -> Iterator[Callable[..., str]]:
    """Start a simulated server in a process of its own: `fake_server(Script(...)) -> base_url`,
    or `fake_server(ttft_s=0.1)`. It ends with the test."""
    with contextlib.ExitStack() as servers:

        def start(script: Script | None = None, **options: object) -> str:
            return servers.enter_context(running(script or Script(**options)))  # type: ignore[arg-type]

        yield start
