"""The log holds to its own tests: over random points no sentence claims a change that the test does
not see, denies one that it sees, or speaks of what was not measured."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from builders import a_day, a_record, an_experiment
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import units
from journal.compare.claims import judged_claim
from journal.compare.difference import difference
from journal.compare.points import Points, lines, points
from journal.compare.setups import setups_of
from journal.records.claim import Claim
from journal.records.engine import EngineFacts
from journal.records.figure import Figure
from journal.records.run import Record
from journal.report.document import Page, Sentence, Text
from journal.report.phrases import LANGUAGES, words
from journal.report.questions import log_page
from journal.report.sections.side_by_side import common, setups_judged

RATE, TTFT, TPOT = "output_tokens_per_s", "ttft_s.p50", "tpot_s.p50"
LOADS = {  # the values of phrases that are loads
    "knee": ("batch", "next", "last", "step"),
    "throughput": ("first_load", "last_load"),
    "cause": ("before",),
}
PRICE = "usd_per_million_output_tokens"
WIDTHS = (None, 0.0, 0.01, 0.05, 0.2, 0.9)


@st.composite
def figures(draw: st.DrawFn, typical: float) -> Figure:
    """A figure within a factor of ten of `typical`, with an interval or without."""
    value = typical * draw(st.sampled_from((0.1, 0.5, 0.9, 0.97, 1.0, 1.04, 1.2, 2.0, 8.0)))
    low, high = draw(st.sampled_from(WIDTHS)), draw(st.sampled_from(WIDTHS))
    if low is None or high is None:
        return Figure(value)
    return Figure(value, value * (1 - low), value * (1 + high), 40)


@st.composite
def runs(draw: st.DrawFn) -> list[Record]:
    """Runs of some batches at some prompt lengths, some of them repeated."""
    batches = draw(st.lists(st.sampled_from((1, 2, 3, 8, 64)), min_size=1, max_size=3, unique=True))
    prompts = draw(st.lists(st.sampled_from((64, 100, 512)), min_size=1, max_size=2, unique=True))
    repeats = draw(st.sampled_from((1, 1, 3)))
    cells = [(b, p, r) for b in batches for p in prompts for r in range(repeats)]
    made = []
    for number, (batch, prompt, repeat) in enumerate(cells):
        rate = draw(figures(100.0 * batch))
        metrics = {RATE: rate, TTFT: draw(figures(0.1)), TPOT: draw(figures(0.02))}
        metrics[PRICE] = Figure(1000 / (rate.value or 1))
        metrics["rss_peak_bytes"] = draw(figures(2.0**30))
        made.append(a_record("m", batch, prompt, repeat=repeat, number=number, metrics=metrics))
    return made


@dataclass(frozen=True)
class Claims:
    """The sentences of a log, and the points that they are about."""

    points: Points
    said: list[Sentence]

    @property
    def keys(self) -> set[str]:
        return {sentence.key for sentence in self.said}

    def of(self, *keys: str) -> list[Sentence]:
        return [sentence for sentence in self.said if sentence.key in keys]

    def seen(self, name: str, sign: int = 0) -> bool:
        """Whether the test sees a change of `name` between some two points: up, down or any."""
        values = [point.figure(name) for point in self.points]
        return any(
            differ(a, b) and (b.value - a.value) * sign >= 0  # type: ignore[operator]
            for a in values
            for b in values
            if a is not None and b is not None
        )


def differ(before: Figure, after: Figure) -> bool | None:
    """Whether the test sees a change; None where a figure has no interval."""
    found = difference(before, after)
    assert found is not None
    return None if found.verdict == "unknown" else found.seen


def sentences(text: Text) -> Iterator[Sentence]:
    if isinstance(text, tuple):
        for part in text:
            yield from sentences(part)
    elif isinstance(text, Sentence):
        yield text
        for value in text.values.values():
            yield from sentences(value)


def every(whole: Page) -> Iterator[Sentence]:
    yield from sentences(whole.lead)
    for block in (*whole.first, *(b for section in whole.sections for b in section.blocks)):
        if block.kind == "paragraph":
            yield from sentences(block.sentences)
        elif block.kind == "bullets":
            yield from sentences(block.items)


def claims(records: Iterable[Record]) -> Claims:
    records = list(records)
    whole = log_page(a_day(records, an_experiment(usd_per_hour=1.0)))
    return Claims(points(zip(records, setups_of(records), strict=True)), list(every(whole)))


def of_pair(records: list[Record]) -> Claims:
    """Of the first two cells that differ in their batch alone."""
    first = records[0]
    same = [r for r in records if r.cell.prompt_tokens == first.cell.prompt_tokens]
    pair = sorted({r.cell.batch for r in same})[:2]  # type: ignore[type-var]
    return claims([r for r in same if r.cell.batch in pair])


@settings(max_examples=30)
@given(runs())
def test_a_change_is_claimed_where_the_test_sees_it_and_nowhere_else(records: list[Record]) -> None:
    made = of_pair(records)
    if len(made.points) < 2:
        return
    low, high = (point.figure(RATE) for point in made.points)
    assert low is not None and high is not None
    found = differ(low, high)
    assert ("throughput.moved" in made.keys) == (found is True)
    assert ("throughput.unknown" in made.keys) == (found is None)
    for name, key in (("TTFT", TTFT), ("TPOT", TPOT)):
        low, high = (point.figure(key) for point in made.points)
        assert low is not None and high is not None
        verdicts = {s.key for s in made.said if s.values.get("name") == name}
        assert ("latency.moved" in verdicts) == (differ(low, high) is True)
        assert ("latency.unknown" in verdicts) == (differ(low, high) is None)


@settings(max_examples=30)
@given(runs())
def test_every_price_and_every_lesson_is_seen_by_the_test(records: list[Record]) -> None:
    made = of_pair(records)
    keys = made.keys
    assert "lessons.batching" not in keys or made.seen(RATE, 1)
    if "lessons.batching_price" in keys or "cause.steps" in keys:
        slow, fast = made.points[-1].figure(TPOT), made.points[0].figure(TPOT)
        assert slow is not None and fast is not None and slow.value and fast.value
        assert differ(fast, slow) and slow.value > fast.value
    whole = claims(records)
    assert not whole.of("cost.tokens") or whole.seen(PRICE) or whole.seen(RATE)
    for lesson in whole.of("lessons.cache"):
        assert any(
            differ(tpot, ttft)
            for p in whole.points
            if p.batch == 1 and (tpot := p.figure(TPOT)) and (ttft := p.figure(TTFT))
        ), lesson


@settings(max_examples=30)
@given(runs())
def test_no_sentence_speaks_of_what_was_not_measured(records: list[Record]) -> None:
    made = claims(records)
    loads = {f"{point.load:g}" for point in made.points}
    steps = {
        (f"{a.load:g}", f"{b.load:g}")
        for a, b in zip(made.points, made.points[1:], strict=False)
        if a.prompt_tokens == b.prompt_tokens
    }
    for sentence in made.said:
        for name in LOADS.get(sentence.key.split(".")[0], ()):
            value = sentence.values.get(name)
            assert value in {*loads, None, ""}, sentence
        if sentence.key == "knee.step":
            assert (sentence.values["batch"], sentence.values["next"]) in steps


CLAIMED = (
    Claim(metric="ttft_s.p50", over="prompt_tokens", behaves="grows", at={"batch": 1}),
    Claim(metric=RATE, over="batch", behaves="grows"),
    Claim(metric="tpot_s.p50", behaves="at_most", value=0.02),
)


@settings(max_examples=40)
@given(runs(), st.data())
def test_the_first_screen_says_what_its_tests_see_and_denies_nothing_else(
    records: list[Record], data: st.DataObject
) -> None:
    statuses = data.draw(st.lists(st.sampled_from(("valid", "valid", "flagged")), min_size=18))
    records = [replace(r, status=s) for r, s in zip(records, statuses, strict=False)]  # type: ignore[arg-type]
    day = a_day(records, an_experiment(claims=CLAIMED))
    said = [s for b in log_page(day).first if b.kind == "paragraph" for s in sentences(b.sentences)]
    keys = {sentence.key for sentence in said}
    sound = [record for record in records if record.status == "valid"]
    among = points(zip(sound, setups_of(sound), strict=True))
    for axis in ("batch", "prompt_tokens"):
        for line in lines(among, axis):
            pairs = [(line[0].figure(name), line[-1].figure(name)) for name in (TTFT, TPOT)]
            seen = [differ(a, b) for a, b in pairs if a is not None and b is not None]
            assert True not in seen or "first.nothing" not in keys
    shown = {f"{units.seconds(p.value(name))}" for p in among for name in (TTFT, TPOT)}
    shown |= {units.rate(p.value(RATE)) for p in among}
    for sentence in said:
        if sentence.key.split(".")[0] in ("throughput", "latency"):
            ends = [
                sentence.values[k]
                for k in ("first", "last", "before", "after")
                if k in sentence.values
            ]
            assert shown.issuperset(ends), "only of valid runs"
    every_point = points(zip(records, setups_of(records), strict=True))
    verdicts = [judged_claim(claim, every_point) for claim in CLAIMED]
    measured = [one for one in verdicts if one.parts]
    of = {s.key: s.values for s in said}
    counted = int(str(of.get("first.claims", {}).get("n", "0")))
    counted += int(str(of.get("first.claims_flagged", {}).get("n", "0")))
    assert counted == (len(measured) if sound else 0)
    for verdict in ("supported", "refuted"):
        if f"first.claim.{verdict}" in keys:
            assert verdict in {one.verdict for one in measured}


@st.composite
def days_of_setups(draw: st.DrawFn) -> list[Record]:
    """Runs of two or three setups: some cells measured once, some by one setup alone, some metrics
    missing, values that are equal or 0, and flags on the runs of one side."""
    flagged = draw(st.sampled_from((None, 0, 1)))
    made: list[Record] = []
    for setup in range(draw(st.integers(2, 3))):
        batches = draw(st.lists(st.sampled_from((1, 4, 16)), min_size=1, max_size=3, unique=True))
        for repeat in range(draw(st.sampled_from((1, 2, 3, 5)))):
            for batch in batches:
                about = st.sampled_from((0.0, 0.9, 1.0, 1.0, 1.001, 1.03, 1.3))
                metrics = {
                    name: typical * draw(about)
                    for name, typical in ((RATE, 100.0 * batch), (TTFT, 0.1), (TPOT, 0.02))
                    if draw(st.integers(0, 9)) > 0
                }
                number = 2 * repeat + setup if setup < 2 else 100 + repeat
                made.append(
                    a_record(
                        f"m{setup}",
                        batch,
                        repeat=repeat,
                        number=16 * number + batch,
                        metrics=metrics,  # type: ignore[arg-type]
                        status="flagged" if setup == flagged else "valid",
                        facts=EngineFacts(log_path=f"m{setup}-{repeat}.log", start_s=60.0),
                    )
                )
    return made


@settings(max_examples=60)
@given(days_of_setups())
def test_setups_are_called_different_or_equal_where_their_test_says_so(
    records: list[Record],
) -> None:
    made = claims(records)
    valid = points(
        [(r, s) for r, s in zip(records, setups_of(records), strict=True) if r.status == "valid"]
    )
    of_valid = setups_judged(common(valid)).values()  # the first setup may have no valid run
    verdicts = [*setups_judged(common(made.points)).values(), *of_valid]
    seen = {judged.verdict for judged in verdicts}
    ratios = {units.number(judged.ratio.value, 3): judged.verdict for judged in verdicts}
    for sentence in made.of("compare.throughput", "compare.ttft", "compare.tpot"):
        assert "other" in seen, sentence
        assert ratios[str(sentence.values["ratio"])] == "other" or len(ratios) < len(verdicts)
    for verdict in ("maybe", "equal", "open", "unknown"):
        assert f"compare.{verdict}" not in made.keys or verdict in seen
    apart = {judged.verdict for judged in of_valid}
    assert ("first.setups" in made.keys) == ("other" in apart)
    assert "other" not in apart or not made.keys & {"first.nothing", "first.setups_open"}
    for sentence in made.said:
        for lang in LANGUAGES:
            text = words(lang).say(sentence, str)
            assert "nan" not in text and "{" not in text, text


CPU_ONLY = {"host": "bench", "cpu": "AMD EPYC 9354", "gpus": None, "gpu_absent": "no driver"}


@settings(max_examples=10)
@given(runs())
def test_a_host_without_a_gpu_hears_nothing_of_gpus(records: list[Record]) -> None:
    pool = {
        "kv_pool_tokens": 9000.0,
        "kv_pool_bytes": 2.0**30,
        "kv_bytes_per_token": 2.0**30 / 9000,
    }
    known = {name: Figure(value) for name, value in {**pool, "weights_bytes": 2.0**28}.items()}
    made = claims(
        replace(record, environment=CPU_ONLY, metrics={**record.metrics, **known})
        for record in records
    )
    assert made.of("lessons.room") and made.of("memory.reserved.resident")
    for sentence in made.said:
        for lang in LANGUAGES:
            text = words(lang).say(sentence, str)
            assert "GPU" not in text or sentence.key == "host.no_gpu", text
