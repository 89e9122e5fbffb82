"""Conversations over real HTTP: each turn arrives with all that was said before it."""

import json
import time
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from builders import a_cell
from keeping_server import Kept, keeping

from journal.errors import EndpointError, SpecError
from journal.load.backlog import LoadPart
from journal.load.drive import drive
from journal.load.workers import _pieces
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.plan.own_prompts import with_workload
from journal.plan.plan import cost
from journal.plan.prompts import check_context, requests
from journal.plan.sequence import conversations
from journal.records.cell import Cell
from journal.records.engine import Endpoint, EngineFacts
from journal.records.experiment import Experiment, Grid, Load
from journal.records.load_shape import Users
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Readings, Samples
from journal.records.workload import Workload
from journal.run.as_sent import sent_hash
from journal.simulator.http import Script, running

TURNS, USERS = 3, 2
CHAT = {"api": "chat", "prompt_form": "text", "model": "keeper"}


def talking(requests: int = 6, **workload: Any) -> Cell:
    return a_cell(
        engine=None,
        batch=USERS,
        prompt_tokens=20,
        output_tokens=4,
        load=Load(requests=requests, warmup=0),
        workload=Workload(**{"turns": TURNS, **workload}),
    )


def sent(cell: Cell, endpoint: Endpoint, **how: Any) -> tuple[Trace, ...]:
    traces, _ = drive(
        requests(cell, endpoint, "run"),
        endpoint,
        **{"processes": 1, **how},
        shape=cell.shape,
        timeout_s=10.0,
        origin_s=time.monotonic(),
    )
    assert [trace.error for trace in traces if trace.outcome == "error"] == []
    return traces


def by_conversation(kept: list[Kept]) -> list[list[list[dict[str, str]]]]:
    """The messages of each request, by the conversation that their first message begins."""
    bodies = [one.fields["messages"] for one in kept if one.streamed]
    key = lambda messages: messages[0]["content"]  # noqa: E731
    return [list(group) for _, group in groupby(sorted(bodies, key=key), key=key)]


def test_each_turn_repeats_all_that_was_said() -> None:
    cell = talking()
    with keeping() as keeper:
        traces = sent(cell, Endpoint(base_url=keeper.url, **CHAT))
        talks = by_conversation(keeper.kept)
    assert len(talks) == 2 and all(len(talk) == TURNS for talk in talks)
    for talk in talks:
        for number, messages in enumerate(sorted(talk, key=len)):
            assert [m["role"] for m in messages] == ["user", "assistant"] * number + ["user"]
            assert all(m["content"].split() == ["w"] * 4 for m in messages[1::2])
            assert all(len(m["content"].split()) == 20 for m in messages[::2])
        longest = max(talk, key=len)
        assert all(messages == longest[: len(messages)] for messages in talk)
    assert [trace.turn for trace in traces] == [1, 2, 3, 1, 2, 3]
    assert [trace.sent_sha256 is None for trace in traces] == [True, False, False] * 2


def test_token_ids_are_repeated_as_they_are_and_hit_the_cache_to_the_block() -> None:
    script = Script(ttft_s=0.002, itl_s=0.0005, prefix_caching=True, block_size=4)
    with running(script) as url:
        here = Endpoint(base_url=url, model=script.model, extensions=True)
        traces = sent(talking(), here)
    asked = [20, 20 + 4 + 20, 20 + 4 + 20 + 4 + 20]
    assert [trace.prompt_tokens for trace in traces] == asked * 2
    assert [trace.prompt_tokens_asked for trace in traces] == asked * 2
    # the simulated server caches the whole blocks of prompts, but for a prompt's last token
    assert [trace.cached_tokens for trace in traces] == [0, 16, 40] * 2


def test_a_user_thinks_between_an_answer_and_the_next_turn() -> None:
    cell = talking(think_s=0.05)
    with running(Script(ttft_s=0.002, itl_s=0.0005)) as url:
        traces = sent(
            cell,
            Endpoint(
                base_url=url, model="simulated-model", **{"api": "chat", "prompt_form": "text"}
            ),
        )
    for before, after in pairwise(traces):
        if after.turn != 1:
            assert after.start_s - before.end_s >= 0.05
    assert traces[3].start_s - traces[0].start_s == pytest.approx(0.025, abs=0.02), "half a thought"


def test_a_conversation_of_ids_is_refused_where_answers_have_none() -> None:
    with keeping() as keeper, pytest.raises(EndpointError, match="give --api chat"):
        sent(talking(), Endpoint(base_url=keeper.url, model="keeper", extensions=True))


