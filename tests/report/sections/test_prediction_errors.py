"""The week shows how far one's predictions were off, day by day."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders import BEGAN, a_day, a_record, an_experiment

from journal.records.figure import Figure
from journal.report.log import as_markdown
from journal.report.phrases import LANGUAGES, words
from journal.report.questions import log_page


def week(*predicted: float, name: str = "mine", key: str = "tpot_s_p50") -> str:
    """The log of as many days as `predicted` has values, on each of which TPOT was 20 ms."""
    records, experiments = [], []
    for number, value in enumerate(predicted, start=1):
        at = BEGAN + timedelta(days=number - 1)
        begun = replace(an_experiment(number, name=name, predict={key: value}), started_at=at)
        metrics = {"tpot_s.p50": Figure(0.02, 0.019, 0.021, 1), "kv_bytes_per_token": 1000.0}
        run = a_record("m", 4, number=number, experiment_id=begun.id, metrics=metrics)
        records.append(replace(run, started_at=at))
        experiments.append(begun)
    return as_markdown(log_page(a_day(records, *experiments)), words("en"), "")


def test_the_error_shrinks_from_day_to_day() -> None:
    text = week(0.04, 0.03, 0.022)
    assert "came closer: from 100% off on the first of these days to 10% on the last" in text
    assert "| 21 November | 1 | 50% |" in text


@pytest.mark.parametrize(
    ("predicted", "said"), [((0.022, 0.03), "farther off at the end"), ((0.03, 0.03), "as far off")]
)
def test_an_error_that_does_not_shrink_is_said_so(predicted: tuple[float, ...], said: str) -> None:
    assert said in week(*predicted)


def test_a_single_day_has_no_course() -> None:
    assert "day by day" not in week(0.03)


def test_predictions_that_ship_are_not_the_users() -> None:
    assert "day by day" in week(500.0, 700.0, name="quickstart", key="kv_bytes_per_token")
    assert "day by day" not in week(46080.0, 46080.0, name="quickstart", key="kv_bytes_per_token")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_its_words_stand_in_both_languages(lang: str) -> None:
    assert {"errors.closer", "errors.farther", "errors.as_close"} <= words(lang).phrases.keys()
