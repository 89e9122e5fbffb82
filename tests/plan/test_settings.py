"""Single settings of an engine: read, applied, and shown as a difference."""

import pytest

from journal.errors import SpecError
from journal.plan.settings import Setting, changed_engine, engine_difference, parsed_setting
from journal.records.experiment import Engine

ENGINE = Engine(model="m", flags=("--enforce-eager", "--max-num-seqs", "2", "--seed=3"))


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("engine.max_num_seqs=64", Setting("max_num_seqs", 64)),
        ("engine.max-num-seqs=64", Setting("max_num_seqs", 64)),
        ("engine.quantisation=fp8", Setting("quantisation", "fp8")),
        ('engine.quantisation="fp8"', Setting("quantisation", "fp8")),
        ("engine.prefix_caching=true", Setting("prefix_caching", True)),
    ],
)
def test_a_setting_is_read(text: str, setting: Setting) -> None:
    assert parsed_setting(text) == setting
    assert parsed_setting(str(setting)) == setting


@pytest.mark.parametrize(
    "text",
    ["max_num_seqs=64", "engine.=3", "engine.x", "engine.x=", "engine.model=other", "engine.x=[1]"],
)
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="--set"):
        parsed_setting(text)


def test_a_flag_takes_the_place_of_its_former_value() -> None:
    after = changed_engine(ENGINE, Setting("max_num_seqs", 8))
    assert after.flags == ("--enforce-eager", "--seed=3", "--max-num-seqs", "8")
    assert changed_engine(ENGINE, Setting("seed", 4)).flags[-2:] == ("--seed", "4")
    eager = changed_engine(ENGINE, Setting("enforce_eager", False))
    assert eager.flags == ("--max-num-seqs", "2", "--seed=3", "--no-enforce-eager")


def test_a_field_is_checked_as_in_a_file() -> None:
    assert changed_engine(ENGINE, Setting("tensor_parallel", 2)).tensor_parallel == 2
    with pytest.raises(SpecError, match="tensor_parallel"):
        changed_engine(ENGINE, Setting("tensor_parallel", "two"))


def test_a_difference_is_toml() -> None:
    after = changed_engine(Engine(model="m"), Setting("prefix_caching", True))
    lines = engine_difference(Engine(model="m"), after)
    assert lines == ("  [engine]", "- prefix_caching = false", "+ prefix_caching = true")
    flags = changed_engine(Engine(model="m"), Setting("max_num_seqs", 8))
    assert engine_difference(Engine(model="m"), flags)[1:] == ('+ flags = ["--max-num-seqs", "8"]',)
