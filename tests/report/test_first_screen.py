"""The first screen: short for a day of any length, in both languages, and only of valid runs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import BEGAN, a_day, a_record, an_experiment

from journal.plan.experiment_file import shipped
from journal.records.doubt import Doubt
from journal.records.experiment import Engine
from journal.records.figure import Figure
from journal.records.notebook import Note
from journal.records.run import Record
from journal.report.day import Day
from journal.report.figures import draw
from journal.report.first_screen import MOST_OWN_WORDS, MOST_WORDS, counted_words
from journal.report.log import as_html, as_markdown, panels
from journal.report.phrases import LANGUAGES, words
from journal.report.questions import log_page

Build = Callable[..., Record]
LENGTHS = (1, 7, 40)
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
                    "output_tokens_per_s": sure(rate),
                    "ttft_s.p50": sure(0.05 * batch),
                    "tpot_s.p50": sure(batch / rate),
                },
            )
            runs.append(replace(run, started_at=BEGAN + timedelta(seconds=number)))
    return runs


def long_day(experiments: int) -> Day:
    """A day of so many experiments, with as many notes of 200 words."""
    begun = [an_experiment(n, name=f"batch-size-{n}") for n in range(1, experiments + 1)]
    runs = [run for n in range(1, experiments + 1) for run in four_batches(n)]
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
    return replace(a_day(runs, *begun), notes=tuple(notes))


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
    begun = an_experiment(name="batch-size", engines=ENGINES)
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
    assert "batch-size" in shipped()
    grows = screen(four_batches(1)[:3])
    assert "journal run batch-size --concurrency 16,32" in grows
    one = screen(four_batches(1)[:1])
    assert "journal run batch-size --concurrency 1,4" in one
    lost = screen([replace(run, status="failed") for run in four_batches(1)[:1]])
    assert "journal show 00000000" in lost
    own = log_page(a_day(four_batches(1)[:1], an_experiment(name="my own", engines=ENGINES)))
    assert "journal run 'my own.toml'" in as_markdown(own, words("en"), "")


def test_own_words_come_first_and_are_cut() -> None:
    day = long_day(1)
    text = as_markdown(log_page(day), words("en"), "")
    first = text[: text.index("\n---\n")]
    assert first.index("the lesson of this") < first.index("What the runs show")
    assert "…" in first
    assert first.count("lesson") <= MOST_OWN_WORDS // 5
