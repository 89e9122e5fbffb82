"""Workloads on the real vLLM: one start, with a prefix cache and drafts by n-grams, for all tests,
of which the last one kills its server."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_fixtures import Served, killed

from journal.load.drive import drive
from journal.measure.sampler import Sampler
from journal.measure.server import complete
from journal.metrics.table import metrics
from journal.plan.cells import cells
from journal.plan.own_prompts import with_workload
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load
from journal.records.request import ClientHealth, Trace
from journal.records.samples import Samples
from journal.records.workload import Workload
from journal.serve.forms import through

pytestmark = pytest.mark.engine

Ran = tuple[tuple[Trace, ...], dict[str, float]]


@pytest.fixture(scope="module")
def drafting(drafting_engine: Served) -> Endpoint:
    endpoint = drafting_engine.endpoint
    return replace(endpoint, facts=complete(endpoint.facts, endpoint))


def ran(server: Endpoint, run_id: str, **asked: Any) -> Ran:
    """The traces and the figures of the one cell of an experiment, sent to `server`."""
    experiment = with_workload(Experiment(name="engine", **asked))
    (cell,) = cells(experiment, model=server.model)
    here = through(server, experiment.workload.api, experiment.load.body)
    began_s = time.monotonic()
    with (sampler := Sampler(here, began_s)):
        traces, _ = drive(
            requests(cell, here, run_id),
            here,
            shape=cell.shape,
            timeout_s=300.0,
            processes=1,
            origin_s=began_s,
        )
    assert [trace.error for trace in traces if trace.error] == []
    samples = Samples(
        cell=cell,
        facts=here.facts,
        traces=traces,
        readings=sampler.readings,
        client=ClientHealth(),
    )
    figures = metrics(samples).items()
    return traces, {name: one.value for name, one in figures if one.value is not None}


def test_shared_prefixes_hit_to_the_block(drafting: Endpoint) -> None:
    block = drafting.facts.block_size
    assert block is not None
    prefix, prompt = 2 * block + block // 2, 3 * block
    traces, figures = ran(
        drafting,
        "shared",
        grid=Grid(prompt_tokens=(prompt,), output_tokens=(2,), shared_prefix=(prefix,)),
        load=Load(requests=4, warmup=1),
        workload=Workload(prefixes=2),
    )
    assert [trace.cached_tokens for trace in traces if not trace.warmup] == [2 * block] * 4
    assert figures["prefix_cache_hit_fraction"] == pytest.approx(2 * block / prompt)


def test_a_conversation_grows_and_hits_what_was_said(drafting: Endpoint) -> None:
    """Every turn repeats the very tokens of the turns before it: of these all whole blocks hit, but
    for the last token that the model wrote, whose keys it never made."""
    block, turn, output = drafting.facts.block_size, 96, 16
    assert block is not None
    traces, figures = ran(
        drafting,
        "talk",
        grid=Grid(batch=(2,), prompt_tokens=(turn,), output_tokens=(output,)),
        load=Load(requests=8, warmup=0),
        workload=Workload(turns=4),
    )
    for trace in traces:
        assert trace.turn is not None
        said = (trace.turn - 1) * (turn + output)
        assert trace.prompt_tokens == trace.prompt_tokens_asked == said + turn
        assert trace.cached_tokens == max(0, said - 1) // block * block
    assert figures["turn_hit_fraction.4"] > 0.5
    assert figures["turn_prompt_tokens.4"] == 4 * turn + 3 * output


def test_natural_ends_are_other_than_the_longest(drafting: Endpoint) -> None:
    traces, figures = ran(
        drafting,
        "natural",
        grid=Grid(batch=(2,), output_tokens=(96,)),
        load=Load(requests=4, warmup=0),
        workload=Workload(prompts="text:en", api="chat", natural_end=True, all_lines=False),
    )
    asked = sum(trace.output_tokens_asked for trace in traces) / len(traces)
    assert figures["output_length.mean"] < asked
    assert "stop" in {trace.finish_reason for trace in traces}


def test_drafts_are_accepted_on_repeating_text_and_not_on_random(
    drafting: Endpoint, tmp_path: Path
) -> None:
    """What the model writes after random tokens repeats itself too, unless it is drawn at a high
    temperature."""
    path = tmp_path / "repeating.jsonl"
    lines = [" ".join([f"{word} cats and dogs sat down."] * 20) for word in ("Ten", "Red", "Old")]
    path.write_text("\n".join(json.dumps({"prompt": line}) for line in lines))
    short = Grid(output_tokens=(48,), prompt_tokens=(64,))
    own = Workload(prompts=str(path))
    traces, text = ran(drafting, "text", grid=short, load=Load(warmup=0), workload=own)
    assert text["draft_accepted_fraction"] > 0.6
    assert text["tokens_per_step"] > 2
    assert text["request_tokens_per_step.p50"] > 2
    assert all(sum(trace.chunk_tokens or ()) == 48 for trace in traces)
    hot = Load(requests=3, warmup=0, body={"temperature": 2.0})
    _, random = ran(drafting, "random", grid=short, load=hot)
    assert random.get("draft_accepted_fraction", 0.0) < 0.1
    assert random["tokens_per_step"] < 1.1


def test_sigkill_of_the_server_while_it_serves(drafting_engine: Served) -> None:
    assert "was killed (SIGKILL" in killed("server", drafting_engine)
