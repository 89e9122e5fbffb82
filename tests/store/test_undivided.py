"""A block that stores what was measured is done before Ctrl-C counts."""

import signal
import threading
from collections.abc import Iterator

import pytest

from journal.store.undivided import undivided


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_counts_once_the_block_is_done() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), undivided():
        signal.raise_signal(signal.SIGINT)
        done.append("stored")
    assert done == ["stored"]
    with pytest.raises(KeyboardInterrupt):  # and as it did before
        signal.raise_signal(signal.SIGINT)


def test_a_second_ctrl_c_is_not_put_off() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), undivided():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append("stored")
    assert not done


def test_a_block_that_nobody_interrupts_changes_nothing() -> None:
    with undivided():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of a background job
    with undivided():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_beside_the_main_one_is_left_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        with undivided():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
