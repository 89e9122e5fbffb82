"""Results of other tools: read from files that these wrote, and refused where they are not."""

import json
import os
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import journal
from journal.doubts.words import sentence
from journal.errors import UsageError
from journal.exchange import result_files
from journal.exchange.import_results import import_results
from journal.records.run import Record
from journal.report.run_json import run_json
from journal.store.store import open_store

DATA = Path(__file__).parent / "data"
AIPERF = "aiperf/{}/profile_export_aiperf.json"
FILES = {
    "vllm bench serve": ("vllm-closed.json", "vllm-open.json", "vllm-errors.json"),
    "GuideLLM": ("guidellm-concurrent.json", "guidellm-rate.json", "guidellm-errors.json"),
    "AIPerf": tuple(AIPERF.format(kind) for kind in ("concurrent", "rate", "errors")),
}
EVERY = [(tool, name) for tool, names in FILES.items() for name in names]
FORMS = [f"forms/{path.name}" for path in sorted((DATA / "forms").glob("*.json*"))]
FUZZED = [name for _, name in EVERY] + [name for name in FORMS if name.endswith(".json")]


def value(record: Record, name: str) -> float:
    figure = record.metrics[name].value
    assert figure is not None, name
    return figure


def only(path: Path, home: Path) -> Record:
    (record,) = import_results(path, home).records
    return record


@pytest.mark.parametrize(("tool", "name"), EVERY)
def test_a_file_becomes_a_run_marked_with_its_tool(tool: str, name: str, tmp_path: Path) -> None:
    record = only(DATA / name, tmp_path)
    open_loop = "open" in name or "rate" in name
    assert record.environment["tool"] == tool == run_json(record)["tool"]
    assert record.cell.model == "simulated-model"
    assert (record.cell.batch, record.cell.rate) == ((None, 20.0) if open_loop else (4, None))
    assert record.cell.prompt_tokens in (7, 8)
    assert record.cell.output_tokens == 16
    failed = 4 if "errors" in name else 0
    assert (value(record, "requests"), value(record, "errors")) == (16, failed)
    assert value(record, "ttft_s.p50") == pytest.approx(0.055, rel=0.4)
    assert value(record, "tpot_s.p50") == pytest.approx(0.010, rel=0.1)
    assert value(record, "e2e_s.p50") == pytest.approx(0.205, rel=0.15)
    assert record.metrics["ttft_s.p99"].value is None, "16 requests cannot tell"
    assert record.metrics.get("vram_peak_bytes", journal.Figure(None)).value is None
    assert abs(record.started_at - datetime(2026, 11, 23, 18, 7, tzinfo=UTC)) < timedelta(days=1)
    flags = {doubt.name for doubt in record.doubts if doubt.severity == "flag"}
    sound = {"rate_not_achieved"} if open_loop else set()  # their schedules come to other rates
    assert flags - sound <= {"chunks_together", *(["errors"] if failed else [])}
    assert record.status == ("flagged" if flags else "valid")
    assert any(tool in sentence(doubt) for doubt in record.doubts)
    if failed:
        assert record.error is not None and ("500" in record.error or "Simulated" in record.error)


def test_our_figures_are_those_of_the_tool(tmp_path: Path) -> None:
    """From the same requests, by our own definitions, which here are also theirs."""
    theirs = json.loads((DATA / "vllm-closed.json").read_text())
    ours = only(DATA / "vllm-closed.json", tmp_path)
    assert value(ours, "ttft_s.mean") == pytest.approx(fmean(theirs["ttfts"]))
    assert value(ours, "e2e_s.mean") == pytest.approx(fmean(theirs["latencies"]))
    assert value(ours, "output_tokens_per_s") == pytest.approx(
        theirs["output_throughput"], rel=0.01
    )
    report = json.loads((DATA / "guidellm-concurrent.json").read_text())["benchmarks"][0]
    ours = only(DATA / "guidellm-concurrent.json", tmp_path)
    theirs = report["metrics"]["time_to_first_token_ms"]["successful"]["mean"] / 1e3
    assert value(ours, "ttft_from_send_s.mean") == pytest.approx(theirs)
    theirs = report["metrics"]["inter_token_latency_ms"]["successful"]["mean"] / 1e3
    assert value(ours, "tpot_s.mean") == pytest.approx(theirs)
    export = json.loads((DATA / AIPERF.format("concurrent")).read_text())
    ours = only(DATA / AIPERF.format("concurrent"), tmp_path)
    for name, metric in (
        ("time_to_first_token", "ttft_s"),
        ("inter_token_latency", "tpot_s"),
        ("inter_chunk_latency", "icl_s"),
    ):
        assert value(ours, f"{metric}.mean") == pytest.approx(export[name]["avg"] / 1e3, rel=0.01)


