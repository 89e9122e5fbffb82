"""docs/calibration.md: no row of its tables lies outside of what the journal promises of its
intervals and verdicts."""

import math
from pathlib import Path

import pytest

from benchmarks.calibrate_capacity import GRACE

PAGE = (Path(__file__).parent.parent / "docs" / "calibration.md").read_text()
ABSENT = "–"
LANES_PER_S = 40  # requests that the lanes of the searches by rate can answer


def rows(part: str) -> list[list[str]]:
    """The cells of each row of the table between the marks of `part`, without its head."""
    table = PAGE.partition(f"<!-- {part} -->\n")[2].partition(f"<!-- end of {part} -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(cells) > 3, part
    return cells[2:]


def share(cell: str) -> float:
    assert cell.endswith("%"), cell
    return float(cell.removesuffix("%")) / 100


def outside(row: list[str], least: float, most: float) -> bool:
    """Whether the intervals of a row hold the truth less often than `least` or more often than
    `most`; of fewer than 100 intervals, all may."""
    _, _, held, given, _, runs = row
    if held == ABSENT:
        return share(given) > 0
    count = share(given) * int(runs)
    missed = (1 - share(held)) * count
    return missed > (1 - least) * count + 0.5 or missed < math.floor((1 - most) * count) - 0.5


@pytest.mark.parametrize("part", ["closed", "open", "steps"])
def test_every_stated_interval_holds_the_truth_in_90_to_99_percent(part: str) -> None:
    """A row at the edge is drawn with `--trials 2000`: chance moves one of 400 runs by a point."""
    assert [row for row in rows(part) if outside(row, 0.90, 0.99)] == []


def test_loops_as_they_are_sent_hold_the_truth_in_90_percent_and_more() -> None:
    """Their lengths are the same in each run, which intervals do not count on."""
    assert [row for row in rows("as sent") if outside(row, 0.90, 1.0)] == []


@pytest.mark.parametrize("part", ["good", "batching", "users", "limits", "loopback"])
def test_what_was_added_later_and_real_runs_stay_above_85_percent(part: str) -> None:
    assert [row for row in rows(part) if outside(row, 0.85, 1.0)] == []


def test_a_row_of_too_few_or_too_many_is_outside() -> None:
    def row(held: str, given: str = "100%", runs: str = "400") -> list[str]:
        return ["a world", "`e2e_s.p50`", held, given, "3.0%", runs]

    assert not outside(row("90.0%"), 0.9, 0.99) and outside(row("89.5%"), 0.9, 0.99)
    assert not outside(row("99.0%"), 0.9, 0.99) and outside(row("99.5%"), 0.9, 0.99)
    assert not outside(row("100.0%", "3%"), 0.9, 0.99) and outside(row("88.0%", "10%"), 0.9, 0.99)
    assert not outside(row(ABSENT, "0%"), 0.9, 0.99)


def test_equal_sides_are_called_different_in_5_percent_at_most() -> None:
    for row in rows("comparisons"):
        if row[0] == "equal":
            assert max(map(share, row[-2:])) <= 0.05, row
        if row[0] == "differ by 10%" and row[1] == "3" and row[6] == "3.0%":
            assert min(map(share, row[-2:])) >= 0.60, row


def test_equal_setups_of_a_day_are_called_different_in_5_percent_at_most() -> None:
    for setups, starts, batches, slower, together, _ in rows("setups"):
        if slower == "0%":
            assert share(together) <= 0.05, (setups, starts, batches)
        else:
            assert share(together) >= 0.60, (setups, starts, batches)


AT_THE_THRESHOLD = {
    ("flat within 10%", "at the band"),
    ("grows in step, within 10%", "at the band"),
    ("grows more slowly", "exponent 1"),
    ("is at least a value", "at the bound"),
    ("A below B", "equal"),
    ("saturates between two batches", "a doubling gains 1.2 there"),
    ("prediction", "at the band"),
}


def test_a_claim_is_hardly_ever_judged_wrongly() -> None:
    """At the threshold either verdict is wrong; elsewhere the rarer of the two is."""
    edges = set()
    for claim, truth, *_, supported, refuted, _ in rows("claims"):
        at_edge = (claim, truth) in AT_THE_THRESHOLD
        edges |= {(claim, truth)} if at_edge else set()
        both = sorted((share(supported), share(refuted)))
        assert both[-1 if at_edge else 0] <= (0.05 if at_edge else 0.005), (claim, truth)
    assert edges == AT_THE_THRESHOLD


def test_a_gate_is_hardly_ever_wrong() -> None:
    for worse, limit, *_, passed, failed, _ in rows("gate"):
        wrong = [passed if share(worse) >= share(limit) else "0%"]
        wrong.append(failed if share(worse) <= share(limit) else "0%")
        most = 0.05 if worse == limit else 0.005
        assert max(map(share, wrong)) <= most, (worse, passed, failed)


def test_capacity_lies_between_the_ends_of_nine_searches_in_ten() -> None:
    """None holds more than the truth, with the grace of the page; a limit that a queue of bursts
    takes long to reach has longer runs."""
    every = rows("capacity")
    for search, truth, between, highest, _, longest_s in every:
        assert share(between) >= 0.9, search
        if (
            "services that vary" not in search
        ):  # which one run of a search has longer, another shorter
            assert float(highest) <= GRACE * float(truth), search
        assert not search.startswith("rate") or float(highest) <= LANES_PER_S, search
        slow = "in bursts" in search and "2,000 ms" in search
        assert float(longest_s) <= (1200 if slow else 300), search
    assert sum("in bursts" in row[0] for row in every) == 3
    assert sum("services that vary" in row[0] for row in every) == 2


def test_healthy_open_loops_are_left_alone_and_overload_is_named() -> None:
    for server, load, requests, slower, behind, unseen, drift, _ in rows("open loops"):
        if float(load) < 1 and slower == "no":
            assert max(share(behind), share(drift)) <= 0.02, (server, load, requests)
        if load == "1.2" and requests == "300":
            assert share(behind) + share(unseen) >= 0.95, (server, load)


def test_planted_faults_are_named_and_no_healthy_run_is_flagged() -> None:
    """Two servers may hide behind one stream more or less in flight, in one of fifty runs, and slow
    noise may pass for drift in as many."""
    least = {"two servers, one half as fast again": 0.98}
    assert [row for row in rows("faults") if share(row[3]) < least.get(row[1], 1.0)] == []
    for run, flagged, drift, _ in rows("healthy runs"):
        assert flagged == ABSENT and share(drift) <= 0.02, run
    for loop, in_step, _ in rows("in step"):
        assert in_step == ("100.0%" if loop.startswith("in step") else "0.0%"), loop
