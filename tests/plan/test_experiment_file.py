"""Experiment files: strict keys and values, and errors in one sentence."""

import time
import tomllib
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import SpecError
from journal.metrics.statistics import needed_samples
from journal.metrics.table import TABLE
from journal.plan import experiment_file
from journal.plan.cells import MOST_CELLS, cells
from journal.plan.experiment_file import SETTLED, load_experiment, parse, shipped
from journal.records.claim import Claim
from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
from journal.records.run import ExperimentRecord, Record
from journal.store import codec

MODEL = '[engine]\nmodel = "m"\n'
CLAIM = MODEL + '[[claim]]\nmetric = "ttft_s"\n'


def read(text: str) -> Experiment:
    return parse(text, default_name="x", where="x.toml")


def test_every_shipped_experiment_parses_and_asks_something() -> None:
    assert set(shipped()) == {
        "quickstart",
        "mistral",
        "prompt-length",
        "prompt-length-small",
        "batch-size",
        "batch-size-small",
        "mistral-vs-llama3",
        "mistral-vs-qwen",
        "quantisation",
        "prefix-cache",
        "prefix-cache-small",
        "conversation",
        "speculative",
        "interference",
        "reasoning",
        "structured",
        "lora",
    }
    for name, path in shipped().items():
        experiment = load_experiment(name)
        assert experiment.name == name
        assert experiment.question.endswith("?")
        assert experiment.hypothesis
        assert experiment.claims
        assert experiment.source == path.read_text()


@pytest.mark.parametrize("name", sorted(shipped()))
def test_a_shipped_experiment_has_the_requests_that_its_claims_need(name: str) -> None:
    """A claim on a latency is on its median."""
    experiment = load_experiment(name)
    names = {metric.name for metric in TABLE}
    on_median = any(f"{claim.metric}.p50" in names for claim in experiment.claims)
    assert not on_median or experiment.load.requests >= needed_samples(0.5)


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
        (MODEL + '[claim]\nmetric = "ttft_s"\n', "claims are written as [[claim]]"),
        (CLAIM + 'behave = "flat"\n', "[[claim]] has no key 'behave'; did you mean 'behaves'?"),
        (CLAIM + 'behaves = "level"\n', "claims.0.behaves = 'level' cannot be used"),
        (CLAIM + 'behaves = "flat"\nover = "load"\n', "is over load, which is no axis of a claim"),
        (CLAIM + 'behaves = "flat"\n', "[[claim]] 1 (ttft_s) is flat, which needs over"),
        (CLAIM + 'behaves = "at_most"\nvalue = 1\na = 1\n', "which takes no a: drop it"),
        (
            CLAIM + 'behaves = "saturates"\nover = "batch"\nbetween = [8, 4]\n',
            "saturates between two loads, the lower one first",
        ),
        (CLAIM + 'behaves = "a_below_b"\na = 1\nb = 2\n', "names engine 2, and there are 1"),
        (CLAIM + 'behaves = "a_below_b"\na = 1\nb = 1\n', "compares an engine with itself"),
        (CLAIM + 'behaves = "at_most"\nvalue = 1\nat = { batches = 1 }\n', "no axis of a grid"),
        (CLAIM + 'behaves = "flat"\nover = "turn"\n', "has no value at each turn"),
        (
            CLAIM.replace("ttft_s", "ttft_p50") + 'behaves = "at_most"\nvalue = 1\n',
            "names no metric: did you mean 'ttft_s.p50'?",
        ),
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


NUMBERS = st.one_of(
    st.sampled_from([2**31, 2**63, 10**30, -(10**30), 0.0, 1e308, float("inf"), float("nan")]),
    st.integers(),
    st.floats(),
    st.integers(1, 50),
)


class Written(str):
    """A value as a file writes it."""


DATES = st.one_of(st.dates(), st.times(), st.datetimes()).map(str).map(Written)
STRANGE = st.sampled_from(
    [
        *(
            "9" * 5000,
            "0x" + "f" * 5000,
            "1e4000",
            "[" * 3000,
            "[" * 90 + "]" * 90,
            "{a = {b = 1}}",
        ),
        *("[1979-05-27]", "1979-05-27T07:32:00Z", "'''\r'''", '"\\ud800"', '"@/dev/zero"', "1\r"),
        "{" + ", ".join(f"k{number} = 1" for number in range(2000)) + "}",
    ]
).map(Written)
SCALARS = st.one_of(NUMBERS, st.booleans(), st.text(max_size=8), DATES, STRANGE)
KEYS = {
    "engine": [field.name for field in fields(Engine)],
    "grid": [field.name for field in fields(Grid)],
    "load": [field.name for field in fields(Load)],
    "slo": [field.name for field in fields(Slo)],
    "host": ["usd_per_hour", "price_per_hour", "bandwidth_gb_per_s", "fp16_tflops", "fp8_tflops"],
    "predict": ["ttft_s_p50", "kv_bytes_per_token"],
    "[claim]": [field.name for field in fields(Claim)],
}


