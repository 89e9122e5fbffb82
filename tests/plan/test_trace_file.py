"""Traces: each form is read, windows and speed are exact, and hash ids become shared blocks."""

import json
from pathlib import Path
from typing import Any

import pytest

from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.own_prompts import due_times, with_workload
from journal.plan.prompts import requests
from journal.plan.trace_file import BLOCK_TOKENS, Arrival, arrivals_of
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load, Slo
from journal.records.workload import Workload

HERE = Endpoint(base_url="http://127.0.0.1:1/v1", model="here")
FORMS = {
    "mooncake.jsonl": (
        '{"timestamp": 1000, "input_length": 600, "output_length": 3, "hash_ids": [1, 2]}\n'
        '{"timestamp": 1250, "input_length": 700, "output_length": 4, "hash_ids": [1, 3]}\n'
    ),
    "burstgpt.csv": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,600,3,603,Conversation log\n5.1,ChatGPT,9,0,9,Conversation log\n"
        "5.25,GPT-4,700,4,704,API log\n"
    ),
    "azure.csv": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,600,3\n"
        "2023-11-16 18:17:04.2299600,700,4\n"
    ),
    "own.jsonl": (
        '{"at_s": 7, "prompt_tokens": 600, "output_tokens": 3}\n'
        '{"at_s": 7.25, "prompt_tokens": 700, "output_tokens": 4}\n'
    ),
}


def asked(path: Path, **changes: Any) -> Experiment:
    return Experiment(
        name="replay", load=Load(warmup=0), workload=Workload(trace=str(path), **changes)
    )


def replayed(path: Path, **changes: Any) -> Cell:
    return cells(with_workload(asked(path, **changes)), model="here")[0]


@pytest.mark.parametrize("name", FORMS)
def test_each_form_says_when_and_how_long(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FORMS[name])
    first, second = arrivals_of(Workload(trace=str(path)))
    assert (first.at_s, first.prompt_tokens, first.output_tokens) == (0.0, 600, 3)
    assert second.at_s == pytest.approx(0.25, abs=1e-6)
    assert (second.prompt_tokens, second.output_tokens) == (700, 4)
    cell = replayed(path)
    assert cell.rate == pytest.approx(4.0) and cell.load.requests == 2
    sent = requests(cell, HERE, "run")
    assert [one.due_s for one in sent] == pytest.approx([0.0, 0.25])
    assert [len(json.loads(one.content)["prompt"]) for one in sent] == [600, 700]
    assert [json.loads(one.content)["max_tokens"] for one in sent] == [3, 4]


def test_hash_ids_become_blocks_that_prompts_share(tmp_path: Path) -> None:
    path = tmp_path / "mooncake.jsonl"
    path.write_text(FORMS["mooncake.jsonl"])
    one, two = (json.loads(r.content)["prompt"] for r in requests(replayed(path), HERE, "run"))
    assert one[:BLOCK_TOKENS] == two[:BLOCK_TOKENS]
    assert one[BLOCK_TOKENS:] != two[BLOCK_TOKENS : len(one)]
    other = json.loads(requests(replayed(path), HERE, "other")[0].content)["prompt"]
    assert other[:BLOCK_TOKENS] != one[:BLOCK_TOKENS]


def test_a_window_and_a_speed_are_those_of_the_trace(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(
        "".join(
            f'{{"at_s": {n}, "prompt_tokens": {n + 1}, "output_tokens": 2}}\n' for n in range(9)
        )
    )
    chosen = arrivals_of(Workload(trace=str(path), from_s=2.0, until_s=5.0, speed=4.0))
    assert chosen == (Arrival(0.0, 3, 2), Arrival(0.25, 4, 2), Arrival(0.5, 5, 2))
    assert replayed(path, speed=4.0).rate == pytest.approx(4.0)
    assert replayed(path).identity != replayed(path, speed=4.0).identity
    with pytest.raises(SpecError, match="has no request from 20 s"):
        replayed(path, from_s=20.0)


def test_a_trace_may_bring_its_prompts_along(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f'{{"at_s": {n / 2}, "prompt": "n{n}"}}\n' for n in range(6)))
    cell = replayed(path, from_s=1.0, speed=2.0)
    sent = requests(cell, HERE, "run")
    assert [json.loads(one.content)["prompt"] for one in sent] == ["n2", "n3", "n4", "n5"]
    assert [one.due_s for one in sent] == [0.0, 0.25, 0.5, 0.75]
    path.write_text('{"at_s": 1, "prompt": "a"}\n{"at_s": 0.5, "prompt": "b"}\n')
    with pytest.raises(SpecError, match="line 2 cannot be sent"):
        replayed(path)


BAD = {
    "nothing.jsonl": ('{"prompt_tokens": 1}\n', "line 1 is no arrival"),
    "short.csv": ("TIMESTAMP,ContextTokens\n2023-11-16 18:17:03.97,4\n", "line 2 lacks"),
    "long.jsonl": ('{"at_s": 0, "prompt_tokens": 0, "output_tokens": 1}\n', "line 1 is no arrival"),
    "odd.jsonl": (
        '{"timestamp": 1, "input_length": 5, "output_length": 2}\n'
        '{"timestamp": "soon", "input_length": 5, "output_length": 2}\n',
        "line 2 is no arrival",
    ),
    "list.jsonl": ("[1]\n", "line 1 is not an object"),
    "blank.jsonl": ("\n", "no line to send"),
    "one.jsonl": ('{"at_s": 0, "prompt_tokens": 3, "output_tokens": 1}\n', "no two requests"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_of_a_trace_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(BAD[name][0])
    with pytest.raises(SpecError) as caught:
        replayed(path)
    assert BAD[name][1] in str(caught.value)


def test_what_a_trace_says_itself_is_refused_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(FORMS["own.jsonl"])
    for changes in (
        {"grid": Grid(rate=(1.0,))},
        {"find_capacity": "rate", "slo": Slo(ttft_ms=1.0)},
    ):
        given: dict[str, Any] = {"name": "x", "workload": Workload(trace=str(path)), **changes}
        with pytest.raises(SpecError, match="a trace says when requests come"):
            with_workload(Experiment(**given))


def test_a_trace_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(FORMS["own.jsonl"])
    cell = replayed(path)
    path.write_text(FORMS["own.jsonl"] * 2)
    with pytest.raises(SpecError, match="has changed since"):
        requests(cell, HERE, "run")


def test_the_times_of_a_long_trace_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "azure.csv"
    rows = [f"2024-05-10 00:00:{n / 200 % 60:010.7f},5,2" for n in range(2000)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    assert due_times(Workload(trace=str(path))) == pytest.approx(
        [n / 200 for n in range(2000)], abs=1e-6
    )
