"""Words for a change: its reason, what it should do, its risk, and how a trial of it ended."""

from collections.abc import Iterator, Sequence
from typing import Any

from journal import units
from journal.compare.next_change import RATE, TPOT, TTFT, NextChange
from journal.compare.tried import FAILED, WORTH, Tried
from journal.plan.settings import engine_difference
from journal.records.as_json import NextChangeJson
from journal.records.experiment import ChangeTrial
from journal.report.document import Sentence, Text, say
from journal.report.phrases import words

NAMES = {RATE: "rate", TTFT: "ttft", TPOT: "tpot"}


def advice_sentences(change: NextChange) -> tuple[Sentence, ...]:
    """The change to try next: its reason, what it should do, and its risk."""
    told = say("try.advice", setting=str(change.setting), gist=say(f"try.gist.{change.gist}"))
    expected = _expected(change.metric, change.low, change.high)
    return (told, expected, *_risk(change.risks))


def trial_sentences(trial: ChangeTrial) -> Iterator[Sentence]:
    """The hypothesis of a trial."""
    if trial.gist is not None:
        yield say("try.because", setting=trial.setting, gist=say(f"try.gist.{trial.gist}"))
    else:
        yield say("try.failed" if trial.cause == FAILED else "try.asked", setting=trial.setting)
    if trial.low is not None and trial.high is not None:
        yield _expected(trial.metric, trial.low, trial.high)
    yield from _risk(trial.risks)


def verdict_sentences(found: Tried) -> Iterator[Sentence]:
    """The verdict of a trial, with the ratio that it rests on."""
    ratio = found.ratio
    if found.failed is not None:
        yield say("try.reverted_failed")
    elif ratio is None or ratio.low is None or ratio.high is None:
        yield say("try.kept_alone" if found.verdict == "kept" else "try.undecided_bare")
    else:
        values: dict[str, Text] = {
            "metric": _metric(found.trial.metric),
            "ratio": units.number(ratio.value),
            "low": units.number(ratio.low),
            "high": units.number(ratio.high),
            "a": f"{found.starts[0]}",
            "b": f"{found.starts[1]}",
            "worth": units.percent(WORTH),
        }
        yield say(f"try.{found.verdict}", **values)
        if found.as_predicted is not None:
            yield say(f"try.as_predicted.{'yes' if found.as_predicted else 'no'}")
        if found.more is not None:
            yield say("try.undecided_more", more=f"{found.more}")


def _metric(name: str) -> Text:
    return say(f"try.expected_of.{NAMES[name]}") if name in NAMES else name


def _expected(metric: str, low: float, high: float) -> Sentence:
    return say(
        "try.expected", metric=_metric(metric), low=units.number(low), high=units.number(high)
    )


def _risk(risks: Sequence[str]) -> tuple[Sentence, ...]:
    if not risks:
        return ()
    return (say("try.risk", risks=tuple(say(f"try.risk_of.{risk}") for risk in risks)),)


def change_json(change: NextChange) -> NextChangeJson:
    """The change to try next as plain JSON."""
    english = words("en")
    return {
        "setting": str(change.setting),
        "toml": list(engine_difference(change.before, change.after)),
        "reason": change.gist,
        "metric": change.metric,
        "expected_ratio": [change.low, change.high],
        "risks": list(change.risks),
        "sentence": english.paragraph(advice_sentences(change), str),
    }


def tried_json(found: Tried) -> dict[str, Any]:
    """The result of a trial as plain JSON."""
    ratio, trial = found.ratio, found.trial
    return {
        "setting": trial.setting,
        "cause": trial.cause,
        "metric": trial.metric,
        "expected_ratio": [trial.low, trial.high],
        "toml": list(engine_difference(found.before, found.after)),
        "verdict": found.verdict,
        "ratio": ratio.value if ratio else None,
        "low": ratio.low if ratio else None,
        "high": ratio.high if ratio else None,
        "starts": list(found.starts),
        "more_starts": found.more,
        "as_predicted": found.as_predicted,
        "error": found.failed,
    }
