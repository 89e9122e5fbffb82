"""Servers by their /metrics: which are read, and which are only recognised."""

from pathlib import Path

import pytest

from journal.measure.server import server_reading, wanted
from journal.records.samples import ServerReading
from journal.serve.engines.server_kinds import (
    LLAMA_CPP,
    SERVERS,
    SGLANG,
    is_prometheus,
    kind_at,
)

TEXTS = Path(__file__).parents[2] / "data" / "metrics"
TGI = b"# TYPE tgi_batch_current_size gauge\ntgi_batch_current_size 4\ntgi_queue_size 7\n"
LMDEPLOY = b'lmdeploy:num_requests_running{engine="0",model_name="m"} 5.0\n'


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ((TEXTS / "vllm-0.6.txt").read_bytes(), "vLLM"),
        ((TEXTS / "sglang.txt").read_bytes(), "SGLang"),
        ((TEXTS / "llamacpp.txt").read_bytes(), "llama.cpp"),
        (TGI, "TGI"),
        (LMDEPLOY, "LMDeploy"),
        (b"# HELP python_gc_objects Objects\n# TYPE python_gc_objects counter\n", None),
        (b"<html>not found</html>", None),
        (b"", None),
    ],
)
def test_a_server_is_known_by_its_page(page: bytes, name: str | None) -> None:
    kind = kind_at(page)
    assert (None if kind is None else kind.name) == name


def test_a_page_of_an_unknown_server_is_still_one_of_metrics() -> None:
    assert is_prometheus(b"# HELP python_gc_objects Objects\n")
    assert not is_prometheus(b"<html># nothing</html>")


def test_sglangs_ranks_give_the_same_engine_again_and_count_once() -> None:
    page = (TEXTS / "sglang.txt").read_bytes()
    expected = ServerReading(
        at_s=2.0,
        running=5,
        waiting=2,
        kv_cache_fraction=0.28,
        prompt_tokens_total=8000,
        output_tokens_total=700,
    )
    assert server_reading(page, 2.0, SGLANG) == expected
    assert server_reading(wanted(page, SGLANG), 2.0, SGLANG) == expected


def test_llama_cpps_newest_versions_do_not_say_how_full_their_cache_is() -> None:
    page = (TEXTS / "llamacpp.txt").read_bytes()
    reading = server_reading(page, 0, LLAMA_CPP)
    assert (reading.running, reading.waiting, reading.kv_cache_fraction) == (3, 1, None)
    assert (reading.prompt_tokens_total, reading.output_tokens_total) == (6886, 3469)
    older = page + b"llamacpp:kv_cache_usage_ratio 0.5\n"
    assert server_reading(older, 0, LLAMA_CPP).kv_cache_fraction == 0.5


def test_the_names_of_a_kind_begin_with_its_prefix() -> None:
    for kind in SERVERS:
        if kind.names is not None:
            assert all(name.startswith(kind.prefix) for name in kind.names.read)
