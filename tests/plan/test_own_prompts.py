"""Prompts of one's own: settled before anything starts, and sent as they are."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from journal.cli.asked_experiment import asked_experiment
from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.experiment_file import parse
from journal.plan.own_prompts import path_of, with_workload
from journal.plan.prompt_file import read_lines
from journal.plan.prompts import requests
from journal.plan.spool import spooling
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Load, Slo
from journal.records.request import StoredBody
from journal.records.workload import Workload

HERE = Endpoint(base_url="http://127.0.0.1:1/v1", model="here", prompt_form="token_ids")
CHAT = replace(HERE, api="chat", prompt_form="text")


def asked(path: Path | str, **changes: Any) -> Experiment:
    load = changes.pop("load", Load(warmup=0))
    return Experiment(name="mine", load=load, workload=Workload(prompts=str(path), **changes))


def planned(path: Path | str, **changes: Any) -> Cell:
    return cells(with_workload(asked(path, **changes)), model="here")[0]


def bodies(cell: Cell, endpoint: Endpoint = HERE) -> list[dict[str, Any]]:
    return [json.loads(one.content) for one in requests(cell, endpoint, "run") if not one.warmup]


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    """A file of ten prompts, "n0" to "n9"."""
    path = tmp_path / "numbers.jsonl"
    path.write_text("".join(f'{{"prompt": "n{n}", "max_tokens": {n + 1}}}\n' for n in range(10)))
    return path


def test_all_lines_are_sent_once_and_in_order(numbers: Path) -> None:
    cell = planned(numbers)
    assert (cell.load.requests, cell.output_tokens, cell.load.convoy) == (10, 5, True)
    assert [body["prompt"] for body in bodies(cell)] == [f"n{n}" for n in range(10)]
    assert [body["max_tokens"] for body in bodies(cell)] == [n + 1 for n in range(10)]
    assert all(body["ignore_eos"] and body["temperature"] == 0 for body in bodies(cell))


def test_shuffled_lines_are_all_sent_once_in_an_order_of_the_seed(numbers: Path) -> None:
    cell = planned(numbers, shuffle=True)
    sent = [body["prompt"] for body in bodies(cell)]
    assert sorted(sent) == [f"n{n}" for n in range(10)] != sent
    assert sent == [body["prompt"] for body in bodies(cell)]
    assert sent != [body["prompt"] for body in bodies(replace(cell, seed=1))]


def test_lines_are_cycled_only_when_asked(numbers: Path) -> None:
    many = {"load": Load(requests=25, warmup=0), "all_lines": False}
    with pytest.raises(SpecError, match=r"numbers\.jsonl has 10 lines for 25 requests"):
        planned(numbers, **many)
    sent = [body["prompt"] for body in bodies(planned(numbers, cycle=True, **many))]
    assert sent == [f"n{n % 10}" for n in range(25)]


def test_fewer_requests_take_the_first_lines(numbers: Path) -> None:
    cell = planned(numbers, load=Load(requests=3, warmup=0), all_lines=False)
    assert [body["prompt"] for body in bodies(cell)] == ["n0", "n1", "n2"]


def test_a_search_for_capacity_needs_leave_to_cycle(numbers: Path) -> None:
    search = replace(asked(numbers), find_capacity="rate", slo=Slo(ttft_ms=100.0))
    with pytest.raises(SpecError, match="--cycle"):
        with_workload(search)
    with pytest.raises(SpecError, match="needed VRAM"):
        with_workload(replace(asked(numbers), needed_vram=True))


def test_a_body_is_sent_as_it_is_but_for_what_a_measurement_needs(tmp_path: Path) -> None:
    body = {"model": "other", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.9}
    path = tmp_path / "batch.jsonl"
    path.write_text(json.dumps({"custom_id": "1", "body": {**body, "seed": 3}}) + "\n")
    (sent,) = bodies(planned(path, natural_end=True), CHAT)
    assert {name: sent[name] for name in ("messages", "temperature", "seed")} == {
        "messages": body["messages"],
        "temperature": 0.9,
        "seed": 3,
    }
    assert (sent["model"], sent["stream"], sent["max_tokens"]) == ("here", True, 64)
    assert "ignore_eos" not in sent


def test_a_prompt_becomes_a_message_where_the_server_chats(numbers: Path) -> None:
    cell = planned(numbers, api="chat")
    assert bodies(cell, CHAT)[0]["messages"] == [{"role": "user", "content": "n0"}]


@pytest.mark.parametrize(
    ("lines", "api", "words"),
    [
        ('{"prompt": "x"}\n{"messages": [{"role": "user"}]}\n', None, "line 2"),
        ('{"messages": [{"role": "user"}]}\n', "completions", "line 1"),
        ('{"prompt": [1, 2]}\n', "chat", "line 1"),
        ("\n", None, "no line to send"),
    ],
)
def test_lines_that_do_not_go_with_the_api_are_named(
    tmp_path: Path, lines: str, api: Any, words: str
) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(lines)
    with pytest.raises(SpecError, match=words):
        with_workload(asked(path, api=api))


def test_a_file_that_changed_since_is_refused(numbers: Path) -> None:
    cell = planned(numbers)
    numbers.write_text('{"prompt": "other"}\n')
    with pytest.raises(SpecError, match="has changed since"):
        requests(cell, HERE, "run")


def test_bodies_lie_in_a_file_and_are_read_when_they_are_sent(numbers: Path) -> None:
    cell = planned(numbers, shuffle=True)
    with spooling() as spool:
        made = requests(cell, HERE, "run", spool)
        assert all(isinstance(one.body, StoredBody) for one in made)
        assert [json.loads(one.content) for one in made] == bodies(cell)
    assert not Path(made[0].body.path).exists()  # type: ignore[union-attr]


def test_the_same_content_is_the_same_workload_wherever_it_lies(
    numbers: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(numbers.read_bytes())
    assert planned(numbers).identity == planned(copy).identity
    copy.write_text(copy.read_text() + "\n")
    assert planned(numbers).identity != planned(copy).identity


def test_the_built_in_texts_are_of_four_kinds_in_two_languages() -> None:
    kinds = {"chat", "code", "summary", "reasoning"}
    for name in ("text:en", "text:zh"):
        lines = list(read_lines(path_of(Workload(prompts=name))))
        entries = map(json.loads, path_of(Workload(prompts=name)).read_text().splitlines())
        assert {entry["id"].split("-")[0] for entry in entries} == kinds
        assert all(line.output_tokens for line in lines)
        sizes = [len(line.fields["prompt"]) for line in lines]
        assert max(sizes) > 20 * min(sizes)
    with pytest.raises(SpecError, match="text:en and text:zh"):
        with_workload(asked("text:xx"))


TEXT = '[engine]\nmodel = "m"\n[workload]\nprompts = "text:en"\n'


def test_a_length_that_is_asked_of_a_built_in_text_stands() -> None:
    """Each answer may be so long; without one each is as long as its line says."""
    lines = [line.output_tokens for line in read_lines(path_of(Workload(prompts="text:en")))]
    for text, expected in ((TEXT, lines), (f"{TEXT}[grid]\noutput_tokens = [1024]", [1024] * 16)):
        (cell,) = cells(with_workload(parse(text, default_name="x", where="x.toml")))
        assert [body["max_tokens"] for body in bodies(cell)] == expected
        assert cell.output_tokens == sorted(expected)[7]  # type: ignore[type-var]
    both = f"{TEXT}[grid]\noutput_tokens = [64, 128]"
    planned = cells(with_workload(parse(both, default_name="x", where="x.toml")))
    assert [cell.output_tokens for cell in planned] == [64, 128]


def test_a_length_that_is_the_median_of_the_lines_is_another_cell() -> None:
    (own,) = cells(with_workload(parse(TEXT, default_name="x", where="x.toml")))
    text = f"{TEXT}[grid]\noutput_tokens = [{own.output_tokens}]"
    (asked,) = cells(with_workload(parse(text, default_name="x", where="x.toml")))
    assert asked.output_tokens == own.output_tokens
    assert asked.identity != own.identity


def test_options_give_the_length_of_a_built_in_text_and_of_nothing_else(numbers: Path) -> None:
    """The quickstart's file asks for 32 tokens, of random ones: that is no length of the text."""

    def met(name: str, grid: dict[str, Any], **workload: Any) -> tuple[bool, int]:
        asked = with_workload(asked_experiment(name, grid=grid, workload=workload))
        return asked.workload.line_lengths, asked.grid.output_tokens[0]

    longest = {"output_tokens": (256,)}
    own = met("quickstart", {}, prompts="text:zh", natural_end=True)
    assert own[0]
    assert own[1] != 32
    assert met("quickstart", longest, prompts="text:zh", natural_end=True) == (False, 256)
    assert met("reasoning", {}) == (False, 1024)
    assert met("reasoning", longest) == (False, 256)
    assert met("speculative", {}) == (False, 96)
    assert met("structured", {}) == (False, 64)
    assert met("reasoning", {}, prompts="text:en") == own
    assert met("quickstart", longest) == (True, 256)  # random tokens keep their identity
    assert met("quickstart", longest, prompts=str(numbers)) == (True, 5)
    assert met("reasoning", longest, prompts=str(numbers)) == (True, 5)


