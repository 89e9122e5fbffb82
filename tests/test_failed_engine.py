"""An engine that does not start is a result: the log tells why in its own words, with the sizes."""

from collections.abc import Callable
from pathlib import Path

import pytest

import journal
from journal import Engine, Experiment, Grid, Load


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
