"""Open loop and the search for capacity through the command, against servers of known truth."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from json_schemas import PRINTED, check

Server = Callable[..., str]
SMALL = ("--prompt-tokens", "8", "--output-tokens", "5", "--warmup", "1")


def journal(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "journal", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "120"}
    )


def measured(url: str, home: Path, *options: str) -> Any:
    result = journal("run", "--endpoint", url, *SMALL, *options, "--home", home, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.alone
def test_a_stall_cannot_hide_in_open_loop(fake_server: Server, tmp_path: Path) -> None:
    """The server stands still for 1 of 5 seconds, in which 50 of 250 requests are due. Whoever
    waits for answers before sending more would have met the stall with a handful of requests."""
    stall_s, every_s, alone_s = 1.0, 0.02, 0.06 + 4 * 0.01
    url = fake_server(ttft_s=0.06, itl_s=0.01, stall_at_s=3.5, stall_s=stall_s)
    (run,) = measured(url, tmp_path, "--rate", "50", "--burstiness", "0", "--requests", "250")

    due_s = np.arange(250) * every_s
    began_s = 2.0  # whenever: the schedule is the same around it
    waited = np.clip(began_s + stall_s - due_s, 0, stall_s)
    waited[due_s + alone_s < began_s] = 0  # over before it began
    truth = {f"p{p}": float(np.percentile(alone_s + waited, p)) for p in (50, 90, 95)}
    assert truth["p50"] == alone_s and truth["p90"] > 6 * alone_s
    assert run["e2e_s"]["p90"] == pytest.approx(truth["p90"], abs=0.1)
    assert run["e2e_s"]["p95"] == pytest.approx(truth["p95"], abs=0.1)
    assert alone_s <= run["e2e_s"]["p50"] < alone_s + 0.1

    figures = run["metrics"]
    assert (run["rate"], run["concurrency"], figures["offered_rate_per_s"]) == (50, None, 50)
    assert figures["achieved_rate_per_s"] == pytest.approx(50, rel=0.02)
    assert 0 <= figures["send_delay_s.p50"] < 0.05
    assert figures["concurrency_peak"] >= 50


@pytest.mark.alone
def test_a_server_that_is_offered_too_much_carries_a_doubt(
    fake_server: Server, tmp_path: Path
) -> None:
    """Two at a time, 100 ms each: 20 requests/s are what it can answer."""
    url = fake_server(ttft_s=0.06, itl_s=0.01, max_running=2)
    load = ("--rate", "10,40", "--burstiness", "0", "--requests", "80", "--slo-ttft-ms", "300")
    below, above = measured(url, tmp_path, *load)
    rules = [{rule["name"] for rule in run["doubt_rules"]} for run in (below, above)]
    assert ["falls_behind" in names for names in rules] == [False, True]
    assert below["metrics"]["good_fraction"] == 1
    assert above["metrics"]["good_fraction"] < 0.9
    assert above["metrics"]["goodput_per_s"] < above["requests_per_s"] <= 21
    shown = journal("show", above["id"], "--home", tmp_path).stdout
    assert "fell behind" in shown and "lower the rate" in shown
    assert "40 requests/s" in shown


@pytest.mark.timing
@pytest.mark.parametrize("burstiness", ["1", "4"])
def test_arrivals_by_chance_keep_to_their_schedule(
    fake_server: Server, tmp_path: Path, burstiness: str
) -> None:
    from journal.plan.prompts import arrivals
    from journal.store.store import open_store

    url = fake_server(ttft_s=0.01, itl_s=0.001)
    load = ("--rate", "60", "--burstiness", burstiness, "--requests", "90", "--seed", "3")
    (run,) = measured(url, tmp_path, *load)
    with open_store(tmp_path) as store:
        samples = store.samples(run["id"])
    assert samples is not None
    sent = [trace for trace in samples.traces if not trace.warmup]
    scheduled_s = np.array([trace.scheduled_s for trace in sent])
    assert scheduled_s - scheduled_s[0] == pytest.approx(arrivals(samples.cell))
    assert all(trace.start_s >= trace.scheduled_s for trace in sent)
    gaps_s = np.diff(scheduled_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(float(burstiness) ** -0.5, rel=0.25)


@pytest.mark.alone
@pytest.mark.slow
def test_a_rate_is_searched_for_and_told(fake_server: Server, tmp_path: Path) -> None:
    """Four at a time, 100 ms each: 40 requests/s are what it can answer, and a tenth more is what
    the search may be wrong by."""
    url = fake_server(ttft_s=0.06, itl_s=0.01, max_running=4)
    file = tmp_path / "capacity.toml"
    file.write_text(
        'find_capacity = "rate"\n[grid]\nrate = [30]\nprompt_tokens = [8]\noutput_tokens = [5]\n'
        "[load]\nburstiness = 0\nwarmup = 1\n[slo]\nttft_ms = 250\ngood_fraction = 0.8\n"
        '[engine]\nmodel = "whatever is there"\n'
    )
    home = tmp_path / "lab"
    result = journal("run", file, "--endpoint", url, "--home", home, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    check(told, PRINTED["run"])
    (found,) = told["capacity"]
    assert found["of"] == "rate" and found["whole"]
    assert found["alone"]["good_fraction"] == 1
    assert 15 <= found["holds_up_to"] <= 40 < 1.08 * found["breaks_from"]
    assert found["undecided"] == [found["holds_up_to"], found["breaks_from"]]
    assert found["held"]["load"] == found["holds_up_to"] < found["breaks_from"]
    assert found["held"]["interval"][0] >= 0.8
    assert len(told["runs"]) == 1 + sum(len(probe["runs"]) for probe in found["probes"])
    assert len(told["runs"]) <= 97
    again = json.loads(journal("show", found["held"]["runs"][0], "--home", home, "--json").stdout)
    assert again["capacity"] == told["capacity"]
    shown = journal("show", "last", "--home", home).stdout
    assert "the highest rate that holds the SLO lies between" in " ".join(shown.split())


def test_the_plan_of_a_search_says_what_it_costs(tmp_path: Path) -> None:
    file = tmp_path / "capacity.toml"
    file.write_text(
        'find_capacity = "rate"\n[slo]\nttft_ms = 4000\n[engine]\nmodel = "whatever is there"\n'
    )
    shown = " ".join(journal("plan", file).stdout.split())
    assert "which takes at most 97 runs, about 10 min of load" in shown
    assert "or more where a request takes longer than 321 ms" in shown


WRONG = [
    (["--find-capacity", "rate"], "--slo-ttft-ms"),
    (["--find-capacity", "rate", "--concurrency", "8", "--slo-e2e-ms", "9"], "--concurrency"),
    (["--find-capacity", "concurrency", "--rate", "8", "--slo-e2e-ms", "9"], "--rate"),
    (["--find-capacity", "rate", "--repeats", "2", "--slo-e2e-ms", "9"], "--repeats"),
    (["--find-capacity", "speed", "--slo-e2e-ms", "9"], "speed"),
    (["--slo-tpot-ms", "-1"], "-1"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_a_search_that_cannot_be_is_refused(tmp_path: Path, options: list[str], said: str) -> None:
    result = journal("run", "quickstart", *options, "--home", tmp_path)
    assert result.returncode == 2
    assert said in result.stderr and "Traceback" not in result.stderr
    assert not (tmp_path / "journal.db").exists()
