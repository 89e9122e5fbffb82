"""Tokens without usage: counted from the text where the model's tokenizer is on this host, or by
the server itself."""

import time
from pathlib import Path
from typing import Any

import pytest
from scripted_servers import Asked, Told, answered, refused, scripted

from journal.load.drive import drive
from journal.load.text_tokens import counted_in, token_counter
from journal.plan.cells import cells
from journal.plan.prompts import requests
from journal.records.experiment import Experiment, Grid, Load
from journal.records.request import Trace
from journal.serve.endpoint import attach

TOKENS = 6


def uncounted(asked: Asked) -> Told:
    if asked.path != "/v1/chat/completions":
        return refused(404, "Not Found")
    return answered(asked, usage=False)


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A folder with a tokenizer that makes one token of each word."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))
    return str(tmp_path)


def measured(url: str, model: str, asked_tokens: int) -> list[Trace]:
    endpoint = attach(url, model)
    grid = Grid(output_tokens=(asked_tokens,))
    experiment = Experiment(name="e", grid=grid, load=Load(requests=2, warmup=0))
    (cell,) = cells(experiment, model=model)
    prepared = requests(cell, endpoint, "run")
    traces, _ = drive(
        prepared,
        endpoint,
        shape=cell.shape,
        timeout_s=10,
        processes=1,
        origin_s=time.monotonic(),
    )
    return list(traces)


def test_tokens_are_counted_by_the_models_own_tokenizer(model: str) -> None:
    with scripted(uncounted) as (url, _):
        for trace in measured(url, model, TOKENS):
            assert (trace.output_tokens, trace.counted_tokens) == (None, TOKENS)
            # Surer than the text: as many chunks as asked, and the server says why it stopped.
            assert (trace.tokens_by, trace.tokens) == ("chunks", TOKENS)


def test_text_counts_where_chunks_do_not(model: str) -> None:
    def shorter(asked: Asked) -> Told:
        told = uncounted(asked)
        if told.status != 200:
            return told
        chunks = told.content.split(b"\n\n")
        return Told(told.status, b"\n\n".join(chunks[2:]), told.headers)

    with scripted(shorter) as (url, _):
        for trace in measured(url, model, TOKENS):
            assert (trace.tokens_by, trace.tokens) == ("text", TOKENS - 2)


def test_chunks_that_are_sure_count_without_a_tokenizer(tmp_path: Path) -> None:
    with scripted(uncounted) as (url, _):
        for trace in measured(url, "no/such-model", TOKENS):
            assert (trace.counted_tokens, trace.tokens_by) == (None, "chunks")
    assert token_counter(None) is None


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/tokenize", lambda text: {"count": len(text.split()), "tokens": [], "max_model_len": 9}),
        ("/tokenize", lambda text: {"tokens": [7 for _ in text.split()]}),
        ("/extras/tokenize/count", lambda text: {"count": len(text.split())}),
    ],
    ids=["vLLM", "llama.cpp", "llama-cpp-python"],
)
def test_a_server_without_usage_counts_the_tokens_itself(path: str, answer: Any) -> None:
    def counting(asked: Asked) -> Told:
        if asked.path != path:
            told = uncounted(asked)
            if told.status != 200:
                return told
            return Told(told.status, told.content.replace(b'"a "', b'"a a "'), told.headers)
        assert asked.body["add_special_tokens"] is False
        return Told(200, answer(asked.body["prompt" if path == "/tokenize" else "input"]))

    with scripted(counting) as (url, met):
        traces = measured(url, "no/such-model", TOKENS - 1)
    for trace in traces:  # two words in each chunk: chunks would count half of them
        assert (trace.counted_tokens, trace.output_tokens) == (2 * (TOKENS - 1), None)
    last = [asked.path for asked in met][-2:]
    assert last == [path, path], "after the load, not beside it"


def test_an_answer_that_counts_nothing_is_no_count() -> None:
    for answer in (b"", b"[1]", b'{"count": -1}', b'{"count": true}', b"[" * 10**5):
        assert counted_in(answer) is None
