"""The quality of real engines, compared with that of one more start of the embedded model and of a
coarsely rounded copy of it; and what is left where one part of an engine is killed. (All parts and
moments of a kill are measured by `python -m benchmarks.killed_engine`.)"""

from collections.abc import Callable

import pytest
from engine_fixtures import Served, fewer_questions, killed

from journal.compare.flips import Flips, flips
from journal.records.engine import Quality

pytestmark = pytest.mark.engine


def compared(first: Quality, other: Quality) -> Flips:
    with fewer_questions():
        found = flips(first, other)
    assert found is not None
    return found


def test_a_second_start_of_a_model_gives_no_flips(
    engine_quality: Quality, small_quality: Quality
) -> None:
    found = compared(engine_quality, small_quality)
    assert (found.verdict, found.flips, found.noise) == ("same", (), (0, 0))


def test_a_coarsely_rounded_copy_is_found(
    engine_quality: Quality, rounded_quality: Quality
) -> None:
    found = compared(engine_quality, rounded_quality)
    assert found.noise == (0, 0)
    assert found.verdict in ("worse", "changed"), found
    assert len(found.flips) > found.questions / 2
    assert engine_quality.perplexity is not None and rounded_quality.perplexity is not None
    assert rounded_quality.perplexity > engine_quality.perplexity


def test_sigkill_of_the_worker_while_it_serves(rounded_engine: Served) -> None:
    assert "while it served" in killed("worker", rounded_engine)


def test_sigkill_of_the_parent_while_it_loads(
    orphans_of_a_start: list[int], gone: Callable[..., bool]
) -> None:
    assert len(orphans_of_a_start) >= 4  # the guard, the API server, the core and its worker
    assert gone(orphans_of_a_start, within_s=30.0)
