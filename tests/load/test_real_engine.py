"""The real vLLM seen by the client that measures and by the openai SDK: the same, word for word;
and a measurement of it that has nothing to be doubted."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import journal
from journal.load.answer import AnswerReader
from journal.load.client import Client
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment, Grid, Load, Slo
from journal.records.request import Request

pytestmark = pytest.mark.engine

ASKED = Experiment(
    name="real",
    grid=Grid(batch=(1, 4), prompt_tokens=(64,), output_tokens=(16,)),
    load=Load(requests=16, warmup=2),
    slo=Slo(ttft_ms=60_000.0),
)


def by_our_client(endpoint: Endpoint, offered: list[Request]) -> list[AnswerReader]:
    async def ask() -> list[AnswerReader]:
        client = Client(endpoint, 120.0)
        await client.open(1)
        readings = [AnswerReader(await client.exchange(request), 0.0) for request in offered]
        client.close()
        await asyncio.sleep(0)
        return readings

    readings = asyncio.run(ask())
    assert all(reading.advance() for reading in readings)
    return readings


def by_the_sdk(endpoint: Endpoint, body: bytes) -> tuple[str, Any, str | None, int]:
    """Text, usage, finish reason, and how many chunks had text in them."""
    from openai import OpenAI

    fields = json.loads(body)
    own = {name: fields.pop(name) for name in ("ignore_eos",) if name in fields}
    text, usage, reason, chunks = "", None, None, 0
    with OpenAI(base_url=endpoint.base_url, api_key="none", max_retries=0) as client:
        api = client.completions if "prompt" in fields else client.chat.completions
        for event in api.create(**fields, extra_body=own):  # type: ignore[attr-defined]
            usage = event.usage or usage
            for choice in event.choices:
                piece = choice.text if "prompt" in fields else choice.delta.content
                text += piece or ""
                chunks += bool(piece)
                reason = choice.finish_reason or reason
    return text, usage, reason, chunks


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_both_clients_see_the_same_text_and_usage(engine_endpoint: Endpoint, api: str) -> None:
    """Greedy, and one at a time, so that the engine says the same thing twice."""
    endpoint = engine_endpoint
    if api == "chat":
        endpoint = replace(endpoint, api="chat", prompt_form="text", tokens_per_word=1.0)
    cell = replace(cells(ASKED, model=endpoint.model)[0], load=Load(requests=4, warmup=0))
    offered = list(requests(cell, endpoint, "both"))
    for reading, request in zip(by_our_client(endpoint, offered), offered, strict=True):
        trace = reading.trace()
        text, usage, reason, chunks = by_the_sdk(endpoint, request.body)
        assert trace.outcome == "ok", trace.error
        assert text and reading.text == text
        assert trace.output_chars == len(text)
        assert trace.prompt_tokens == usage.prompt_tokens
        assert trace.output_tokens == usage.completion_tokens == cell.output_tokens
        assert trace.finish_reason == reason == "length"
        assert len(trace.chunk_s) >= chunks  # a token may add no character yet
        assert sum(trace.chunk_tokens or ()) == usage.completion_tokens
        if api == "completions":
            assert trace.prompt_tokens == cell.prompt_tokens


@pytest.mark.timing
def test_a_measurement_of_it_raises_no_false_alarm(
    engine_endpoint: Endpoint, tmp_path: Path
) -> None:
    """What a shared machine does to it may be doubted, but nothing of the engine's own."""
    result = journal.run(ASKED, tmp_path, endpoint=engine_endpoint)
    assert result.ok
    of_the_engine = {
        *("errors", "short_outputs", "long_outputs", "prompt_tokens", "usage_missing"),
        *("not_streamed", "several_tokens_per_chunk", "tokens_per_chunk_unknown"),
        *("batch_not_reached", "prefix_cache_hits", "preemptions", "server_batch"),
        *("foreign_traffic", "server_restarted", "falls_behind"),
    }
    for record in result.records:
        flags = {doubt.name for doubt in record.doubts if doubt.severity != "note"}
        assert not flags & of_the_engine
        assert record.metrics["prefix_cache_hit_fraction"].value == 0
        assert record.metrics["server_running_peak"].value == record.cell.batch
        assert record.metrics["good_fraction"].value == 1
