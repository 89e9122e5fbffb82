"""Every target of the fuzzer, for a moment; `make fuzz` goes on for as long as it is given."""

import pytest

from benchmarks import fuzz


@pytest.mark.parametrize("name", sorted(fuzz.TARGETS))
def test_a_reader_of_what_others_write_has_no_defect(name: str) -> None:
    count, data, why = fuzz.fuzz(name, 0.5, seed=1)
    assert data is None, why
    assert count >= 1


def test_a_defect_is_found_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(data: bytes) -> None:
        assert b"\xff" not in data

    monkeypatch.setitem(fuzz.TARGETS, "metrics", broken)
    _, data, why = fuzz.fuzz("metrics", 20.0, seed=1)
    assert data is not None and b"\xff" in data and "AssertionError" in why
