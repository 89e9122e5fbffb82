"""The real vLLM, of which one part is killed. (All parts and moments are measured by
`python -m benchmarks.killed_engine`: each is one start of a minute or more.)"""

from pathlib import Path

import pytest

from benchmarks.killed_engine import kill

pytestmark = pytest.mark.engine


def test_sigkill_of_the_worker_while_it_serves(embedded_cache: Path, tmp_path: Path) -> None:
    met = kill("worker", "serving", tmp_path / "engine.log")
    assert met.gone_s is not None
    assert met.shared_left == 0
    assert "vLLM died while it served" in met.said
