"""Workloads over real HTTP: a server that keeps what it was sent has got what the user gave."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
import pytest
from keeping_server import Kept, keeping, natural_length

import journal
from journal.compare.comparison import compare
from journal.errors import UsageError
from journal.records.experiment import Experiment, Grid, Load
from journal.records.run import Record
from journal.records.workload import Workload
from journal.report.run_json import run_json
from journal.run.summary import recompute
from journal.simulator.http import Script, running
from journal.store.store import open_store

LINES = 12
LONGEST = 40


@dataclass(frozen=True)
class Ran:
    """A measured workload: its record, the requests that the server kept, and the log."""

    record: Record
    sent: list[Kept]
    log: str


@dataclass(frozen=True)
class Lab:
    home: Path
    chats: list[dict[str, Any]]
    runs: dict[str, Ran]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A journal of five workloads, measured against a server that keeps what it was sent; the
    chats have several messages and languages, and a tool in one of them."""
    home = tmp_path_factory.mktemp("workloads")
    path = home / "chats.jsonl"
    tool = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    chats: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "system", "content": "Sei kurz. 简短。"},
                {"role": "user", "content": f"question {n} " + "word " * n},
            ],
            **({"tools": tool} if n == 3 else {}),
        }
        for n in range(LINES)
    ]
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in chats))
    own, short = str(path), Grid(output_tokens=(8,))
    fast = Grid(rate=(50.0,), output_tokens=(4,))
    asked = {
        "own": (Workload(prompts=own), short),
        "again": (Workload(prompts=own), short),
        "shuffled": (Workload(prompts=own, shuffle=True), fast),
        "text": (Workload(prompts="text:en", api="chat"), short),
        "natural": (
            Workload(prompts=own, natural_end=True),
            Grid(batch=(4,), output_tokens=(LONGEST,)),
        ),
    }
    runs = {}
    with keeping() as keeper, pytest.MonkeyPatch.context() as patch:
        # nobody listens there, and it is told at once: these tests are not about MLflow
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        endpoint = journal.attach(keeper.url)
        for name, (workload, grid) in asked.items():
            before = len(keeper.kept)
            load = Load(warmup=0, burstiness=0.0)
            experiment = Experiment(name=name, grid=grid, load=load, workload=workload)
            result = journal.run(experiment, home, endpoint=endpoint)
            (record,) = result.records
            assert record.good, (record.error, record.doubts)
            sent = [one for one in keeper.loads() if one in keeper.kept[before:]]
            runs[name] = Ran(record, sent, result.log.markdown.read_text())
    yield Lab(home, chats, runs)


def test_every_line_arrives_once_in_order_and_unchanged(lab: Lab) -> None:
    ran = lab.runs["own"]
    assert {one.path for one in ran.sent} == {"/v1/chat/completions"}
    own = [{key: one.fields[key] for key in lab.chats[n]} for n, one in enumerate(ran.sent)]
    assert own == lab.chats
    assert all(one.fields["max_tokens"] == 8 for one in ran.sent)


def test_the_tokens_of_own_prompts_are_those_that_the_server_counts(lab: Lab) -> None:
    record = lab.runs["own"].record
    words = sorted(len(line["messages"][-1]["content"].split()) for line in lab.chats)
    assert record.cell.prompt_tokens == words[(LINES - 1) // 2], "the median"
    assert record.value("prompt_length.min") == words[0]
    assert record.value("prompt_length.max") == words[-1]
    assert not [doubt for doubt in record.doubts if doubt.name == "prompt_tokens"]


def test_two_runs_of_one_hash_sent_the_same_bytes(lab: Lab) -> None:
    first, second, third = (
        [one.body for one in lab.runs[name].sent] for name in ("own", "again", "text")
    )
    assert first == second != third
    hashes = [lab.runs[name].record.environment["sent_sha256"] for name in ("own", "again", "text")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_shuffled_lines_all_arrive_at_the_rate_asked(lab: Lab) -> None:
    ran = lab.runs["shuffled"]
    texts = [line["messages"][-1]["content"] for line in lab.chats]
    assert sorted(texts) == sorted(one.text for one in ran.sent)
    assert texts != [one.text for one in ran.sent]
    assert ran.record.value("achieved_rate_per_s") == pytest.approx(50.0, rel=0.2)


def test_natural_ends_are_measured_and_not_doubted(lab: Lab) -> None:
    ran = lab.runs["natural"]
    assert not any("ignore_eos" in one.fields for one in ran.sent)
    truth = sorted(natural_length(one.text, LONGEST) for one in ran.sent)
    assert truth[-1] < LONGEST
    assert ran.record.value("output_length.mean") == pytest.approx(sum(truth) / LINES)
    met = [ran.record.value(f"output_length.{name}") for name in ("min", "max")]
    assert met == [truth[0], truth[-1]]
    assert not {doubt.name for doubt in ran.record.doubts} & {"short_outputs", "long_outputs"}
    assert "Answers by their tokens" in ran.log and "Answers by" not in lab.runs["own"].log
    assert "Prompts by their tokens" in lab.runs["own"].log


def test_a_workload_is_stored_shown_and_computed_again(lab: Lab) -> None:
    ran = lab.runs["own"]
    with open_store(lab.home) as store:
        stored = store.run(ran.record.id)
    assert stored.cell == ran.record.cell and stored.cell.workload.content is not None
    told = run_json(stored)["workload"]
    assert (told["name"], told["api"]) == ("chats.jsonl", "chat")
    assert told["sent_sha256"] == ran.record.environment["sent_sha256"]
    assert recompute(lab.home) == ()
    assert "What was sent" in ran.log and "chats.jsonl" in ran.log


def test_runs_of_different_workloads_are_not_compared(lab: Lab) -> None:
    own, again, other = (lab.runs[name].record.id for name in ("own", "again", "text"))
    assert compare(own, again, lab.home)
    with pytest.raises(UsageError, match="workload is"):
        compare(own, other, lab.home)


@pytest.mark.alone
def test_a_trace_arrives_within_a_millisecond_at_200_requests_per_second(tmp_path: Path) -> None:
    """Of 100 of its requests 99 do; on a slow or busy machine, whose server has a part of the same
    cores, they may be six times as late as a program that only sleeps."""
    path = tmp_path / "trace.jsonl"
    due_s = [n / 200 + (n % 3) * 1e-3 for n in range(200)]
    lines = [{"at_s": at_s, "prompt_tokens": 8, "output_tokens": 16} for at_s in due_s]
    path.write_text("\n".join(map(json.dumps, lines)))
    experiment = Experiment(
        name="trace", load=Load(warmup=1), workload=Workload(trace=str(path), from_s=0.0)
    )
    with running(Script(ttft_s=0.002, itl_s=0.001)) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        result = journal.run(experiment, tmp_path, endpoint=journal.attach(url))
    (record,) = result.records
    assert record.value("requests") == 200
    late_s = record.value("client_send_delay_p99_s")
    assert late_s is not None and late_s < max(1e-3, 6 * machine.late_s(0.99))
    assert record.value("achieved_rate_per_s") == pytest.approx(199 / due_s[-1], rel=0.01)
    assert "trace trace.jsonl" in result.log.markdown.read_text()
