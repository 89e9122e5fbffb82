"""The commands of docs/other-tools.md for ab and hey, as they stand there: they run, and they show
and miss what the page says."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FakeServer = Callable[..., str]
ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "other-tools.md").read_text()


def typed(tool: str, url: str) -> str:
    """What the page's command with `tool` prints, at the server at `url`."""
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed (Debian: apt-get install apache2-utils hey)")
    (line,) = re.findall(rf"^{tool} .*", PAGE, re.MULTILINE)
    command = shlex.split(line.replace("http://127.0.0.1:8000/v1", url))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found[1])


def simulated(fake_server: FakeServer, **script: object) -> str:
    """The server of the page: a first token after 0.2 s, then one every 0.02 s."""
    return fake_server(model="simulated-7b", ttft_s=0.2, itl_s=0.02, **script)


@pytest.mark.alone
def test_ab_tells_the_whole_latency_and_no_first_token(fake_server: FakeServer) -> None:
    said = typed("ab", simulated(fake_server))
    assert number(r"Complete requests: +(\d+)", said) == 64
    assert number(r"Failed requests: +(\d+)", said) == 0
    assert number(r"Total: +(\d+)", said) >= 200 + 31 * 20
    assert number(r"Waiting: +\d+ +(\d+)", said) < 200


@pytest.mark.alone
def test_hey_tells_the_whole_latency_and_no_first_token(fake_server: FakeServer) -> None:
    said = typed("hey", simulated(fake_server))
    assert number(r"\[200\]\s+(\d+) responses", said) == 64
    assert number(r"Fastest:\s+([\d.]+) secs", said) >= 0.2 + 31 * 0.02
    assert number(r"resp wait:\s+([\d.]+) secs", said) < 0.2


def test_a_server_whose_every_answer_breaks_is_healthy_to_both(fake_server: FakeServer) -> None:
    url = simulated(fake_server, fault="error_in_stream")
    assert number(r"Failed requests: +(\d+)", typed("ab", url)) == 0
    assert number(r"\[200\]\s+(\d+) responses", typed("hey", url)) == 64
