"""A terminal of 80 columns for a `journal` command, and what it shows."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

COLUMNS = 80
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WAITS = re.compile(r"(?:: |：|> )$")  # for a line of its user


@dataclass(frozen=True)
class Shown:
    """What a command showed, without colours; `code` is its exit code, `took_s` its time."""

    code: int
    text: str
    took_s: float

    @property
    def lines(self) -> list[str]:
        """Every line, each state of a live bar among them."""
        return [line for line in re.split(r"[\r\n]+", self.text) if line.strip()]


@contextmanager
def terminal(
    words: list[str], env: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`journal` with `words` in a terminal; the descriptor is the other end of it."""
    master, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    command = [sys.executable, "-m", "journal", *words]
    with subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=kept | {"TERM": "xterm-256color"} | dict(env),
        start_new_session=True,
    ) as process:
        os.close(inside)
        try:
            yield process, master
        finally:
            os.close(master)


def read_more(master: int) -> bytes:
    """What comes next from the terminal; empty at its end."""
    try:
        return os.read(master, 1 << 16)
    except OSError:  # so a terminal whose other end is closed ends
        return b""


def typed(words: list[str], **env: str) -> Shown:
    """What `journal` with `words` shows until it ends; where it asks, Enter is pressed."""
    began_s, read = time.monotonic(), b""
    with terminal(words, env) as (process, master):
        while more := read_more(master):
            read += more
            if WAITS.search(_text(read[-200:])):
                os.write(master, b"\n")
        code = process.wait()
    return Shown(code, _text(read), time.monotonic() - began_s)


def _text(read: bytes) -> str:
    return CONTROL.sub("", read.decode(errors="replace"))
