from dataclasses import replace

import pytest
from builders import a_record
from hypothesis import given
from hypothesis import strategies as st

from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.run import Record
from journal.theory.split import NAMES, SOURCES, split

GIB = 2**30
CPU = {"weights_bytes": GIB / 4, "kv_pool_bytes": 2.0 * GIB, "rss_peak_bytes": 5.0 * GIB}
GPU = {
    "weights_bytes": 27.0 * GIB,
    "kv_pool_bytes": 110.0 * GIB,
    "vram_peak_bytes": 146.0 * GIB,
    "vram_process_peak_bytes": 145.0 * GIB,
    "rss_peak_bytes": 9.0 * GIB,
}
LOGGED = EngineFacts(
    weights_bytes=13 * GIB,
    activation_bytes=GIB,
    graph_bytes=GIB // 2,
    context_bytes=GIB // 4,
)


def run(
    metrics: dict[str, float | None], facts: EngineFacts = LOGGED, tensor_parallel: int = 1
) -> Record:
    figures = {name: Figure(value) for name, value in metrics.items()}
    engine = Engine(model="m", tensor_parallel=tensor_parallel)
    return a_record(metrics=figures, facts=facts, engine=engine)


def test_the_parts_on_gpus_sum_to_what_nvml_saw() -> None:
    vram = split([run(GPU, tensor_parallel=2)])
    assert vram is not None
    assert (vram.total.name, vram.total.source) == ("used", "nvml")
    sizes = {part.name: part.bytes / GIB for part in vram.parts}
    assert sizes == {
        "weights": 13.5,
        "kv_pool": 55,
        "activations": 1,  # a log gives the sizes of one GPU already
        "graphs": 0.5,
        "context": 0.25,
        "others": 0.5,
        "rest": 2.25,
    }
    assert (vram.gpu_count, vram.total.bytes) == (2, 73 * GIB)
    assert {part.name: part.source for part in vram.parts}["weights"] == "log"


@pytest.mark.parametrize(("gpus", "shares"), [(2, 2), (1, 1), (None, 1)])
def test_a_server_that_was_there_shares_its_model_over_the_gpus_that_were_seen(
    gpus: int | None, shares: int
) -> None:
    facts = replace(LOGGED, cards=gpus)
    attached = replace(run(GPU, facts), cell=replace(run(GPU).cell, engine=None))
    vram = split([attached])
    assert vram is not None
    assert vram.total.bytes == 146 * GIB / shares
    sizes = {part.name: part.bytes / GIB for part in vram.parts}
    assert (sizes["weights"], sizes["kv_pool"]) == (27 / shares, 110 / shares)


@pytest.mark.parametrize(
    ("estimate", "graphs", "activations"),
    [
        (GIB // 4, GIB // 2, 0.75),
        (None, GIB // 2, 1),
        (GIB // 4, None, 1),  # the graphs are no part of their own
        (2 * GIB, GIB // 2, 1),  # more than there is: it cannot be in it
    ],
)
def test_the_estimate_of_the_graphs_is_no_activation(
    estimate: int | None, graphs: int | None, activations: float
) -> None:
    facts = replace(LOGGED, graph_bytes=graphs, graph_estimate_bytes=estimate)
    vram = split([run(GPU, facts, tensor_parallel=2)])
    assert vram is not None
    sizes = {part.name: part.bytes / GIB for part in vram.parts}
    assert sizes["activations"] == activations


def test_gpus_of_other_hosts_have_their_share_and_are_not_read() -> None:
    facts = replace(LOGGED, cards=2)
    vram = split([run(GPU, facts, tensor_parallel=4)])
    assert vram is not None
    sizes = {part.name: part.bytes / GIB for part in vram.parts}
    assert (sizes["weights"], sizes["kv_pool"], sizes["others"]) == (27 / 4, 110 / 4, 0.5)
    assert (vram.gpu_count, vram.total.bytes) == (2, 73 * GIB)


def test_nothing_is_said_of_others_on_memory_shared_with_the_host() -> None:
    """NVML gives the memory of the server's processes alone there, and that is what is in use."""
    vram = split([run({**GPU, "vram_peak_bytes": 145.0 * GIB})])
    assert vram is not None
    assert vram.total.bytes == 145 * GIB
    assert "others" not in {part.name for part in vram.parts}


def test_the_total_on_the_cpu_is_resident_memory() -> None:
    vram = split([run(CPU, EngineFacts(checkpoint_bytes=GIB // 4))])
    assert vram is not None
    assert (vram.total.name, vram.total.source) == ("resident", "kernel")
    shown = [(part.name, part.bytes / GIB, part.source) for part in vram.parts]
    assert shown == [
        ("weights", 0.25, "checkpoint"),
        ("kv_pool", 2, "pool"),
        ("rest", 2.75, "difference"),
    ]


def test_weights_without_a_measurement_are_counted() -> None:
    vram = split([run({"weights_bytes_predicted": 7.0, "rss_peak_bytes": 10.0}, EngineFacts())])
    assert vram is not None
    assert [(part.bytes, part.source) for part in vram.parts] == [
        (7, "config"),
        (3, "difference"),
    ]


def test_the_run_that_saw_most_counts() -> None:
    runs = [run({**CPU, "rss_peak_bytes": gib * GIB}) for gib in (4.0, 6.0, 5.0)]
    vram = split([*runs, run({"weights_bytes": 1.0})])
    assert vram is not None
    assert vram.total.bytes == 6 * GIB


def test_nothing_is_split_where_nothing_was_read() -> None:
    assert split([]) is None
    assert split([run({"weights_bytes": 1.0, "vram_peak_bytes": None})]) is None
    assert split([run({"rss_peak_bytes": 1.0}, EngineFacts())]) is None


names = st.sampled_from([*GPU, "weights_bytes_predicted"])
sizes = st.floats(0, 1e12)


@given(st.dictionaries(names, sizes), st.integers(1, 8))
def test_parts_always_sum_to_the_total(metrics: dict[str, float], gpu_count: int) -> None:
    vram = split([run(metrics, tensor_parallel=gpu_count)])
    if vram is not None:
        assert sum(part.bytes for part in vram.parts) == vram.total.bytes
        used, resident = metrics.get("vram_peak_bytes"), metrics.get("rss_peak_bytes")
        peak = resident if used is None else used / gpu_count
        assert vram.total.bytes == pytest.approx(peak, abs=0.5)
        for part in (*vram.parts, vram.total):
            assert part.name in NAMES
            assert part.source in SOURCES
