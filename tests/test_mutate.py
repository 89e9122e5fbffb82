"""Mutants of a small tree of its own: which changes are made, and which its tests notice."""

import ast
from pathlib import Path

import pytest

from benchmarks.mutate import drawn, main, mutants

MODULE = '''"""Sums of 3 things."""

from dataclasses import dataclass

LIMIT = 50
SHORTEN = {"half": lambda value: value / 2}


@dataclass(frozen=True)
class Size:
    """Of 2 sides."""

    wide: int = 1


def clipped(value: float, most: "int | float" = 10) -> float:
    """At most 10."""
    if value < 0:
        raise ValueError(f"{value + 1} is below {0}")
    list(zip("a", "b", strict=True))
    return min(value, most) + 0
'''
# It notices neither that the limit is another one nor that 0 is refused.
TESTS = """
import pytest
from journal.toy.thing import clipped

def test_a_value_is_clipped():
    assert clipped(3) == 3
    assert clipped(9999.0) > 3
    with pytest.raises(ValueError):
        clipped(-1)
"""


def tree(root: Path) -> Path:
    for folder in ("journal/toy", "tests/toy"):
        (root / folder).mkdir(parents=True)
    (root / "journal/__init__.py").touch()
    (root / "journal/toy/thing.py").write_text(MODULE)
    (root / "tests/toy/test_thing.py").write_text(TESTS)
    markers = ", ".join(f'"{name}"' for name in ("engine", "slow", "timing"))
    (root / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\nmarkers = [{markers}]\n")
    return root


def test_what_a_test_could_only_restate_is_left_alone() -> None:
    made = mutants("thing.py", MODULE.encode())
    assert [(mutant.line, mutant.before, mutant.after) for mutant in made] == [
        (6, "value / 2", "(value * 2)"),
        (6, "2", "(3)"),
        (6, "2", "(1)"),
        (13, "1", "(2)"),
        (13, "1", "(0)"),
        (16, "10", "(11)"),
        (16, "10", "(9)"),
        (18, "value < 0", "(not (value < 0))"),
        (18, "value < 0", "(value <= 0)"),
        (18, "value < 0", "(value >= 0)"),
        (18, "0", "(1)"),
        (18, "0", "(-1)"),
        (21, "return min(value, most) + 0", "return None"),
        (21, "min(value, most) + 0", "(min(value, most) - 0)"),
        (21, "0", "(1)"),
        (21, "0", "(-1)"),
    ]
    for mutant in made:
        ast.parse(mutant.applied(MODULE.encode()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a == b", "(a != b)"),
        ("a is not None", "(a is None)"),
        ("a not in b", "(a in b)"),
        ("a and b", "(a or b)"),
        ("not a", "(a)"),
        ("True", "(False)"),
        ("2**a", "(2 * a)"),
        ("a % b", "(a * b)"),
        ("(a +  # why\n b)", "a - b"),
        ("1e12", "(2000000000000.0)"),
    ],
)
def test_each_kind_of_change(before: str, after: str) -> None:
    source = f"def f(a, b):\n    x = 'é'; g({before})\n".encode()
    changed = [mutant.applied(source).decode() for mutant in mutants("m.py", source)]
    assert any(after in text for text in changed)


def test_a_sample_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    root = tree(tmp_path)
    assert drawn(root, "toy", 5, seed=1) == drawn(root, "toy", 5, seed=1)
    assert drawn(root, "toy", 5, seed=1) != drawn(root, "toy", 5, seed=2)
    assert len(drawn(root, "toy", 5, seed=1)) == 5
    assert len(drawn(root, "toy", 500, seed=1)) == 16


def test_survivors_are_those_that_the_tests_do_not_notice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path)
    words = ["--rooms", "toy", "--count", "9", "--seed", "4", "--jobs", "2"]
    assert main(words, root) == 0
    printed = capsys.readouterr().out
    survived = [line for line in printed.splitlines() if "survived" in line]
    assert f"toy: killed {9 - len(survived)}/9" in printed
    assert any("journal/toy/thing.py:16 number: 10 -> (11)" in line for line in survived), printed
    assert not any(":21 return" in line for line in survived), printed
    assert (root / "journal/toy/thing.py").read_text() == MODULE


def test_tests_that_fail_without_a_change_measure_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "tests/toy/test_thing.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(SystemExit, match="the tests of toy fail without a change"):
        main(["--rooms", "toy", "--count", "1"], root)
