"""Theory beside measurement, on samples whose engine hands out its KV cache by the formula."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import pytest

from journal.doubts.rules import doubts
from journal.metrics.table import TABLE, metrics, predictable
from journal.records.doubt import Values
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.samples import GpuReading, Samples
from journal.records.workload import Workload
from journal.theory.model_table import find_model
from journal.theory.predictions import served_model

Run = Callable[..., Any]
SMOL = find_model("SmolLM2-135M")
BLOCKS, BLOCK = 5824, 16
FACTS = EngineFacts(
    kv_pool_bytes=2**31,
    kv_pool_tokens=BLOCKS * BLOCK,
    block_size=BLOCK,
    dtype="bfloat16",
    config=SMOL.config,
    checkpoint_bytes=2 * SMOL.published,
)


def held(samples: Samples, at_s: float) -> float:
    """The fraction of the pool that vLLM would have handed out: it keeps one block back."""
    blocks = 0
    for trace in samples.traces:
        if trace.start_s <= at_s < trace.end_s:
            made = sum(chunk <= at_s for chunk in trace.chunk_s)
            blocks += ceil(((trace.prompt_tokens or 0) + made) / BLOCK)
    return blocks / (BLOCKS - 1)


def serving(samples: Samples, facts: EngineFacts = FACTS, engine: Engine | None = None) -> Samples:
    server = tuple(
        replace(reading, kv_cache_fraction=held(samples, reading.at_s))
        for reading in samples.readings.server
    )
    return replace(
        samples,
        facts=facts,
        cell=replace(samples.cell, engine=engine),
        readings=replace(samples.readings, server=server),
    )


def test_the_formula_the_pool_and_the_slope_agree(run: Run) -> None:
    figures = metrics(
        serving(run(batch=4, requests=40, prompt_tokens=200, output_tokens=100).samples())
    )
    assert figures["kv_bytes_per_token_predicted"].value == 23_040
    assert figures["kv_bytes_per_token"].value == pytest.approx(23_046, abs=1)
    assert figures["kv_bytes_per_token_ratio"].value == pytest.approx(1, abs=0.001)
    slope = figures["kv_bytes_per_token_slope"]
    assert slope.value == pytest.approx(23_046, rel=1e-4)
    assert slope.low is not None and slope.high is not None
    assert slope.low <= slope.value <= slope.high
    assert figures["kv_bytes_per_token_slope_ratio"].low == pytest.approx(slope.low / 23_040)
    assert figures["weights_bytes"].value == figures["weights_bytes_predicted"].value
    assert figures["weights_bytes_ratio"].value == 1
    assert (
        figures["ttft_floor_s"].value is figures["ttft_floor_ratio"].value is None
    )  # no kind of GPU


def test_floors_where_the_gpu_is_known(run: Run) -> None:
    facts = replace(FACTS, card="NVIDIA L40S")
    figures = metrics(serving(run(batch=4, requests=40).samples(), facts))
    for name in ("ttft", "tpot"):
        floor, ratio = figures[f"{name}_floor_s"].value, figures[f"{name}_floor_ratio"]
        assert floor is not None
        assert floor > 0
        measured = figures[f"{name}_s.p50"]
        assert ratio.value == pytest.approx((measured.value or 0) / floor)
        low = None if measured.low is None else measured.low / floor
        assert (ratio.low, ratio.count) == (low, measured.count)


def test_the_pool_in_use_is_its_share_at_the_peak(run: Run) -> None:
    samples = serving(run(batch=4, requests=40).samples())
    figures = metrics(samples)
    share = figures["kv_cache_peak_fraction"].value
    assert share is not None and share > 0
    assert figures["kv_cache_peak_bytes"].value == share * 2**31
    for none in (replace(FACTS, kv_pool_bytes=None), replace(FACTS, kv_pool_tokens=0)):
        figures = metrics(replace(samples, facts=none))
        assert figures["kv_bytes_per_token"].value is None
        assert (figures["kv_cache_peak_bytes"].value is None) == (none.kv_pool_bytes is None)


def test_the_floor_of_a_first_token_is_that_of_what_a_cache_cannot_spare(run: Run) -> None:
    """Of a prompt of 4,000 tokens what is not shared, of a conversation what a turn adds."""
    facts = replace(FACTS, card="NVIDIA L40S")
    samples = serving(run(prompt_tokens=4000).samples(), facts)

    def floor_s(prompt: int | None = 4000, **workload: Any) -> float | None:
        cell = replace(samples.cell, prompt_tokens=prompt, workload=Workload(**workload))
        return metrics(replace(samples, cell=cell))["ttft_floor_s"].value

    model = served_model(facts, None, 1)
    assert model is not None
    assert floor_s() == model.ttft_floor_s(4000)
    assert floor_s(shared_prefix=1000) == model.ttft_floor_s(3000)
    assert floor_s(1500, turns=3) == model.ttft_floor_s(1500)
    assert floor_s(5000, turns=3) == model.ttft_floor_s(4000)
    assert floor_s(1500, prompts="text:en", turns=3) == model.ttft_floor_s(4000)
    assert floor_s(None, prompts="text:en", turns=3) is None


def test_the_floor_of_a_step_is_of_as_many_as_can_be_in_flight(run: Run) -> None:
    facts = replace(FACTS, card="NVIDIA L40S")

    def floor_s(**load: Any) -> float:
        figures = metrics(serving(run(prompt_tokens=4000, **load).samples(), facts))
        return figures["tpot_floor_s"].value

    one, four = floor_s(batch=1, requests=8), floor_s(batch=4, requests=8)
    cache_s = 3 * 4000 * 23_040 / 864e9  # the L40S reads 864 GB/s
    assert four - one == pytest.approx(cache_s, rel=1e-3)
    assert floor_s(batch=64, requests=4) == four
    assert floor_s(rate=50.0, requests=20) == one


def test_gpus_that_share_a_model_are_added_up(run: Run) -> None:
    facts = replace(FACTS, weights_bytes=SMOL.published, kv_pool_bytes=2**30)
    two = Engine(model="m", tensor_parallel=2)
    figures = metrics(serving(run(batch=4, requests=40).samples(), facts, two))
    assert figures["weights_bytes"].value == 2 * SMOL.published
    assert figures["kv_pool_bytes"].value == 2**31
    assert figures["kv_bytes_per_token"].value == pytest.approx(23_046, abs=1)
    assert figures["kv_bytes_per_token_slope"].value == pytest.approx(23_046, rel=1e-4)
    attached = serving(run(batch=4, requests=40).samples(), facts)
    gpus = tuple(GpuReading(at_s=1.0, device=device) for device in (0, 1))
    attached = replace(attached, readings=replace(attached.readings, gpu=gpus))
    assert metrics(attached)["kv_pool_bytes"].value == 2**31


def test_a_sliding_window_has_no_ratio(run: Run) -> None:
    facts = replace(FACTS, config={**SMOL.config, "sliding_window": 64})
    samples = serving(run(batch=4, requests=40).samples(), facts)
    figures = metrics(samples)
    assert figures["kv_bytes_per_token"].value is None
    assert no_rate(samples) == {"variant": "mixed"}
    assert figures["kv_bytes_per_token_predicted"].value == 23_040
    assert figures["kv_bytes_per_token_ratio"].value is None
    assert figures["kv_bytes_per_token_slope_ratio"].value is None


def no_rate(samples: Samples) -> Values | None:
    """The values of the doubt that a pool gives no bytes of a token."""
    every = doubts(samples, metrics(samples))
    return next((doubt.values for doubt in every if doubt.name == "kv_no_rate"), None)


def test_a_pool_that_gives_no_bytes_of_a_token_says_why(run: Run) -> None:
    samples = serving(run(batch=4, requests=40).samples())
    assert no_rate(samples) is None
    blocks = replace(FACTS, kv_pool_tokens=None, config=None)
    assert no_rate(replace(samples, facts=blocks)) == {"variant": "blocks", "block_tokens": BLOCK}
    assert no_rate(replace(samples, facts=replace(blocks, block_size=None))) is None


def test_a_measurement_without_a_config_stands_alone(run: Run) -> None:
    figures = metrics(serving(run(batch=4, requests=40).samples(), replace(FACTS, config=None)))
    assert figures["kv_bytes_per_token"].value is not None
    predicted = [name for name in figures if name.endswith(("_predicted", "_ratio", "_floor_s"))]
    assert predicted
    assert all(figures[name].value is None for name in predicted)


# ---- energy and money ------------------------------------------------------------------------


def test_energy_says_which_way_it_was_read(run: Run) -> None:
    figures = metrics(run(batch=4, requests=40, gpu=True).samples())
    counted, integral = (figures[f"energy_by_{way}_j"].value for way in ("counter", "power"))
    assert counted is not None
    assert integral is not None
    assert figures["energy_j"].value == counted
    tokens = figures["output_tokens_per_s"].value or 0
    watts = counted / (figures["duration_s"].value or 1)
    assert figures["output_tokens_per_s_per_w"].value == pytest.approx(tokens / watts)
    assert figures["energy_per_output_token_j"].value == pytest.approx(watts / tokens)

    samples = run(batch=4, requests=40, gpu=True).samples()
    gpus = tuple(replace(reading, energy_j=None) for reading in samples.readings.gpu)
    figures = metrics(replace(samples, readings=replace(samples.readings, gpu=gpus)))
    assert figures["energy_by_counter_j"].value is None
    assert figures["energy_j"].value == figures["energy_by_power_j"].value == integral


def test_the_price_of_a_million_tokens(run: Run) -> None:
    samples = run(batch=4, requests=40).samples()
    assert metrics(samples)["usd_per_million_output_tokens"].value is None
    figures = metrics(replace(samples, facts=EngineFacts(usd_per_hour=1.8)))
    tokens_per_hour = (figures["output_tokens_per_s"].value or 0) * 3600
    price = figures["usd_per_million_output_tokens"].value
    assert price == pytest.approx(1.8 / tokens_per_hour * 1e6)


# ---- what may be predicted -------------------------------------------------------------------


def test_every_metric_may_be_predicted_and_a_latency_by_its_median() -> None:
    names = predictable()
    assert set(names.values()) == {metric.name for metric in TABLE}
    assert names["ttft_s_p50"] == names["ttft_s"] == "ttft_s.p50"
    assert names["kv_bytes_per_token"] == "kv_bytes_per_token"
    assert names["steady_tpot_s"] == "steady_tpot_s.p50"
