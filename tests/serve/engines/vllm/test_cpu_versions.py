"""What real engines of several versions logged and gave at /metrics, recorded on the CPU."""

from pathlib import Path

import pytest

from journal.measure.server import parsed_samples, server_reading
from journal.serve.engines.vllm.log_explanation import explanation
from journal.serve.engines.vllm.metric_names import METRICS

RECORDED = Path(__file__).parents[3] / "data" / "engine" / "cpu"
LOGS = sorted(RECORDED.glob("*.log"))


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_the_log_of_a_version_is_read(log: Path) -> None:
    known = explanation(log.read_text().splitlines())
    assert (known.engine_version, known.cause) == (log.stem, None)
    assert (known.kv_pool_bytes, known.kv_pool_tokens, known.longest) == (2**30, 46_592, 4096)
    assert known.phases is not None
    assert known.phases.load_s is not None
    assert known.phases.init_s is not None


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_the_metrics_of_a_version_are_read(log: Path) -> None:
    page = log.with_suffix(".metrics").read_bytes()
    reading = server_reading(page, 0.0)
    assert {field for field in METRICS.readings if getattr(reading, field) is None} <= (
        METRICS.sometimes
    )
    assert (reading.prompt_tokens_total, reading.output_tokens_total) == (11, 20)
    (labels,) = (sample.labels for sample in parsed_samples(page) if sample.name == METRICS.pool)
    assert (labels["kv_cache_size_tokens"], labels["kv_cache_memory_bytes"]) == (
        "46592",
        str(2**30),
    )
