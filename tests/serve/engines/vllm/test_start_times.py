"""The phases of a start by the durations that vLLM 0.6 to 0.33 logs."""

import pytest

from journal.records.engine import StartPhases
from journal.serve.engines.vllm.start_log import start_facts

LOADED = "INFO [x.py:1] Model loading took 7.6 GiB and 32.97 seconds"
CACHED = [
    "INFO [backends.py:1148] Dynamo bytecode transform time: 8.52 s",
    "INFO [backends.py:295] Directly load the compiled graph(s) for compile range (1, 8192) from "
    "the cache, took 2.250 s",
    "INFO [monitor.py:34] torch.compile took 10.77 s in total",
]
ANEW = [
    "INFO [backends.py:1148] Dynamo bytecode transform time: 4.60 s",
    "INFO [backends.py:399] Compiling a graph for compile range (1, 8000) takes 14.77 s",
]
END = [
    "INFO [gpu_model_runner.py:6582] Graph capturing finished in 15 secs, took 0.33 GiB",
    "INFO [core.py:402] init engine (profile, create kv cache, warmup model) took 39.34 s "
    "(compilation: 19.37 s)",
]


def phases(lines: list[str]) -> StartPhases | None:
    return start_facts(lines).phases


def test_a_start_from_caches_is_warm() -> None:
    assert phases([LOADED, *CACHED, *END]) == StartPhases(
        kind="warm", load_s=32.97, compile_s=10.77, graphs_s=15.0, init_s=39.34
    )


def test_a_start_that_compiles_is_cold() -> None:
    known = phases([LOADED, *ANEW, *END])
    assert known is not None
    assert (known.kind, known.compile_s) == ("cold", 19.37)
    cut_short = phases([LOADED, *ANEW])
    assert cut_short is not None
    assert (cut_short.kind, round(cut_short.compile_s or 0, 2)) == ("cold", 19.37)  # of its parts


def test_a_download_makes_a_start_cold_and_is_taken_off_the_loading() -> None:
    fetched = (
        "INFO [weight_utils.py:533] Time spent downloading weights for org/m: 30.970000 seconds"
    )
    known = phases([fetched, LOADED, *CACHED, *END])
    assert known is not None
    assert (known.kind, known.download_s) == ("cold", 30.97)
    assert known.load_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (
            "INFO 06-19 23:05:18 [monitor.py:33] torch.compile takes 7.51 s in total",
            "compile_s",
            7.51,
        ),
        (
            "INFO 06-19 [core.py:162] init engine (profile, create kv cache, warmup model) "
            "took 34.11 seconds",
            "init_s",
            34.11,
        ),
        ("INFO [loader.py:447] Loading weights took 0.69 seconds", "load_s", 0.69),
        (
            "INFO [decorators.py:7] torch.compile and initial profiling/warmup run together took "
            "51.00 s in total",
            "compile_s",
            51.0,
        ),
    ],
)
def test_a_duration_is_read_in_every_wording(line: str, name: str, value: float) -> None:
    assert getattr(phases([line]), name) == value


def test_the_slowest_process_counts_and_a_second_start_begins_anew() -> None:
    ranks = [f"(Worker_TP{n} pid={n}) {LOADED.replace('32.97', str(30 + n))}" for n in (1, 2)]
    known = phases(ranks)
    assert known is not None
    assert (known.kind, known.load_s) == (None, 32.0)
    again = "(APIServer pid=9) INFO [x.py:1] non-default args: {'model': 'm'}"
    assert phases([*ranks, again]) is None
