"""What stands beside a progress bar, and above it."""

import io
import sys

import pytest
from rich.progress import Progress

from journal.cli.progress import showing, time_left
from journal.records.progress import Event


def test_the_time_left_is_told_where_it_is_known() -> None:
    now_s = 0.0
    with Progress(auto_refresh=False, disable=True, get_time=lambda: now_s) as progress:
        bar, column = progress.add_task("", total=10), time_left()
        assert str(column(progress.tasks[0])) == ""
        for now_s in (1.0, 2.0, 3.0):  # noqa: B007 - the clock
            progress.update(bar, advance=1)
        now_s = 4.0
        assert str(column(progress.tasks[0])) == "left 0:00:07"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_phases_of_a_start_stay_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with showing() as listener:
        for step, phase in enumerate(
            ("starting vLLM", "loading 1 GiB", "loading 2 GiB", "warming")
        ):
            listener(Event("engine", f"m: {phase}", step - (step > 1), 4))
        listener(Event("cell", "cell 1 of 2", 0, 10))
        listener(Event("record", "a run"))
    said = screen.getvalue()
    stayed = [line.split("m: ")[-1] for line in said.splitlines() if " us" in line or " ms" in line]
    kept = [line.rsplit("  ", 1)[0] for line in stayed]
    assert kept == ["starting vLLM", "loading 2 GiB", "warming"], said
