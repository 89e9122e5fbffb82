"""What `make fuzz` reads: every reader of what others write, and good examples for each.

A target may refuse what it reads by the errors that its callers expect: see benchmarks/fuzz.py.
"""

import html
import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

ROOT = Path(__file__).parent.parent
LONGEST = 20_000  # bytes of an example

Target = Callable[[bytes], None]


def fuzz_stream(data: bytes) -> None:
    """A recorded answer, read as a load reads it."""
    from journal.load.answer import Exchange, trace_of
    from journal.load.wire import Recording
    from journal.records.request import Request

    recording = Recording(4)
    for at in range(0, len(data), 700):
        recording.feed(float(at), data[at : at + 700])
        if recording.over or recording.failure:
            break
    recording.close()
    request = Request(index=0, body=b"{}", prompt_tokens=4, output_tokens=4, warmup=False)
    trace = trace_of(Exchange(request=request, start_s=0.0, recording=recording))
    assert trace.outcome in ("ok", "short", "error")


def fuzz_sse(data: bytes) -> None:
    """A stream by hand, in pieces."""
    from datetime import UTC, datetime

    from journal.chat.hearing import Hearing
    from journal.records.notebook import Interaction

    said = ({"role": "user", "content": "so?"},)
    when = datetime(2026, 3, 1, tzinfo=UTC)
    fixed = {"base_url": "http://h/v1", "model": "m", "api": "chat", "settings": {}}
    begun = Interaction(id="a", source="ask", asked_at=when, messages=said, **fixed)
    hearing = Hearing(begun)
    for at in range(0, len(data), 100):
        hearing.hear(data[at : at + 100], at / 1e3)
    hearing.end(1.0)


def fuzz_metrics(data: bytes) -> None:
    from journal.measure.histogram import histogram
    from journal.measure.server import parsed_samples, server_reading

    list(parsed_samples(data))
    server_reading(data, 0.0)
    read = histogram(data, "vllm:time_to_first_token_seconds")
    if read is not None:
        read.quantile(0.5)


def fuzz_engine_log(data: bytes) -> None:
    from journal.serve.engines.vllm.vllm import VLLM

    lines = data.decode("utf-8", "replace").splitlines()
    VLLM.facts(lines)
    VLLM.failure("it died", "\n".join(lines), Path("engine.log"))


def fuzz_explain(data: bytes) -> None:
    from journal.report.explain import explain
    from journal.report.explain_words import explanation_text

    known = explain(data.decode("utf-8", "replace").splitlines())
    for lang in ("en", "zh"):
        explanation_text(known, lang)


def fuzz_experiment(data: bytes) -> None:
    from journal.plan.cells import cells
    from journal.plan.experiment_file import parse

    text = data.decode("utf-8", "replace")
    cells(parse(text, default_name="x", where="x.toml"), model="m")


