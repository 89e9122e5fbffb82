"""The picture of `journal watch`, and its forms for scripts."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from journal.cli.app import app
from journal.cli.watch_view import BARS, BLOCKS, pool_lines, screen, sparkline, watch_rows
from journal.monitor.watch import Look
from journal.records.engine import Endpoint

FakeServer = Callable[..., str]
GIB = 2**30
ALTERNATE_ON, ALTERNATE_OFF = "\x1b[?1049h", "\x1b[?1049l"  # a terminal's second screen
CURSOR_ON, CURSOR_OFF = "\x1b[?25h", "\x1b[?25l"

GPU = Look(
    at=datetime(2026, 3, 1, 9, 0, tzinfo=UTC),
    at_s=1.0,
    cards=8,
    vram_used_bytes=576 * GIB,
    vram_total_bytes=640 * GIB,
    gpu_fraction=0.93,
    gpu_fraction_least=0.41,
    gpu_fraction_most=1.0,
    power_w=5612.0,
    temperature_c=71.0,
    rss_bytes=12 * GIB,
    cpu_cores=12.25,
    kv_cache_fraction=0.972,
    kv_used_bytes=467 * GIB,
    kv_pool_bytes=480 * GIB,
    kv_pool_tokens=3_932_160,
    running=256.0,
    waiting=1024.0,
    output_tokens_per_s=12345.6,
    prompt_tokens_per_s=234567.8,
    ttft_mean_s=0.523,
    ttft_p50_s=0.5,
    ttft_p95_s=2.5,
    itl_mean_s=0.0212,
    prefix_hit_fraction=0.5,
    preemptions=12.0,
    absent=("Card 3 does not tell its energy: not supported by this card or this platform.",) * 9,
)
CPU = Look(at=GPU.at, at_s=1.0, rss_bytes=3 * GIB, cpu_cores=1.9, running=1.0, waiting=0.0)
LONG = Endpoint(base_url="http://127.0.0.1:8000/v1", model="mistralai/Mistral-7B-Instruct-v0.2" * 3)


def drawn(looks: list[Look], width: int, height: int | None) -> list[str]:
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(screen(LONG, looks, 1.0, width, height))
    return capture.get().splitlines()


@pytest.mark.parametrize("looks", [[GPU], [GPU] * 300, [CPU] * 3, [replace(GPU, answers=False)]])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 14), (132, 50)])
def test_it_fits(looks: list[Look], width: int, height: int) -> None:
    lines = drawn(looks, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert "Ctrl-C" in lines[-1]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_text_is_cut(width: int) -> None:
    now = replace(GPU, prompt_tokens_per_s=1_234_567.0, kv_block_tokens=16)
    lines = drawn([now] * 3, width, None)
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for row in watch_rows(now):
        shown = row.shown(getattr(now, row.name))
        line = next(line for line in lines if line.startswith(f"{row.label:<16} "))
        assert shown + row.beside in line and line.endswith(shown), "its value, and the most"
    squeezed = re.sub(r"\s", "", text)
    assert LONG.model in squeezed and LONG.base_url in squeezed
    assert "245,760 blocks of 16 tok" in text


@given(st.floats(0, 1), st.integers(60, 120))
def test_the_pool_is_drawn_as_its_share(share: float, width: int) -> None:
    first, *sizes = pool_lines(replace(GPU, kv_cache_fraction=share), width)
    used, free = first.plain.count(BLOCKS[0]), first.plain.count(BLOCKS[1])
    assert used + free == width - 17
    assert used / (used + free) == pytest.approx(share, abs=1 / (width - 17))
    assert (used > 0) == (share > 0) and (free > 0) == (share < 1)
    assert {"reserved 480 GiB = 3,932,160 tok"} <= {
        part.strip() for line in sizes for part in line.plain.split("  ")
    }


def test_a_small_use_of_the_pool_still_moves_its_history() -> None:
    looks = [replace(GPU, kv_cache_fraction=share) for share in (0.001, 0.004, 0.008)]
    line = next(line for line in drawn(looks, 80, 24) if line.startswith("KV cache in use"))
    assert "▂▅█" in line
    assert pool_lines(replace(GPU, kv_cache_fraction=None), 80) == []


def test_what_matters_stays_where_there_is_little_room() -> None:
    text = "\n".join(drawn([GPU, GPU], 80, 13))  # three of them for a very long name
    for label in ("VRAM, 8 GPUs", "KV cache in use", "running", "waiting", "output", "TTFT mean"):
        assert label in text
    assert "temperature" not in text


def test_the_values_of_a_gpu_host() -> None:
    text = "\n".join(drawn([GPU, GPU], 80, 24))
    for said in (
        "576 GiB of 640 GiB",
        "93% (41% to 100%)",
        "5,612 W",
        "97.2%",
        "in use 467 GiB = 3,822,060 tok",
    ):
        assert said in text
    for said in ("12,346 tok/s", "523 ms", "1,024"):
        assert said in text
    alarms = {row.label for row in watch_rows(GPU) if row.alarm}
    assert alarms == {"KV cache in use", "waiting", "preemptions"}


def test_resident_memory_stands_in_place_of_vram_on_the_cpu() -> None:
    text = "\n".join(drawn([CPU], 80, 24))
    assert "resident memory  3 GiB" in text
    assert "VRAM" not in text
    assert "output           –" in text


@given(
    st.lists(st.none() | st.floats(0, 1e6), max_size=60),
    st.integers(0, 40),
    st.floats(0, 1e6),
)
def test_sparklines_have_the_width_asked_for(
    values: list[float | None], width: int, full: float
) -> None:
    line = sparkline(values, width, full)
    assert len(line) == max(width, 0)
    assert set(line) <= set(BARS) | {" "}


def test_sparklines_rise_with_the_values_and_leave_gaps() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8], 9, 8.0) == "▁▂▃▄▅▆▇██"
    assert sparkline([None, 8, None], 5, 8.0) == "   █ "
    assert sparkline([1, 2, 3, 4], 2, 4.0) == "▇█"
    assert sparkline([0, 4], 2, 4.0, bars="_#") == "_#"


def test_a_sparkline_whose_scale_is_all_but_zero_is_full() -> None:
    assert sparkline([1.0], 1, 5e-324) == "█"


def test_once_and_json(fake_server: FakeServer, tmp_path: Path) -> None:
    asked = ["watch", "--endpoint", fake_server(), "--home", str(tmp_path), "--once", "-n", "0.2"]
    text = CliRunner().invoke(app, asked, env={"COLUMNS": "80"})
    assert text.exit_code == 0
    assert "output           0 tok/s" in text.stdout
    assert text.stdout.endswith("latencies are those of the last 0.2 s\n")
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert (told["running"], told["output_tokens_per_s"], told["ttft_mean_s"]) == (0, 0, None)
    assert datetime.fromisoformat(told["at"]).tzinfo is not None


@pytest.mark.timing
def test_json_goes_on_line_by_line_until_ctrl_c(fake_server: FakeServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "journal", "watch", "--endpoint", fake_server()]
    process = subprocess.Popen(
        [*command, "--home", str(tmp_path), "--interval", "0.2", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    looks = [json.loads(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert [look["answers"] for look in looks] == [True] * 3
    assert looks[2]["at_s"] - looks[0]["at_s"] >= 0.39


@pytest.mark.timing
def test_the_live_view_in_a_terminal_of_80_by_24(fake_server: FakeServer, tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "journal", "watch", "--endpoint", fake_server()]
    command += ["--home", str(tmp_path), "--interval", "0.2"]
    env = os.environ | {"TERM": "xterm-256color"}
    env = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, env=env) as process:
        read = b""
        while read.count(b"Ctrl-C ends") < 3:
            ready, _, _ = select.select([master], [], [], 30)
            assert ready, read
            read += os.read(master, 65536)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        os.close(terminal)
        with contextlib.suppress(OSError):  # so a terminal whose other end is closed ends
            while more := os.read(master, 65536):
                read += more
    os.close(master)
    seen = read.decode()
    plain = re.sub(r"\x1b\[[0-9;]*H", "\n", seen)  # a move of the cursor begins a line
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", plain)
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert re.search(r"running +0 +▁+ +0", plain), plain
    assert seen.rindex(ALTERNATE_OFF) > seen.rindex(ALTERNATE_ON)
    assert seen.rindex(CURSOR_ON) > seen.rindex(CURSOR_OFF)


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    asked = ["watch", "--endpoint", "http://127.0.0.1:9", "--once", "--home", str(tmp_path)]
    found = CliRunner().invoke(app, asked)
    assert "refuses the connection" in str(found.exception)
