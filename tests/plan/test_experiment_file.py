"""Experiment files: strict keys and values, and errors in one sentence."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.plan.experiment_file import load_experiment, parse, shipped
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo

MODEL = '[engine]\nmodel = "m"\n'


def read(text: str) -> Experiment:
    return parse(text, default_name="x", where="x.toml")


def test_every_shipped_experiment_parses_and_asks_something() -> None:
    assert set(shipped()) == {
        "quickstart",
        "mistral",
        "prompt-length",
        "batch-size",
        "mistral-vs-llama3",
        "quantisation",
    }
    for name, path in shipped().items():
        experiment = load_experiment(name)
        assert experiment.name == name
        assert experiment.question.endswith("?")
        assert experiment.hypothesis
        assert experiment.source == path.read_text()


def test_a_variant_goes_over_the_common_engine() -> None:
    first, second = read(
        '[engine]\nmodel = "a"\ndtype = "half"\n[[engine.variants]]\n'
        '[[engine.variants]]\nmodel = "b"\nquantisation = "awq"\n'
    ).engines
    assert (first.model, first.dtype, first.quantisation) == ("a", "half", None)
    assert (second.model, second.dtype, second.quantisation) == ("b", "half", "awq")


def test_a_missing_key_has_its_default() -> None:
    experiment = read(MODEL)
    assert experiment.load == Load()
    assert experiment.engines[0].prefix_caching is False
    assert experiment.slo is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[engine\n", "not valid TOML"),
        (MODEL + "[grid]\nbach = [1]\n", "[grid] has no key 'bach'; did you mean 'batch'?"),
        (MODEL + "quantization = 1\n", "no key 'quantization'; did you mean 'quantisation'?"),
        ("modell = 1\n", "the top level has no key 'modell'"),
        (MODEL + "[grid]\nbatch = [0]\n", "grid.batch.0 = 0 cannot be used"),
        (MODEL + "[grid]\nbatch = []\n", "grid.batch = [] cannot be used"),
        (MODEL + "[grid]\nbatch = 8\n", "grid.batch = 8 cannot be used"),
        (MODEL + '[load]\nrequests = "24"\n', "load.requests = '24' cannot be used"),
        (MODEL + "[load]\nrequests = 2.5\n", "load.requests = 2.5 cannot be used"),
        (MODEL + "[load]\nmax_error_rate = 2\n", "load.max_error_rate = 2"),
        (MODEL + "[predict]\nttft_s = 1979-05-27\n", "dates and times"),
        (
            MODEL + "[predict]\nttft_p50 = 0.2\n",
            "[predict] names no metric 'ttft_p50'; did you mean 'ttft_s_p50'?",
        ),
        (MODEL + "[predict]\nkv_bytes_per_tokens = 1\n", "did you mean 'kv_bytes_per_token'?"),
        (MODEL + '[predict]\nttft_s = "short"\n', "predict.ttft_s = 'short' cannot be used"),
        ("predict = 3\n" + MODEL, "predict = 3 cannot be used"),
        (MODEL + "[host]\nprice = 1\n", "[host] has no key 'price'"),
        (MODEL + "[host]\nfp8_tflops = 1\n", "gives fp8_tflops and lacks bandwidth_gb_per_s"),
        (
            MODEL + "[host]\nbandwidth_gb_per_s = 0\nfp16_tflops = 1\n",
            "card_rates.bandwidth_gb_per_s = 0 cannot be used",
        ),
        ("[engine]\ndtype = 'half'\n", "[engine] needs a model"),
        (MODEL + 'flags = ["a\\u0000b"]\n', "NUL"),
        ("name = " + "[" * 5000, "not valid TOML"),
        ("engine = 3\n", "engine is a table"),
        (MODEL + "variants = 3\n", "[[engine.variants]]"),
    ],
)
def test_a_mistake_is_named_in_a_sentence(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.toml")
    assert "\n" not in str(caught.value)


def test_the_six_characters_that_write_a_nul_are_none() -> None:
    assert read(MODEL + r"flags = ['\u0000']").engines[0].flags == (r"\u0000",)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(SpecError, match="did you mean 'quickstart'"):
        load_experiment("quickstrat")


@given(st.text(max_size=300))
def test_any_text_is_an_experiment_or_a_clear_error(text: str) -> None:
    try:
        read(text)
    except SpecError as error:
        assert str(error).startswith("x.toml")


VALUES = st.sampled_from(
    '1 0 -1 1e400 nan inf true "" "a" "\\u0000" [] [[]] [1,"a"] {} {a=1} 2026-11-23 07:30'.split()
)


@given(
    st.sampled_from(sorted(shipped())),
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["drop", "double", "key", "value"]))),
    st.lists(VALUES | st.text(max_size=5), min_size=1),
)
def test_a_damaged_experiment_is_taken_or_refused_in_one_sentence(
    name: str, changes: list[tuple[int, str]], values: list[str]
) -> None:
    lines = shipped()[name].read_text().splitlines()
    for place, change in changes:
        at, value = place % len(lines), values[place % len(values)]
        key, _, rest = lines[at].partition("=")
        changed = {"drop": [], "double": [lines[at]] * 2, "key": [f"{value} = {rest}"]}
        lines[at : at + 1] = changed.get(change, [f"{key} = {value}"])
        lines = lines or [""]
    try:
        assert isinstance(read("\n".join(lines)), Experiment)
    except SpecError as error:
        assert str(error).startswith("x.toml")


def test_a_search_for_capacity_may_stand_in_a_file() -> None:
    text = 'find_capacity = "rate"\n' + MODEL + "[slo]\nttft_ms = 200\ngood_fraction = 0.9\n"
    experiment = read(text)
    assert experiment.find_capacity == "rate"
    assert experiment.slo == Slo(ttft_ms=200.0, good_fraction=0.9)
    with pytest.raises(SpecError, match="'speed'"):
        read(text.replace('"rate"', '"speed"'))
    with pytest.raises(SpecError, match="good_fraction"):
        read(text.replace("0.9", "1.0"))


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in fields(Load)] + ["other"]),
        st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.booleans()),
    )
)
def test_any_load_is_taken_whole_or_refused(values: dict[str, object]) -> None:
    import json

    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    text = MODEL + "[load]\n" + "\n".join(lines)
    try:
        wanted = tomllib.loads(text)["load"]
    except tomllib.TOMLDecodeError:
        return
    try:
        load = read(text).load
    except SpecError:
        return
    assert all(getattr(load, key) == value for key, value in wanted.items())


def test_the_page_on_experiment_files_names_every_key_and_its_example_parses() -> None:
    page = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text()
    for record in (Engine, Grid, Load, Slo):
        for field in fields(record):
            assert f"| `{field.name}` |" in page, field.name
    example = page.split("```toml\n")[1].split("```")[0]
    assert [engine.quantisation for engine in read(example).engines] == [None, "awq_marlin"]
