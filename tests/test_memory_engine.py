"""Theory against the real vLLM on the CPU: what the formula says of its KV cache, and where its
memory went."""

from collections.abc import Sequence

import pytest

import journal
from journal.records.engine import Endpoint
from journal.records.run import Record
from journal.theory.split import split

pytestmark = pytest.mark.engine

VALUE_BYTES = 4  # of float32


@pytest.fixture(scope="module")
def runs(engine_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Sequence[Record]:
    experiment = journal.Experiment(
        name="theory",
        grid=journal.Grid(batch=(4,), prompt_tokens=(64, 192), output_tokens=(48,)),
        load=journal.Load(requests=8, warmup=1),
    )
    home = tmp_path_factory.mktemp("theory")
    result = journal.run(experiment, home, endpoint=engine_endpoint)
    assert result.ok, [record.error for record in result.records]
    assert journal.recompute(home) == ()
    return result.records


def value(record: Record, name: str) -> float:
    found = record.metrics[name].value
    assert found is not None, name
    return found


def test_a_token_takes_what_the_formula_says(runs: Sequence[Record]) -> None:
    for record in runs:
        assert value(record, "kv_bytes_per_token_predicted") == 2 * 30 * 3 * 64 * VALUE_BYTES
        assert value(record, "kv_bytes_per_token_ratio") == pytest.approx(1, abs=0.01)


def test_the_slope_under_load_agrees_within_one_percent(runs: Sequence[Record]) -> None:
    for record in runs:
        slope = record.metrics["kv_bytes_per_token_slope_ratio"]
        assert slope.value == pytest.approx(1, abs=0.01)
        assert slope.count is not None
        assert slope.count >= 5


def test_the_weights_are_as_counted(runs: Sequence[Record]) -> None:
    for record in runs:
        assert value(record, "weights_bytes") == VALUE_BYTES * 134_515_008
        assert value(record, "weights_bytes_ratio") == 1


def test_the_parts_of_its_memory_sum_to_what_was_seen(runs: Sequence[Record]) -> None:
    found = split(runs)
    assert found is not None
    assert found.total.name == "resident"
    assert found.total.bytes == max(value(record, "rss_peak_bytes") for record in runs)
    assert sum(part.bytes for part in found.parts) == found.total.bytes
    sizes = {part.name: part.bytes for part in found.parts}
    assert sizes["weights"] == VALUE_BYTES * 134_515_008
    assert sizes["kv_pool"] == 2 * 2**30
    assert 0 < sizes["rest"] < found.total.bytes / 2 + 2**30
    (last,) = (journal.run_json(record) for record in runs[-1:])
    parts = last["memory_split"]["parts"]
    assert sum(part["bytes"] for part in parts) == last["memory_split"]["total_bytes"]