def fuzz_importers(data: bytes) -> None:
    from journal.exchange.import_results import import_results

    folder = Path(_folder().name)
    path = folder / "result.json"
    path.write_bytes(data)
    import_results(path, folder / "lab")


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder with an empty journal, which takes a second to make."""
    from journal.store.store import open_store

    folder = tempfile.TemporaryDirectory()
    open_store(Path(folder.name, "lab")).close()
    return folder


def fuzz_stored_rows(data: bytes) -> None:
    from journal.records.cell import Cell
    from journal.records.engine import EngineFacts
    from journal.records.experiment import Experiment
    from journal.store.plain import from_json
    from journal.store.row_care import naming

    text = data.decode("utf-8", "replace")
    for kind in (Cell, EngineFacts, Experiment):
        with naming("a row"):
            from_json(kind, text)


def fuzz_prompts(data: bytes) -> None:
    """A file of prompts, in each of its three forms."""
    from journal.plan.prompt_file import read_lines

    for ending in ("jsonl", "json", "csv"):
        _each(lambda path: list(read_lines(path)), f"prompts.{ending}", data)


def fuzz_trace(data: bytes) -> None:
    """A trace of arrivals, in both of its forms."""
    from journal.plan import trace_file

    for ending in ("jsonl", "csv"):
        _each(lambda path: list(trace_file._read(path)), f"trace.{ending}", data)


def fuzz_model_config(data: bytes) -> None:
    """The config.json of a model, and what is computed from it."""
    from journal.records.experiment import Engine
    from journal.serve.models import longest_context, read_config
    from journal.theory.architecture import architecture, essence

    def read(path: Path) -> None:
        config = read_config(str(path.parent)) or {}
        longest_context(Engine(model=str(path.parent)))
        essence(config)
        model = architecture(config)
        _ = (model.caches, model.states, model.counts, model.window, model.latent, model.bits)

    _each(read, "config.json", data)


def fuzz_checkpoint(data: bytes) -> None:
    """The header of a file of weights, and the index of several."""
    from journal.theory.checkpoint import INDEX, read_checkpoint

    folder = Path(_folder().name)
    for name, text in (
        ("model.safetensors", len(data).to_bytes(8, "little") + data),
        ("model.safetensors", data),
        (INDEX, data),
    ):
        _each(lambda path: read_checkpoint(path.parent), name, text)
        (folder / "read" / name).unlink()


def fuzz_redaction(data: bytes) -> None:
    """Any text around a key: no eight characters of it are left, however it is read."""
    from journal import redaction

    text = data.decode("utf-8", "replace")
    shown = redaction.hidden(text, redaction.pattern([KEY]))
    redaction.shown_url(text)
    redaction.in_text(text)
    for one in (shown, unquote(shown), html.unescape(shown), shown.replace("\\", "")):
        for first in range(len(KEY) - 7):
            part = KEY[first : first + 8]
            # what stands around a key may happen to make a part of it once it is cut out
            assert part not in one or "***" in shown.replace(part, ""), part


KEY = "sk-Qx7/Zp+2vLm=9Rk"


def _each(read: Callable[[Path], object], name: str, data: bytes) -> None:
    """`read` a file of that name; a refusal is what it may be."""
    from journal.errors import JournalError

    path = Path(_folder().name, "read", name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        read(path)
    except JournalError as error:
        assert len(str(error)) < 5000, "a sentence without an end"


TARGETS: dict[str, Target] = {
    "stream": fuzz_stream,
    "sse": fuzz_sse,
    "metrics": fuzz_metrics,
    "engine_log": fuzz_engine_log,
    "explain": fuzz_explain,
    "experiment": fuzz_experiment,
    "importers": fuzz_importers,
    "stored_rows": fuzz_stored_rows,
    "prompts": fuzz_prompts,
    "trace": fuzz_trace,
    "model_config": fuzz_model_config,
    "checkpoint": fuzz_checkpoint,
    "redaction": fuzz_redaction,
}


def examples(name: str) -> list[bytes]:
    """Good examples for a target, from the data of the tests."""
    folders = {
        "metrics": ("tests/data/metrics", "*.txt"),
        "engine_log": ("tests/data/engine", "*.log"),
        "explain": ("tests/data/engine", "*.log"),
        "experiment": ("experiments", "*.toml"),
        "importers": ("tests/exchange/data", "*.json*"),
    }
    if name in folders:
        folder, pattern = folders[name]
        files = sorted((ROOT / folder).rglob(pattern))
        return [path.read_bytes()[:LONGEST] for path in files]
    event = b'data: {"choices": [{"index": 0, "delta": {"content": "so"}}], "usage": null}\n\n'
    end = b'data: {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 4}}\n\n'
    events = event * 3 + end + b"data: [DONE]\n\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(events), events)
    cell = b'{"experiment":"e","model":"m","quantisation":null,"engine":null,"batch":1,"rate":null,'
    cell += b'"prompt_tokens":4,"output_tokens":4,"load":{"requests":3},"slo":null,"repeat":0}'
    return {"sse": [events], "stream": [head + chunk], "stored_rows": [cell], **_more()}[name]


def _more() -> dict[str, list[bytes]]:
    """Examples that are short enough to stand here."""
    forms = (KEY, quote(KEY, safe=""), json.dumps(KEY), html.escape(KEY), f"http://u:{KEY}@h/?k=1")
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 99}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 128}
    config |= {"rope_scaling": {"type": "linear"}, "text_config": {}, "torch_dtype": "bfloat16"}
    header = b'{"a.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}'
    azure = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.979960,374,44\n"
    mooncake = b'{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46]}'
    line = b'{"prompt": "so?", "max_tokens": 9}\n'
    return {
        "redaction": [f"x{form} y".encode() for form in forms],
        "model_config": [json.dumps(config).encode()],
        "checkpoint": [header, b'{"weight_map": {"a.weight": "model.safetensors"}}'],
        "prompts": [line * 2, b"[" + line + b"," + line + b"]", b"prompt,max_tokens\nso,9\n"],
        "trace": [azure, mooncake, b"Timestamp,Request tokens,Response tokens\n5,472,18\n"],
    }
