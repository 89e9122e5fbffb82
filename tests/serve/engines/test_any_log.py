"""Lines of an engine's log of any shape never raise, and are read in linear time."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal.errors import EngineError
from journal.serve.engines.vllm.failure import why
from journal.serve.engines.vllm.log_entries import entries
from journal.serve.engines.vllm.start_log import start_facts
from journal.serve.engines.vllm.vllm import VLLM

DATA = Path(__file__).parents[2] / "data" / "engine"
LINES = sorted(
    {line for path in DATA.rglob("*.log") for line in path.read_text(errors="replace").splitlines()}
)
NUMBERS = ("nan", "inf", "1e999", "-1", "9" * 5000, "1,000", "0x1f", "1.2.3", "", "\u0661", "²")
PIECES = ("{", "}", "[", "]", "(", ")", "%", "\x00", "\ud800", "\n", "Traceback", ":", "'", '"')


@st.composite
def lines_of_a_log(draw: st.DrawFn) -> list[str]:
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        line = draw(st.sampled_from(LINES) | st.text(max_size=80))
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(line)))
            digits = [i for i, char in enumerate(line) if char.isdigit()]
            if digits and draw(st.booleans()):
                at = draw(st.sampled_from(digits))
                line = line[:at] + draw(st.sampled_from(NUMBERS)) + line[at + 1 :]
            else:
                line = line[:at] + draw(st.sampled_from(PIECES) | st.text(max_size=5)) + line[at:]
        lines.append(line)
    return lines


def read_all(lines: list[str]) -> None:
    facts = start_facts(lines)
    for name in ("weights_bytes", "kv_pool_bytes", "kv_pool_tokens", "graph_bytes"):
        value = getattr(facts, name)
        assert value is None or 0 <= value < 2**63, (name, value)
    assert why(lines).sentence
    assert [VLLM.phase(line) for line in lines]
    error = VLLM.failure("it died", "\n".join(lines), Path("engine.log"))
    assert isinstance(error, EngineError)
    assert len(str(error)) < 5000


@settings(max_examples=150, deadline=None)
@given(lines_of_a_log())
def test_lines_of_any_shape_never_raise(lines: list[str]) -> None:
    read_all(lines)


@pytest.mark.parametrize("line", [*LINES[:: max(1, len(LINES) // 8)], "a b", "(", "[", "'", "\\"])
def test_a_long_line_is_read_in_linear_time(line: str) -> None:
    began_s = time.process_time()
    for long in (
        line * (20_000 // max(1, len(line))),
        line + " " * 20_000 + "!",
        line + "9" * 20_000,
    ):
        entries([long])
        read_all([long])
    assert time.process_time() - began_s < 15
