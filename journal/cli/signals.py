"""Being asked to end: by Ctrl-C, by kill, or by a terminal that goes away."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Asked:
    """`signal` is the first that asked, if any did."""

    signal: int | None = None

    @property
    def exit_code(self) -> int:
        """As a shell reports a program that ended by that signal."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def like_ctrl_c() -> Iterator[Asked]:
    """SIGTERM and SIGHUP do inside the block what Ctrl-C does, so that an end that is asked for
    politely loses nothing either. A signal that was ignored (nohup) stays so."""
    asked = Asked()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def interrupt(number: int, _: object) -> None:
        asked.signal = asked.signal or number
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, interrupt)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
