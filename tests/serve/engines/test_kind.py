"""Another kind of engine than vLLM is served, read and measured by its own record alone."""

from pathlib import Path

import pytest
from simulated_engine import BLOCK_TOKENS, BLOCKS, SIMULATOR

import journal
from journal import Engine, Experiment, Grid, Load
from journal.errors import EngineError, SpecError
from journal.measure.server import ServerConnection, names_of, server_reading
from journal.records.progress import Event
from journal.serve import start as engines
from journal.serve.engines.vllm.vllm import VLLM
from journal.serve.probe import fetch


def test_a_second_kind_of_engine_is_started_and_read_by_its_own_record(
    model: Path, tmp_path: Path
) -> None:
    events: list[Event] = []
    started = engines.start(
        Engine(model=str(model)), tmp_path / "log", events.append, kind=SIMULATOR, api_key="k"
    )
    with started as endpoint:
        assert endpoint.max_model_len == 8192
        assert endpoint.has_metrics
        assert names_of(endpoint) == SIMULATOR.metric_names
        with ServerConnection(endpoint) as connection:
            reading = server_reading(connection.look(), 0.0, names_of(endpoint))
        assert reading.running == 0
        assert reading.output_tokens_total is not None and reading.output_tokens_total > 0
        assert fetch(f"{endpoint.base_url}/models").status == 401, "the key reached it"
        engines.check_alive(endpoint, SIMULATOR)
    facts = endpoint.facts
    assert (facts.kv_pool_tokens, facts.kv_pool_bytes) == (BLOCK_TOKENS * BLOCKS, 2**30)
    assert "--called" in facts.argv
    phases = {event.message.rpartition(": ")[2] for event in events}
    assert phases & {"thinking", "filling"}
    assert not phases & {name for _, name in VLLM.phases}


def test_a_second_kind_of_engine_says_itself_why_it_failed(model: Path, tmp_path: Path) -> None:
    sulking = Engine(model=str(model), flags=("--sulk", "want of rest"))
    with (
        pytest.raises(EngineError, match=r"the simulator died .* thinking: want of rest"),
        engines.start(sulking, tmp_path / "log", kind=SIMULATOR),
    ):
        pytest.fail("it never served")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [(("--at=here",), "chosen by journal itself"), (("--password=p",), "would show a secret")],
)
def test_a_second_kind_of_engine_has_flags_of_its_own(
    model: Path, flags: tuple[str, ...], reason: str
) -> None:
    engine = Engine(model=str(model), flags=flags)
    with pytest.raises(SpecError, match=reason):
        engines.check_engine(engine, SIMULATOR)
    plain = Engine(model=str(model), flags=("--host=here", "-tp=2"))
    engines.check_engine(plain, SIMULATOR)  # these are vLLM's


def test_a_second_kind_of_engine_is_measured_from_end_to_end(model: Path, tmp_path: Path) -> None:
    experiment = Experiment(
        name="simulated",
        engines=(Engine(model=str(model)),),
        grid=Grid(batch=(2,), prompt_tokens=(64,), output_tokens=(32,)),
        load=Load(requests=8, warmup=2),
    )
    result = journal.run(experiment, tmp_path / "lab", kind=SIMULATOR)
    assert result.ok
    (record,) = result.records
    metrics = {name: figure.value for name, figure in record.metrics.items()}
    assert record.facts.kv_pool_bytes == 2**30
    assert record.facts.block_size == BLOCK_TOKENS
    assert metrics["server_running_peak"] == 2
    assert metrics["kv_pool_tokens"] == BLOCK_TOKENS * BLOCKS
    assert metrics["kv_cache_peak_fraction"]
