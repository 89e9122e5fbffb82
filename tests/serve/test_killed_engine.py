"""The quality of real engines, checked on one more start of the embedded model and on a coarsely
rounded copy of it; and what is left where one part of an engine is killed. (All parts and moments
of a kill are measured by `python -m benchmarks.killed_engine`.)"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from engine_fixtures import Served, killed

from journal.compare import flips as compared
from journal.compare.flips import flips
from journal.records.engine import Endpoint, Quality
from journal.serve import quality_check
from journal.serve.quality_check import check_quality
from journal.serve.question_set import fixed_questions

pytestmark = pytest.mark.engine


@pytest.fixture
def quality(engine_quality: Quality, monkeypatch: pytest.MonkeyPatch) -> Quality:
    """The quality of the embedded model by every second question, the only ones that are asked in
    the test."""
    half = fixed_questions()[::2]
    for module in (quality_check, compared):
        monkeypatch.setattr(module, "fixed_questions", lambda: half)
    return replace(engine_quality, answers=tuple(said[::2] for said in engine_quality.answers))


def test_a_second_start_of_a_model_gives_no_flips(quality: Quality, small_engine: Endpoint) -> None:
    found = flips(quality, check_quality(small_engine))
    assert found is not None
    assert (found.verdict, found.flips, found.noise) == ("same", (), (0, 0))


def test_a_coarsely_rounded_copy_is_found(quality: Quality, rounded_engine: Served) -> None:
    coarse = check_quality(rounded_engine.endpoint)
    found = flips(quality, coarse)
    assert found is not None
    assert found.noise == (0, 0)
    assert found.verdict in ("worse", "changed"), found
    assert len(found.flips) > 10
    assert quality.perplexity is not None and coarse.perplexity is not None
    assert coarse.perplexity > quality.perplexity


def test_sigkill_of_the_worker_while_it_serves(rounded_engine: Served) -> None:
    assert "while it served" in killed("worker", rounded_engine)


def test_sigkill_of_the_parent_while_it_loads(
    orphans_of_a_start: list[int], gone: Callable[..., bool]
) -> None:
    assert len(orphans_of_a_start) >= 4  # the guard, the API server, the core and its worker
    assert gone(orphans_of_a_start, within_s=30.0)
