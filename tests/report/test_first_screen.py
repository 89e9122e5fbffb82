"""The first screen: short for a day of any length, in both languages, and only of valid runs."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from builders import BEGAN, a_day, a_record, an_experiment

from journal.compare import bottleneck
from journal.compare.limit_evidence import Among
from journal.plan.experiment_file import load_experiment, shipped
from journal.records.claim import Claim
from journal.records.doubt import Doubt
from journal.records.experiment import Engine, Experiment
from journal.records.figure import Figure
from journal.records.notebook import Note
from journal.records.run import Record
from journal.report.again import again
from journal.report.day import Day
from journal.report.figures import draw
from journal.report.first_screen import MOST_OWN_WORDS, MOST_WORDS, counted_words
from journal.report.log import as_html, as_markdown, panels
from journal.report.phrases import LANGUAGES, words
from journal.report.questions import log_page

Build = Callable[..., Record]
LENGTHS = (1, 7, 40)
RATE = "output_tokens_per_s"
GOLDEN = Path(__file__).parent.parent / "golden"
ENGINES = (Engine(model="org/first-7b"),)


def sure(value: float) -> Figure:
    return Figure(value, value * 0.99, value * 1.01, 1)


def four_batches(experiment: int, status: str = "valid", speed: float = 1.0) -> list[Record]:
    """Four batches of two models, of which the second is a tenth slower; one run is flagged."""
    runs = []
    for model, slower in (("org/first-7b", 1.0), ("org/second-8b", 0.9)):
        for n, batch in enumerate((1, 4, 16, 64)):
            rate = 50.0 * batch**0.8 * slower * speed
            number = 100 * experiment + len(runs)
            doubts = (Doubt("busy_host", {"sentence": "Others used it."}),) if n == 3 else ()
            run = a_record(
                model,
                batch,
                number=number,
                experiment_id=f"e{experiment}",
                status="flagged" if doubts else status,
                doubts=doubts,
                metrics={
                    RATE: sure(rate),
                    "ttft_s.p50": sure(0.05 * batch),
                    "tpot_s.p50": sure(batch / rate),
                },
            )
            runs.append(replace(run, started_at=BEGAN + timedelta(seconds=number)))
    return runs


CLAIMS = (
    Claim(metric=RATE, behaves="grows", over="batch"),
    Claim(metric="tpot_s.p50", behaves="at_most", value=0.025, at={"batch": 1}),
    Claim(metric="ttft_s.p50", behaves="at_least", value=1.0, at={"batch": 4}),
    Claim(metric="energy_j", behaves="at_most", value=1.0),
)


def long_day(experiments: int) -> Day:
    """A day of so many experiments with claims, as many notes of 200 words, and the same cells of
    the day before, when all were faster."""
    begun = [
        an_experiment(n, name=f"batch-size-{n}", claims=CLAIMS) for n in range(1, experiments + 1)
    ]
    runs = [run for n in range(1, experiments + 1) for run in four_batches(n)]
    before = [
        replace(run, id=f"b{run.id}", started_at=run.started_at - timedelta(days=1))
        for n in range(1, experiments + 1)
        for run in four_batches(n, speed=1.3)
    ]
    notes = [
        Note(
            id=f"n{n}",
            day=BEGAN.date(),
            text="the lesson of this is 批处理 " * 40,
            written_at=BEGAN,
            experiment_id=f"e{n}",
        )
        for n in range(1, experiments + 1)
    ]
    return replace(a_day(runs, *begun), notes=tuple(notes), earlier=tuple(before))


def check(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"see {path}"


def html_of(day: Day, lang: str) -> str:
    whole, language = log_page(day), words(lang)
    return as_html(whole, language, {panel.name: draw(panel, language) for panel in panels(whole)})


def text_of(html: str) -> str:
    return re.sub(r"<[^>]*>", " ", re.sub(r"<(style|title)>.*?</\\1>", "", html, flags=re.DOTALL))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("experiments", LENGTHS)
def test_the_first_screen_is_short_for_a_day_of_any_length(experiments: int, lang: str) -> None:
    day = long_day(experiments)
    html = html_of(day, lang)
    header = html[html.index("<header>") : html.index("</header>")]
    markdown = as_markdown(log_page(day), words(lang), "figures")
    above = markdown[markdown.index("\n# ") : markdown.index("\n---\n")]
    for screen in (text_of(header), above):
        assert 40 < counted_words(screen) <= MOST_WORDS
    check(f"first-{experiments}.{lang}.md", above)

    folded = html[html.index("</header>") : html.index("<footer>")]
    assert folded.count("<details") == folded.count("</details>") == folded.count("<summary>")
    between = re.sub(r"<details.*?</details>", "", folded, flags=re.DOTALL)
    assert text_of(between).strip() == "", "all else is one click away"
    for n in range(1, experiments + 1):
        assert re.search(rf"<summary><h2>\d\d:\d\d · batch-size-{n}(:|：).*1–64", folded)


def test_memory_and_theory_stand_once_in_a_day(big_day: Day) -> None:
    keys = [getattr(section.heading, "key", "") for section in log_page(big_day).sections]
    for key in ("engines.heading", "theory.heading", "memory.heading"):
        assert keys.count(key) == 1


def test_a_doubt_that_all_cells_share_is_said_once() -> None:
    shared = Doubt("no_card", {}, "note")
    day = long_day(3)
    records = [replace(r, doubts=(*r.doubts, shared)) for r in day.records]
    markdown = as_markdown(log_page(replace(day, records=tuple(records))), words("en"), "")
    sentence = words("en").say(shared, str)[:30]
    assert markdown.count(sentence) == 1


def screen(runs: Sequence[Record], **changes: object) -> str:
    begun = an_experiment(name="batch-size", engines=ENGINES, command=("run", "batch-size"))
    whole = log_page(replace(a_day(runs, begun), **changes))
    markdown = as_markdown(whole, words("en"), "")
    return markdown[: markdown.index("\n---\n")]


def test_the_first_screen_quotes_valid_runs_alone() -> None:
    text = screen(four_batches(1))
    assert "From batch 1 to 16, throughput goes from 50 tok/s to 459 tok/s" in text, "64 is flagged"
    assert "2 flagged (busy" in text and "6 valid" in text
    none = screen([replace(run, status="flagged") for run in four_batches(1)])
    assert "No run is valid" in none and "tok/s" not in none


def test_a_price_stands_beside_a_gain_where_the_test_sees_one() -> None:
    text = screen(four_batches(1))
    assert "TPOT goes from 20 ms to 34.8 ms (1.7 times)" in text


def test_the_next_step_is_a_command(big_day: Day) -> None:
    grows = screen(four_batches(1)[:3])
    assert "journal run batch-size --concurrency 16,32" in grows
    one = screen(four_batches(1)[:1])
    assert "journal run batch-size --concurrency 1,4" in one
    lost = screen([replace(run, status="failed") for run in four_batches(1)[:1]])
    assert "journal show 00000000" in lost
    busy = Doubt("busy_host", {"others_fraction": 0.4, "cpus": 2})
    doubted = [replace(run, status="flagged", doubts=(busy,)) for run in four_batches(1)]
    text = screen([*doubted[:3], replace(doubted[3], doubts=())])
    assert "without what casts doubt on 3 of the 4 runs. Other programs used 40%" in text
    assert "journal show 00000000" in text


def test_the_next_step_is_over_the_command_as_it_was_typed() -> None:
    typed = ("run", "my own/batch-size.toml", "--batch=1", "--json", "--requests", "9")
    asked = an_experiment(name="batch-size", engines=ENGINES, command=typed)
    own = log_page(a_day(four_batches(1)[:1], asked))
    text = as_markdown(own, words("en"), "")
    assert "journal run 'my own/batch-size.toml' --requests 9 --concurrency 1,4\n" in text


def test_an_experiment_of_the_name_of_a_shipped_one_is_not_taken_for_it() -> None:
    assert "batch-size" in shipped()
    own = log_page(a_day(four_batches(1)[:1], an_experiment(name="batch-size", engines=ENGINES)))
    text = as_markdown(own, words("en"), "")
    first = text[: text.index("\n---\n")]
    assert "**To try next.** Vary the batch." in first and "journal run" not in first


@pytest.mark.parametrize(
    ("typed", "options", "said"),
    [
        ("run", ("--resume",), "run --resume"),
        ("run x.toml --resume --home /h", ("--resume",), "run x.toml --home /h --resume"),
        ("run x --rate 2,4 --seed 4", ("--concurrency", "4"), "run x --seed 4 --concurrency 4"),
        ("run x --repeats 3 --predict a=1", ("--repeats", "4"), "run x --repeats 4"),
        ("run x --find-capacity rate", ("--repeats", "4"), "run x --repeats 4"),
        ("run x --repeats=3 --batch 2", ("--find-capacity", "rate"), "run x --find-capacity rate"),
    ],
)
def test_options_take_the_place_of_those_that_were_typed(
    typed: str, options: tuple[str, ...], said: str
) -> None:
    asked = Experiment(name="x", engines=ENGINES, command=tuple(typed.split()))
    assert again(asked, *options) == f"journal {said}"


def test_bottlenecks_of_a_day_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The section on limits and the first screen ask of the same runs."""
    asked: list[str] = []
    found = bottleneck.bottleneck

    def counted(record: Record, among: Among) -> bottleneck.Bottleneck | None:
        asked.append(record.id)
        return found(record, among)

    monkeypatch.setattr(bottleneck, "bottleneck", counted)
    day = long_day(2)
    log_page(day)
    assert sorted(asked) == sorted(record.id for record in day.records)


