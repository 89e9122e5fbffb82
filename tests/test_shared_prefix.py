"""Shared prefixes over real HTTP: the hits asked are those met, to the block."""

import json
from pathlib import Path
from typing import Any

import pytest
from keeping_server import keeping

import journal
from journal.errors import SpecError
from journal.plan.cells import cells
from journal.plan.plan import cost
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.workload import Workload
from journal.simulator.http import Script, running

BLOCK, PREFIX, PROMPT, PREFIXES = 16, 40, 96, 3
GRID = Grid(batch=(4,), prompt_tokens=(PROMPT,), output_tokens=(8,), shared_prefix=(0, PREFIX))
ASKED = Experiment(
    name="shared",
    grid=GRID,
    load=Load(requests=24, warmup=2),
    workload=Workload(prefixes=PREFIXES),
)
HERE = Endpoint(base_url="http://127.0.0.1:1/v1", model="here")


def prompts(number: int, run_id: str = "run") -> list[list[int]]:
    cell = cells(ASKED, model="here")[number]
    return [json.loads(one.content)["prompt"] for one in requests(cell, HERE, run_id)]


def test_prompts_take_the_prefixes_in_turn_after_each_was_sent_once() -> None:
    warm, sent = prompts(1)[:2], prompts(1)[2:]
    primes, loop = sent[:PREFIXES], sent[PREFIXES:]
    assert [len(one) for one in primes] == [PREFIX] * PREFIXES
    assert all(len(one) == PROMPT for one in (*warm, *loop))
    assert [one[:PREFIX] for one in loop] == [primes[n % PREFIXES] for n in range(len(loop))]
    assert len({tuple(one[PREFIX : PREFIX + 4]) for one in loop}) == len(loop)
    assert not {tuple(one[:4]) for one in warm} & {tuple(one[:4]) for one in primes}
    cell = cells(ASKED, model="here")[1]
    assert cost([cell]).requests == len(prompts(1))
    assert cost([cell]).prompt_tokens == sum(map(len, prompts(1)))


def test_each_run_has_prefixes_of_its_own() -> None:
    assert not {tuple(one[:16]) for one in prompts(1)} & {tuple(o[:16]) for o in prompts(1, "two")}


def test_a_cell_that_shares_nothing_is_as_ever() -> None:
    plain = cells(
        Experiment(
            name="shared",
            grid=Grid(batch=(4,), prompt_tokens=(PROMPT,), output_tokens=(8,)),
            load=ASKED.load,
        ),
        model="here",
    )[0]
    assert cells(ASKED, model="here")[0].identity == plain.identity


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"grid": Grid(prompt_tokens=(64,), shared_prefix=(64,))}, "leaves nothing of a prompt"),
        ({"workload": Workload(prompts="x.jsonl", content="ff")}, "before random tokens"),
    ],
)
def test_a_prefix_that_cannot_be_shared_is_refused(changes: dict[str, Any], words: str) -> None:
    given = {"name": "shared", "grid": GRID, **changes}
    with pytest.raises(SpecError, match=words):
        cells(Experiment(**given), model="here")


def test_hits_are_those_asked_to_the_block(tmp_path: Path) -> None:
    """The simulated server caches whole blocks: 2 of 16 tokens in a prefix of 40."""
    script = Script(
        ttft_s=0.002, itl_s=0.001, prefill_s_per_token=2e-4, prefix_caching=True, block_size=BLOCK
    )
    with running(script) as url:
        result = journal.run(ASKED, tmp_path, endpoint=journal.attach(url))
    bare, shared = result.records
    assert bare.value("prefix_cache_hit_fraction") == 0
    assert bare.value("prefix_hit_asked_fraction") is None
    assert shared.value("prefix_hit_asked_fraction") == pytest.approx(PREFIX / PROMPT)
    whole = PREFIX // BLOCK * BLOCK
    assert shared.value("prefix_cache_hit_fraction") == pytest.approx(whole / PROMPT)
    doubted = {doubt.name for one in (bare, shared) for doubt in one.doubts}
    assert not doubted & {"prefix_hits_off", "prefix_cache_hits"}
    log = result.log.markdown.read_text()
    assert "What the prefix cache saved, and what it took" in log
    assert "33.3% of the prompt tokens came from the cache (41.7% were asked for)" in log
    assert f"hold {whole * PREFIXES} tokens of the pool" in log


def test_a_server_without_a_cache_is_said_to_have_none(tmp_path: Path) -> None:
    with keeping() as keeper:
        result = journal.run(ASKED, tmp_path, endpoint=journal.attach(keeper.url))
    (doubt,) = [one for one in result.records[1].doubts if one.name == "prefix_hits_off"]
    assert doubt.values["variant"] == "untold"
    assert "the server does not tell its hits" in result.log.markdown.read_text()