def test_the_samples_are_kept_where_every_chunk_is_known(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        for name, kept in (
            ("vllm-closed.json", True),
            (AIPERF.format("rate"), True),
            ("guidellm-rate.json", False),
        ):
            record = only(DATA / name, tmp_path)
            samples = store.samples(record.id)
            assert (samples is not None) == kept
            if samples:
                assert len(samples.traces) == 16
                assert {len(trace.chunk_s) for trace in samples.traces} == {16}
                assert all(list(t.chunk_s) == sorted(t.chunk_s) for t in samples.traces)
            else:
                assert record.metrics["icl_s.p50"].value is None
                assert record.metrics["itl_s.p50"].value is None
    assert journal.recompute(tmp_path) == (), "what is stored can be computed again"


def test_an_export_of_aiperf_without_its_requests_gives_its_own_figures(tmp_path: Path) -> None:
    for kind in ("concurrent", "errors"):
        path = tmp_path / kind / "profile_export_aiperf.json"
        path.parent.mkdir()
        path.write_bytes((DATA / AIPERF.format(kind)).read_bytes())
        record = only(path, tmp_path)
        export = json.loads(path.read_text())
        mean = export["time_to_first_token"]["avg"] / 1e3
        assert value(record, "ttft_s.mean") == pytest.approx(mean)
        assert record.metrics["ttft_s.p99"].value is None, "of so few samples"
        assert value(record, "requests") == 16
        assert any("did not lie beside it" in sentence(doubt) for doubt in record.doubts)


def test_the_same_file_twice_is_one_run(tmp_path: Path) -> None:
    first = import_results(DATA / "vllm-open.json", tmp_path)
    again = import_results(DATA / "vllm-open.json", tmp_path)
    assert (len(first.new), again.new) == (1, ())
    assert again.records == first.records
    with open_store(tmp_path) as store:
        assert len(store.runs()) == len(store.experiments()) == 1


def test_imported_runs_stand_beside_others_in_a_comparison(tmp_path: Path) -> None:
    import_results(DATA / "guidellm-concurrent.json", tmp_path)
    import_results(DATA / AIPERF.format("concurrent"), tmp_path)
    a, b = "GuideLLM: guidellm-concurrent", "AIPerf: profile_export_aiperf"
    comparison = journal.compare(a, b, tmp_path)
    assert comparison.as_json()["environment"]["tool"] == {"a": ["GuideLLM"], "b": ["AIPerf"]}
    assert comparison.rows[0].figures[0].reason == "one run of an experiment each"


# ---- what is refused ---------------------------------------------------------------------------


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A file with something in it changed."""

    def write(name: str, change: Callable[[dict[str, Any]], object]) -> Path:
        data = json.loads((DATA / name).read_text())
        change(data)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(data))
        return path

    return write


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["ttfts"].pop(), "ttfts has 15 values and needs 16"),
        (lambda d: d["ttfts"].insert(0, -1.0), "ttfts.0: input should be greater"),
        (lambda d: d.update(duration=float("inf")), "duration: input should be a finite number"),
        (lambda d: d.update(date="yesterday"), "'yesterday', which is not a time"),
        (lambda d: d.update(date="00010101-000000"), "which is not a time"),
        (lambda d: d.update(model_id="m" * 501), "model_id: "),
        (lambda d: d.update(request_rate="fast"), "'fast'"),
        (lambda d: d.update(input_lens=[]), "input_lens"),
        (lambda d: d["output_lens"].__setitem__(0, 10**12), "output_lens.0"),
    ],
)
def test_a_file_with_what_cannot_be_is_refused(
    changed: Callable[..., Path], tmp_path: Path, change: Callable[..., object], reason: str
) -> None:
    with pytest.raises(UsageError) as refused:
        import_results(changed("vllm-closed.json", change), tmp_path)
    assert reason in str(refused.value)
    with open_store(tmp_path) as store:
        assert store.runs() == store.experiments() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"[1, 2]", "item 0, is a number, and a result is an object"),
        (b"[]", "is an empty list"),
        (b'{"a": 1}', "is not a result file that is known here"),
        (b"\x00\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"benchmarks": ' + b"[" * 5000, "is not JSON"),
        (b'{"metadata": {"guidellm_version": "1"}, "benchmarks": []}', "benchmarks: "),
        (b'{"metadata": 3, "benchmarks": []}', "is not a result file"),
    ],
)
def test_what_is_no_result_file_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        import_results(path, tmp_path)


def test_only_files_of_a_bounded_size_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        import_results(tmp_path / "none.json", tmp_path)
    with pytest.raises(UsageError, match="holds no results"):
        import_results(tmp_path, tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="there is no file"):
        import_results(pipe, tmp_path)
    monkeypatch.setattr(result_files, "MOST_BYTES", 1000)
    with pytest.raises(UsageError, match="is larger than"):
        import_results(DATA / "vllm-closed.json", tmp_path)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in `tree`."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, child in items:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


ODD: list[Any] = [None, "", "x", "\x00\ud800", -1, 0, 1, 1e308, -1e308, 10**30, [], {}, True]
ODD += [[0], {"a": 1}, "9" * 400, 1e-320, "2026-13-45", "inf", float("nan"), float("-inf")]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed")


@given(st.sampled_from(FUZZED), st.integers(0, 2**32), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(
    fuzzed: Path, file: str, seed: int, changes: int
) -> None:
    chance = random.Random(seed)
    data = json.loads((DATA / file).read_text())
    for _ in range(changes):
        *way, last = chance.choice(list(places(data)))
        parent = data
        for key in way:
            parent = parent[key]
        if chance.random() < 0.3:
            del parent[last]
        else:
            parent[last] = deepcopy(chance.choice(ODD))
    path = fuzzed / "damaged.json"
    path.write_text(json.dumps(data))
    _read_or_refused(path, fuzzed)


@given(st.sampled_from(FUZZED), st.integers(0, 9000), st.binary(max_size=40), st.integers(0, 9000))
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_cut_or_overwritten_is_read_or_refused(
    fuzzed: Path, file: str, at: int, junk: bytes, left: int
) -> None:
    content = (DATA / file).read_bytes()
    path = fuzzed / "cut.json"
    path.write_bytes(content[:at] + junk + content[len(content) - left :])
    _read_or_refused(path, fuzzed)


def _read_or_refused(path: Path, fuzzed: Path) -> None:
    with open_store(fuzzed) as store:
        before = len(store.runs())
    try:
        for record in import_results(path, fuzzed).records:
            assert record.status in ("valid", "flagged", "invalid", "failed")
            assert json.dumps(run_json(record), allow_nan=False)
    except UsageError as error:
        assert path.name in str(error) and 20 < len(str(error)) < 900
        with open_store(fuzzed) as store:
            assert len(store.runs()) == before, "nothing is stored of a refused file"


@given(st.binary(max_size=300), st.integers(0, 40_000))
@settings(max_examples=60, deadline=None)
def test_bytes_in_the_middle_of_a_file_of_requests(fuzzed: Path, junk: bytes, at: int) -> None:
    home = fuzzed / "aiperf"
    home.mkdir(exist_ok=True)
    source = DATA / AIPERF.format("errors")
    content = source.with_name("profile_export.jsonl").read_bytes()
    (home / "profile_export.jsonl").write_bytes(content[:at] + junk + content[at:])
    # the run's id comes from the export: another time makes it another run
    export = json.loads(source.read_text()) | {"benchmark_id": junk.hex() + str(at)}
    (home / "export.json").write_text(json.dumps(export))
    try:
        import_results(home / "export.json", fuzzed)
    except UsageError as error:
        assert 20 < len(str(error)) < 900