def test_own_words_come_first_and_are_cut() -> None:
    day = long_day(1)
    text = as_markdown(log_page(day), words("en"), "")
    first = text[: text.index("\n---\n")]
    assert first.index("the lesson of this") < first.index("What the valid runs show")
    assert "…" in first
    assert first.count("lesson") <= MOST_OWN_WORDS // 5


def nine_cells() -> Day:
    """A first day of quickstart: three batches at three prompt lengths, a run of each, too few
    requests for a difference in throughput; alone, TTFT grows with the prompt."""
    runs = []
    for batch in (1, 2, 4):
        for prompt in (32, 128, 256):
            rough = Figure(20.0 + batch, 5.0, 60.0, 1)
            ttft = 0.004 * prompt if batch == 1 else 0.9
            metrics = {
                RATE: rough,
                "ttft_s.p50": Figure(ttft, ttft * 0.7, ttft * 1.3, 1),
                "tpot_s.p50": Figure(0.05, 0.02, 0.09, 1),
            }
            runs.append(a_record("m", batch, prompt, number=len(runs), metrics=metrics))
    experiment = load_experiment(str(shipped()["quickstart"]))
    begun = an_experiment(name="quickstart", engines=ENGINES, claims=experiment.claims)
    return a_day(runs, begun)


def test_the_first_screen_says_what_a_claim_supports() -> None:
    whole = log_page(nine_cells())
    text = as_markdown(whole, words("en"), "")
    first, below = text.split("\n---\n", 1)
    assert "no difference" not in first
    assert "From 32 to 256 prompt tokens: TTFT goes from 128 ms to 1.02 s" in first
    assert "4, of which 1 supported, 0 refuted, 3 open" in first
    assert "Supported: ttft\\_s.p50 grows with the prompt length; at batch 1. Found" in first
    assert re.search(r"ttft.*grows with the prompt length.*\| supported \|", below)


def test_the_first_screen_denies_only_what_it_tested() -> None:
    day = nine_cells()
    rough = [
        replace(run, metrics={**run.metrics, "ttft_s.p50": Figure(1.0, 0.1, 9.0, 1)})
        for run in day.records
    ]
    first = as_markdown(log_page(replace(day, records=tuple(rough))), words("en"), "")
    assert "Of 9 cells with valid runs, no difference in throughput, TTFT or TPOT" in first


def test_a_claim_on_flagged_runs_is_counted_and_not_quoted() -> None:
    day = nine_cells()
    flagged = (Doubt("busy_host", {"sentence": "Others used it."}),)
    runs = [replace(day.records[0], status="flagged", doubts=flagged), *day.records[1:]]
    first = as_markdown(log_page(replace(day, records=tuple(runs))), words("en"), "")
    first = first.split("\n---\n", 1)[0]
    assert "Supported" not in first and "flagged runs, judged below: 4" in first
