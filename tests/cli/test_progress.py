"""What stands beside a progress bar."""

from rich.progress import Progress

from journal.cli.progress import time_left


def test_the_time_left_is_told_where_it_is_known() -> None:
    now_s = 0.0
    with Progress(auto_refresh=False, disable=True, get_time=lambda: now_s) as progress:
        bar, column = progress.add_task("", total=10), time_left()
        assert str(column(progress.tasks[0])) == ""
        for now_s in (1.0, 2.0, 3.0):  # noqa: B007 - the clock
            progress.update(bar, advance=1)
        now_s = 4.0
        assert str(column(progress.tasks[0])) == "left 0:00:07"
