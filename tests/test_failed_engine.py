"""An engine that does not start is a result: the log tells why in its own words, with the sizes."""

from collections.abc import Callable
from pathlib import Path

import pytest

import journal
from journal import Engine, Experiment, Grid, Load

BLOCK_BYTES, BLOCK_TOKENS = 2**14, 16


@pytest.mark.parametrize(
    ("log", "told", "own_words"),
    [
        (
            "kv_cache_too_large",
            "only 7.3/9.46 GiB of the host's memory is free",
            "Available memory on node 0 (7.3/9.46 GiB)",
        ),
        ("context", "longer than the model's context of 8192", "max_model_len (100000)"),
    ],
)
def test_a_failed_start_is_in_the_log_with_its_cause_and_its_sizes(
    stand_in: Callable[..., Engine],
    tmp_path: Path,
    log: str,
    told: str,
    own_words: str,
) -> None:
    asked = Experiment(
        name="too-big",
        engines=(stand_in({"log": log, "exit": 1}),),
        grid=Grid(batch=(1, 2), prompt_tokens=(64,)),
        load=Load(requests=2, warmup=0),
    )
    events: list[journal.Event] = []
    result = journal.run(asked, tmp_path / "lab", listener=events.append)
    assert not result.ok
    assert [event.stage for event in events].count("record") == 1, "the start is said once"
    assert [record.status for record in result.records] == ["failed", "failed"]
    for record in result.records:
        assert record.facts.last_words is not None
        assert own_words in record.facts.last_words
    said = result.log.markdown.read_text()
    assert "### What failed" in said
    assert "1 failed start (2 cells not measured)" in said
    assert "2 failed" not in said
    assert told in said
    assert "In the engine's own words:" in said
    assert own_words in said
    assert said.count("```text") == 3, "the next command; two cells of one cause are told once"


def test_the_setting_that_a_failed_start_calls_for_is_tried_and_kept(
    stand_in: Callable[..., Engine], tmp_path: Path
) -> None:
    """A pool of 64 blocks, of which the engine holds one back, fits 1,008 tokens."""
    pool = {"kv_cache_memory_bytes": 64 * BLOCK_BYTES, "max_model_len": 2048}
    asked = Experiment(
        name="small-pool",
        engines=(stand_in({"pool": [BLOCK_BYTES, BLOCK_TOKENS]}, **pool),),
        grid=Grid(batch=(1,), prompt_tokens=(16,), output_tokens=(8,)),
        load=Load(requests=4, warmup=1),
    )
    (failed,) = journal.run(asked, tmp_path / "lab").records
    assert failed.status == "failed"
    (found,) = journal.try_change("last", tmp_path / "lab")
    length = found.after.max_model_len
    assert length is not None and length <= 63 * BLOCK_TOKENS
    assert found.trial.setting == f"engine.max_model_len={length}"
    assert (found.verdict, found.trial.cause) == ("kept", "failed")
    with journal.open_store(tmp_path / "lab") as store:
        assert store.run("last").good
    said = next((tmp_path / "lab").rglob("*.md")).read_text()
    assert "since the engine did not start and its log calls for it" in said
    assert "Kept: " in said
