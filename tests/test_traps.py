"""Traps set in a server, met over HTTP: each is doubted by its own rule, a clean run by none."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import journal
from journal.doubts.words import sentence
from journal.load.drive import drive
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.run import Record

Server = Callable[..., str]
# What a busy machine, and not the server, may add in this test.
OF_THE_MACHINE = {
    "busy_host",
    "stolen_time",
    "client_saturated",
    "drift",
    "swapping",
    "stalled",
    "in_step",  # after a stall all streams begin together
}


def sweep(batch: int = 4, rate: float | None = None, **load: object) -> Experiment:
    given = {"requests": 24, "warmup": 2, "timeout_s": 5.0, **load}
    grid = {"batch": (batch,)} if rate is None else {"rate": (rate,)}
    return Experiment(
        name="trap",
        grid=journal.Grid(prompt_tokens=(32,), output_tokens=(16,), **grid),
        load=journal.Load(**given),  # type: ignore[arg-type]
    )


def flags(record: Record) -> set[str]:
    found = {doubt.name for doubt in record.doubts if doubt.severity != "note"}
    return found - OF_THE_MACHINE


QUICK = {"ttft_s": 0.02, "itl_s": 0.01}
TRAPS = [
    ({"fault": "short", "fault_every": 4}, {}, {"short_outputs"}),
    ({"fault": "error_in_stream", "fault_every": 4}, {}, {"errors"}),
    ({"fault": "cut", "fault_every": 4}, {"max_error_rate": 0.1}, {"errors"}),
    ({"tokens_per_chunk": 4}, {}, {"several_tokens_per_chunk"}),
    ({"quirks": ("content_length",)}, {}, {"not_streamed", "chunks_together", "held_back"}),
    ({"max_running": 2}, {"batch": 8, "requests": 60}, {"server_batch"}),
    ({"kv_blocks": 40, "block_size": 4}, {"batch": 8}, {"preemptions", "server_batch"}),
    ({}, {"batch": 16, "requests": 8, "convoy": True}, {"batch_not_reached"}),
]


@pytest.mark.alone
@pytest.mark.parametrize(
    ("script", "asked", "expected"), TRAPS, ids=[" ".join(sorted(e)) for _, _, e in TRAPS]
)
def test_a_trap_is_doubted(
    fake_server: Server,
    tmp_path: Path,
    script: dict[str, object],
    asked: dict[str, int],
    expected: set[str],
) -> None:
    endpoint = journal.attach(fake_server(**{**QUICK, **script}))
    (record,) = journal.run(sweep(**asked), tmp_path, endpoint=endpoint).records
    assert flags(record) & expected, [sentence(doubt) for doubt in record.doubts]
    assert flags(record) <= expected


@pytest.mark.alone
@pytest.mark.parametrize("asked", [{}, {"batch": 1}, {"rate": 20.0}], ids=str)
def test_a_clean_run_is_doubted_by_nothing(
    fake_server: Server, tmp_path: Path, asked: dict[str, float]
) -> None:
    endpoint = journal.attach(fake_server(**QUICK))
    (record,) = journal.run(sweep(**asked), tmp_path, endpoint=endpoint).records  # type: ignore[arg-type]
    assert flags(record) == set(), [sentence(doubt) for doubt in record.doubts]


@pytest.mark.alone
def test_tokens_that_a_chat_template_adds_are_doubted(fake_server: Server, tmp_path: Path) -> None:
    url = fake_server(**QUICK, chat_overhead_tokens=9)
    endpoint = Endpoint(
        base_url=url, model="simulated-model", api="chat", prompt_form="text", tokens_per_word=1.0
    )
    (record,) = journal.run(sweep(), tmp_path, endpoint=endpoint).records
    assert flags(record) == {"prompt_tokens"}


@pytest.mark.alone
def test_prompts_that_the_server_has_seen_are_doubted(fake_server: Server, tmp_path: Path) -> None:
    """A server that keeps prefixes, and prompts that begin alike."""
    from journal.plan import prompts

    endpoint = journal.attach(fake_server(**QUICK, prefix_caching=True, block_size=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "OPENING", 0)  # prompts of two runs do not differ any more
        journal.run(sweep(), tmp_path, endpoint=endpoint)
        (record,) = journal.run(sweep(), tmp_path, endpoint=endpoint).records
    assert flags(record) == {"prefix_cache_hits"}


@pytest.mark.alone
def test_somebody_else_on_the_server_is_doubted(fake_server: Server, tmp_path: Path) -> None:
    endpoint = journal.attach(fake_server(**QUICK))
    over = threading.Event()

    def somebody(endpoint: Endpoint) -> None:
        (cell,) = cells(sweep(batch=8, requests=40, warmup=0), model=endpoint.model)
        while not over.is_set():
            drive(
                requests(cell, endpoint, "somebody"),
                endpoint,
                shape=cell.shape,
                timeout_s=5.0,
                processes=1,
                origin_s=time.monotonic(),
            )

    other = threading.Thread(target=somebody, args=(endpoint,))
    other.start()
    try:
        (record,) = journal.run(sweep(requests=60), tmp_path, endpoint=endpoint).records
    finally:
        over.set()
        other.join()
    assert "foreign_traffic" in flags(record)