def as_toml(value: object) -> str:
    if isinstance(value, Written):
        return value
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, str):
        import json

        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool | float) else str(value)


@given(st.data())
def test_what_a_file_may_say_is_what_the_store_can_hold(data: st.DataObject) -> None:
    lines = [MODEL]
    for section, keys in KEYS.items():
        lines += [f"[{section}]"] if section != "engine" else []
        for key in data.draw(st.lists(st.sampled_from(keys), unique=True, max_size=4)):
            if (section, key) != ("engine", "model"):
                value = data.draw(SCALARS | st.lists(SCALARS, min_size=1, max_size=3))
                lines.append(f"{key} = {as_toml(value)}")
    try:
        experiment = read("\n".join(lines))
        laid_out = cells(experiment)
    except SpecError as error:
        assert len(str(error)) < 700
        return
    assert len(laid_out) <= MOST_CELLS
    now = datetime.now(UTC)
    begun = ExperimentRecord(id="e", experiment=experiment, started_at=now, status="running")
    columns = codec.experiment_row(begun)
    for cell in laid_out[:5]:
        run = Record(
            id="r", experiment_id="e", cell=cell, status="valid", started_at=now, duration_s=1.0
        )
        columns |= codec.run_row(run, None)
    whole = [value for value in columns.values() if type(value) is int]
    assert all(abs(value) < 2**31 for value in whole), columns


def test_a_grid_is_counted_before_it_is_laid_out() -> None:
    thousand = str(list(range(1, 1001)))
    text = f"[grid]\nbatch = {thousand}\nprompt_tokens = {thousand}\noutput_tokens = {thousand}\n"
    began_s = time.process_time()
    with pytest.raises(SpecError, match=r"has 1,000,000,000 cells, .* the 20,000"):
        read(MODEL + text)
    with pytest.raises(SpecError, match="cells"):
        cells(Experiment(name="x", load=Load(repeats=10**9)), model="m")
    assert time.process_time() - began_s < 2


DEEP = 5000


@pytest.mark.parametrize(
    "text",
    [
        MODEL + "predict = " + "[" * DEEP + "]" * DEEP,
        MODEL + "[predict]\n" + ".".join("a" * DEEP) + " = 1",
        "[" + ".".join("a" * DEEP) + "]\nb = 1",
        MODEL + "[engine.env]\n" + ".".join("a" * DEEP) + " = 1",
        ".".join(["engine", "env", *"a" * DEEP]) + ' = "x"\nengine.model = "m"',
        MODEL + "[grid]\nbatch = " + "{a = " * DEEP + "1" + "}" * DEEP,
        MODEL + "[load]\nseed = " + "9" * DEEP,
        MODEL + "[load]\nseed = 0x" + "f" * DEEP,
        MODEL + '[engine.env]\nMY_TOKEN = "t0ken-0f-the-file"\nX = ' + "[" * DEEP,
        MODEL + '[engine.env]\nMY_TOKEN = ["t0ken-0f-the-file"]\n',
        MODEL + '[engine.env]\nMY_TOKEN = "t0ken-0f-the-file"\nX = 1',
        MODEL + "[load]\n" + "k" * 90_000 + " = 1",
        MODEL + '[load]\nseed = "' + "k" * 90_000 + '"',
        "a = 1\n" * 200_000,
    ],
    ids=map(str, range(14)),
)
def test_what_goes_too_far_is_one_short_error(text: str) -> None:
    with pytest.raises(SpecError) as refused:
        read(text)
    assert len(str(refused.value)) < 700
    assert "t0ken" not in str(refused.value)


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
            settled = field.name in SETTLED.get(record, ())
            assert settled or f"| `{field.name}` |" in page, field.name
    example = page.split("```toml\n")[1].split("```")[0]
    assert [engine.quantisation for engine in read(example).engines] == [None, "awq_marlin"]


@pytest.mark.parametrize("text", ["a." * 500_000 + "b = 1", "[" + "'a' . " * 160_000 + "b]"])
def test_a_key_of_many_parts_is_refused_at_once(text: str) -> None:
    began_s = time.process_time()
    with pytest.raises(SpecError, match="nested"):
        parse(text, default_name="x", where="x.toml")
    assert time.process_time() - began_s < 5
    for harmless in ("word " * 200_000, "a" * 1_000_000, "a." * 99 + "x " * 9):
        assert not experiment_file.DEEP_KEY.search(harmless)
