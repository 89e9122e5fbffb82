"""Predictions before a run: given by option, asked in a terminal, and judged at their own cells."""

import io
import sys

import pytest

from journal.cli.asked_experiment import asked_experiment, with_expected
from journal.cli.predicting import ask_predictions, predictions_given
from journal.errors import SpecError
from journal.metrics.table import metric_of_key, place_of_key
from journal.plan.cells import cells
from journal.plan.posed import posed


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_options_are_predictions_in_si_units() -> None:
    given = predictions_given(["ttft_s_p50=0.05", "output_tokens_per_s@batch=8=400"])
    assert given == {"ttft_s_p50": 0.05, "output_tokens_per_s@batch=8": 400.0}
    assert metric_of_key("output_tokens_per_s@batch=8") == "output_tokens_per_s"
    assert place_of_key("tpot_s@batch=8,prompt_tokens=64") == {"batch": 8, "prompt_tokens": 64}
    assert place_of_key("tpot_s") == {}


@pytest.mark.parametrize("text", ["0.05", "ttft_s_p50=", "ttft_s_p50=soon", "ttft_s_p50=-1", "=3"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not KEY=VALUE"):
        predictions_given([text])


@pytest.mark.parametrize(
    ("key", "reason"),
    [("ttft_x", "names no metric"), ("ttft_s_p50@users=3", "is about no cells")],
)
def test_a_prediction_of_nothing_is_refused_before_the_run(key: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        with_expected(asked_experiment("quickstart"), {key: 1.0})


def test_a_terminal_is_asked_about_cells_of_the_experiment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = asked_experiment("quickstart")
    monkeypatch.setattr(sys, "stdin", Terminal("40\n\n12.5\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    keys = posed(cells(asked))
    assert len(keys) == 3
    planned = {(cell.batch, cell.prompt_tokens) for cell in cells(asked)}
    for key in keys:
        place = place_of_key(key)
        assert (place["batch"], place["prompt_tokens"]) in planned
    answers = ask_predictions(asked, None)
    assert answers == {keys[0]: pytest.approx(0.04), keys[2]: pytest.approx(0.0125)}
    assert with_expected(asked, answers).predict == {**asked.predict, **answers}


def test_a_script_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("40\n"))
    assert ask_predictions(asked_experiment("quickstart"), None) == {}


def test_several_engines_pose_no_number_of_one() -> None:
    assert posed(cells(asked_experiment("mistral-vs-llama3"))) == ()