def test_processes_share_whole_conversations() -> None:
    here = Endpoint(base_url="http://127.0.0.1:1/v1", **CHAT)
    cell = talking(requests=12)
    made = requests(cell, here, "run")
    part = LoadPart(requests=made, endpoint=here, shape=cell.shape, timeout_s=1.0, origin_s=0.0)
    pieces = _pieces(part, 2)
    assert [piece.shape for piece in pieces] == [Users(1), Users(1)]
    owners = [{one.conversation for one in piece.requests} for piece in pieces]
    assert owners == [{0, 2}, {1, 3}]
    assert sorted(one.index for piece in pieces for one in piece.requests) == list(range(12))


def test_the_hash_is_of_the_bytes_that_were_sent() -> None:
    cell = talking()
    with keeping() as keeper:
        here = Endpoint(base_url=keeper.url, **CHAT)
        hashes = [sent_hash(requests(cell, here, "run"), sent(cell, here)) for _ in range(2)]
    assert hashes[0] == hashes[1]
    with running(Script(ttft_s=0.001, itl_s=0.0005, model="keeper")) as url:
        there = Endpoint(base_url=url, **CHAT)
        other = sent_hash(requests(cell, there, "run"), sent(cell, there))
    assert other != hashes[0], "its answers are other words"


def test_the_figures_are_by_turn() -> None:
    cell = talking()
    traces = tuple(
        Trace(
            index=index,
            warmup=False,
            scheduled_s=0.0,
            start_s=0.0,
            end_s=2.0,
            outcome="ok",
            prompt_tokens_asked=10 * turn,
            output_tokens_asked=4,
            chunk_s=(0.1 * turn + 0.01 * (index // TURNS),),
            prompt_tokens=10 * turn,
            output_tokens=4,
            cached_tokens=4 * (turn - 1),
            turn=turn,
        )
        for index, turn in enumerate([1, 2, 3] * 2)
    )
    figures = metrics(
        Samples(
            cell=cell,
            facts=EngineFacts(),
            traces=traces,
            readings=Readings(),
            client=ClientHealth(),
        )
    )
    assert [figures[f"turn_ttft_s.{n}"].value for n in (1, 2, 3)] == pytest.approx(
        [0.105, 0.205, 0.305]
    )
    assert [figures[f"turn_prompt_tokens.{n}"].value for n in (1, 2, 3, 4)] == [10, 20, 30, None]
    assert figures["turn_hit_fraction.3"].value == pytest.approx(8 / 30)


def test_a_line_of_messages_is_a_conversation(tmp_path: Path) -> None:
    roles = ["system", "user", "assistant", "user", "assistant", "user", "assistant"]
    said = [{"role": role, "content": f"{role} {n}"} for n, role in enumerate(roles)]
    shared = [
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b"},
        {"from": "human", "value": "c"},
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text(
        "\n".join(json.dumps(one) for one in ({"messages": said}, {"conversations": shared}))
    )
    asked = Experiment(
        name="mine", load=Load(warmup=0), workload=Workload(prompts=str(path), turns=2)
    )
    (cell,) = cells(with_workload(asked), model="here")
    made = requests(cell, Endpoint(base_url="http://127.0.0.1:1/v1", **CHAT), "run")
    assert cell.load.requests == len(made) == 4
    assert [(one.conversation, one.turn) for one in made] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    turns = [[m["content"] for m in json.loads(one.content)["messages"]] for one in made]
    assert turns == [["system 0", "user 1"], ["user 3"], ["a"], ["c"]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"prompt": "no chat"}, "line 1 cannot be sent in turns: it has a prompt"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "message of a tool"),
        ({"messages": [{"role": "system", "content": "x"}]}, "nobody asks"),
    ],
)
def test_a_line_that_is_no_conversation_is_named(tmp_path: Path, line: Any, words: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(line))
    asked = Experiment(name="mine", workload=Workload(prompts=str(path), turns=2))
    with pytest.raises(SpecError, match=words):
        with_workload(asked)


def test_a_plan_counts_the_tokens_that_turns_repeat() -> None:
    cell = talking(requests=5)
    turns = conversations(cell)
    assert [(one.conversation, one.turn, one.said_tokens) for one in turns] == [
        (0, 1, 0),
        (0, 2, 24),
        (0, 3, 48),
        (1, 1, 0),
        (1, 2, 24),
    ]
    assert (cost([cell]).requests, cost([cell]).prompt_tokens) == (5, 5 * 20 + 24 + 48 + 24)
    check_context(cell, 20 + 48 + 4)
    with pytest.raises(SpecError, match="68 prompt"):
        check_context(cell, 20 + 48 + 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": Grid(rate=(1.0,))},
        {"grid": Grid(prompt_tokens=(64,), shared_prefix=(16,))},
        {"find_capacity": "concurrency"},
        {"needed_vram": True},
        {"workload": Workload(think_s=1.0)},
    ],
)
def test_a_load_in_which_nobody_converses_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"leave .* out"):
        cells(Experiment(**{"name": "c", "workload": Workload(turns=2), **changes}), model="m")
