"""The change that a bottleneck calls for: never without a cause, and what it is expected to do."""

from collections import Counter

import numpy as np
import pytest
from builders import a_record

from benchmarks.calibrate_tries import ENGINE, REMEDIED, Remedied, effect, shares, verdict
from journal.compare.bottleneck import Bottleneck
from journal.compare.next_change import next_change
from journal.compare.ratios import Ratio
from journal.compare.tried import kept_or_reverted, tried
from journal.plan.settings import Setting, changed_engine
from journal.records.experiment import ChangeTrial, Engine
from journal.report.change_words import (
    advice_sentences,
    change_json,
    trial_sentences,
    verdict_sentences,
)
from journal.report.phrases import LANGUAGES, words

TRIALS = 60


@pytest.mark.parametrize("remedied", REMEDIED, ids=[each.name for each in REMEDIED])
def test_the_right_change_is_kept_and_a_useless_one_reverted(remedied: Remedied) -> None:
    """In 19 of 20 trials; and the true effect lies within what was expected, or beyond."""
    change, ratio = effect(remedied)
    allowed = 0.02
    if change.metric == "output_tokens_per_s":
        assert 1.05 < ratio <= change.high * (1 + allowed)
    else:
        assert change.low * (1 - allowed) <= ratio < 0.95 or remedied.cause == "cold_cache"
    (_, _, right), (_, _, useless) = shares(remedied, TRIALS)
    assert right["kept"] >= 0.95 * TRIALS, right
    assert useless["reverted"] >= 0.93 * TRIALS, useless
    for lang in LANGUAGES:
        assert words(lang).paragraph(advice_sentences(change), str)
    assert change_json(change)["toml"][0] == "  [engine]"


def test_nothing_is_changed_without_a_measured_cause() -> None:
    record = a_record(metrics={"server_running_peak": 2.0}, batch=8)
    untold = Bottleneck(cause=None, variant="alone", values={}, would=("batches",))
    assert next_change(record, untold) is None
    assert next_change(record, None) is None
    queue = Bottleneck(cause="queue", variant="queue", values={})
    assert next_change(record, queue) is not None
    assert next_change(a_record(engine=None, batch=8), queue) is None, "nobody's to change"


def test_a_change_that_was_tried_is_not_called_for_again() -> None:
    record = a_record(metrics={"server_running_peak": 2.0}, batch=8)
    queue = Bottleneck(cause="queue", variant="queue", values={})
    assert next_change(record, queue, [Setting("max_num_seqs", 8)]) is None


def test_a_verdict_is_that_of_the_whole_interval() -> None:
    for low, high, expected in (
        (1.01, 1.2, "kept"),
        (0.97, 1.04, "reverted"),
        (0.7, 0.9, "reverted"),
        (0.97, 1.06, "undecided"),
    ):
        assert kept_or_reverted(Ratio(1.0, low, high, 0.5), higher=True) == expected
        assert kept_or_reverted(Ratio(1.0, 1 / high, 1 / low, 0.5), higher=False) == expected
    assert (
        kept_or_reverted(Ratio(1.2), higher=True)
        == kept_or_reverted(None, higher=True)
        == "undecided"
    )


def test_an_engine_that_fails_with_the_change_is_reverted() -> None:
    after = changed_engine(ENGINE, Setting("max_num_seqs", 8))
    good = a_record(engine=ENGINE, metrics={"output_tokens_per_s": 10.0})
    bad = a_record(engine=after, status="failed", error="out of memory", number=1)
    trial = ChangeTrial(setting="engine.max_num_seqs=8", metric="output_tokens_per_s")
    found = tried(trial, ENGINE, after, [good, bad])
    assert (found.verdict, found.failed) == ("reverted", "out of memory")
    alone = tried(trial, after, ENGINE, [good, bad])
    assert alone.verdict == "kept", "it starts, and the other does not"
    for each in (found, alone):
        for lang in LANGUAGES:
            assert words(lang).paragraph(tuple(trial_sentences(trial)), str)
            assert words(lang).paragraph(tuple(verdict_sentences(each)), str)


def test_a_loss_is_reverted() -> None:
    trial = ChangeTrial(setting="engine.x=1", metric="output_tokens_per_s", looks=2)
    random = np.random.default_rng(3)
    after = Engine(model="simulated", flags=("--x", "1"))
    drawn = Counter(verdict(trial, ENGINE, after, 0.9, random) for _ in range(TRIALS))
    assert drawn["reverted"] >= 0.95 * TRIALS
