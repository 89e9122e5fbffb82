from journal.explain.models import find_model
from journal.explain.split import split
from journal.records import EngineFacts, GpuReading, ProcessReading, Readings

GIB = 2**30
SMOL = find_model("SmolLM2-135M").architecture


def gpu(at_s: float, device: int, used: int | None, ours: int | None = None) -> GpuReading:
    return GpuReading(at_s=at_s, device=device, used_bytes=used, process_bytes=ours)


def test_on_cards_the_parts_and_the_rest_sum_to_what_nvml_saw() -> None:
    facts = EngineFacts(weights_bytes=14 * GIB, kv_pool_bytes=55 * GIB, graph_bytes=GIB // 2)
    readings = Readings(
        gpu=(
            gpu(0, 0, 70 * GIB, 69 * GIB),
            gpu(1, 0, 73 * GIB, 72 * GIB),
            gpu(2, 0, None),
        )
    )
    found = split(facts, readings)
    assert found.total.bytes == 73 * GIB
    assert found.total.source.startswith("NVML")
    sizes = {part.name: part.bytes for part in found.parts}
    assert sizes == {
        "weights": 14 * GIB,
        "KV pool": 55 * GIB,
        "CUDA graphs": GIB // 2,
        "other processes": GIB,
    }
    assert found.rest_bytes == 73 * GIB - 55 * GIB - 14 * GIB - GIB // 2 - GIB


def test_several_cards_are_added_look_by_look() -> None:
    readings = Readings(gpu=(gpu(0, 0, 5, 5), gpu(0, 1, 1, 1), gpu(1, 0, 3, None), gpu(1, 1, 4, 4)))
    found = split(EngineFacts(), readings)
    assert found.total.bytes == 7
    assert "other processes" not in {part.name for part in found.parts}


def test_on_the_cpu_the_total_is_resident_memory() -> None:
    facts = EngineFacts(weights_bytes=GIB // 4, kv_pool_bytes=2 * GIB)
    readings = Readings(
        process=tuple(
            ProcessReading(at_s=at_s, rss_bytes=rss, processes=2)
            for at_s, rss in ((0, GIB), (1, 2 * GIB), (2, GIB))
        )
    )
    found = split(facts, readings)
    assert found.total.bytes == 2 * GIB
    assert "CUDA graphs" not in {part.name for part in found.parts}
    assert found.rest_bytes == -GIB // 4  # the pool is reserved, its pages are not all touched


def test_what_the_engine_did_not_tell_comes_from_elsewhere_and_says_so() -> None:
    facts = EngineFacts(kv_pool_tokens=1000)
    weights, pool = split(facts, Readings(), model=SMOL).parts
    assert (weights.bytes, weights.source) == (2 * 134_515_008, "counted from config.json")
    assert pool.bytes == 23_040_000
    weights, _ = split(facts, Readings(), model=SMOL, checkpoint_bytes=7).parts
    assert (weights.bytes, weights.source) == (7, "the checkpoint's safetensors headers")


def test_what_nobody_told_is_absent() -> None:
    found = split(EngineFacts(), Readings())
    assert [part.bytes for part in found.parts] == [None, None]
    assert found.total.bytes is None
    assert found.rest_bytes is None