@pytest.mark.parametrize(
    "words",
    [
        'prompts = "/dev/zero"',
        'trace = "/dev/zero"',
        'mix = [{prompt_tokens = "@/dev/zero", output_tokens = 4}]',
    ],
)
def test_a_device_that_never_ends_is_refused(words: str, tmp_path: Path) -> None:
    text = f'[engine]\nmodel = "m"\n[workload]\n{words}\n'
    with pytest.raises(SpecError, match="/dev/zero is no plain file"):
        with_workload(parse(text, default_name="x", where="x.toml"))


def test_prompts_of_a_large_file_are_not_all_held_in_memory(tmp_path: Path) -> None:
    """Ten times the bytes, in as many lines, take no more memory: what a request keeps is its place
    in the spool."""
    peaks = []
    for size in (2_000, 20_000):  # of a line, in bytes
        path = tmp_path / f"{size}.jsonl"
        text = "word " * (size // 5)
        path.write_text("".join(f'{{"prompt": "{n} {text}"}}\n' for n in range(1000)))
        tracemalloc.start()
        cell = planned(path)
        with spooling() as spool:
            made = requests(cell, HERE, "run", spool)
            peaks.append(tracemalloc.get_traced_memory()[1])
            assert all(isinstance(one.body, StoredBody) for one in made if not one.warmup)
            assert json.loads(made[-1].content)["prompt"] == f"999 {text}"
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000  # of the 18 MB that are more in the file
    assert peaks[1] < 5_000_000
