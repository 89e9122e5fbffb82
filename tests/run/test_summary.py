"""Runs summed up from their samples."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from journal.doubts.words import sentence
from journal.metrics.view import View
from journal.records.doubt import Doubt, Severity
from journal.records.run import Record
from journal.records.samples import Samples
from journal.run.summary import recompute, summarised
from journal.store.store import Store


def test_arrays_are_built_once_for_metrics_doubts_and_status(
    new_record: Callable[..., Record], samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Samples] = []
    build = View.__init__

    def counted(self: View, of: Samples) -> None:
        built.append(of)
        build(self, of)

    monkeypatch.setattr(View, "__init__", counted)
    record = summarised(new_record(), samples)
    assert record.metrics and record.doubts
    of_all = [of for of in built if of.traces == samples.traces]
    assert of_all == [samples] and len(built) <= 2  # the fillers are a view of their own


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_doubts_that_were_stored_in_words_are_stored_by_value_without_a_change(
    tmp_path: Path, store: Store, new_record: Callable[..., Record], samples: Samples
) -> None:
    record = summarised(new_record(), samples)
    in_words = tuple(
        Doubt(doubt.name, {"sentence": sentence(doubt)}, doubt.severity) for doubt in record.doubts
    )
    store.add_run(replace(record, doubts=in_words), samples)
    assert recompute(tmp_path) == ()
    assert store.run(record.id).doubts == record.doubts != in_words


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_doubt_that_was_stored_in_older_words_is_no_change(
    tmp_path: Path, store: Store, new_record: Callable[..., Record], samples: Samples
) -> None:
    record = summarised(new_record(), samples)
    older = tuple(
        Doubt(doubt.name, {"sentence": f"Of old: {sentence(doubt)}"}, doubt.severity)
        for doubt in record.doubts
    )
    store.add_run(replace(record, doubts=older), samples)
    assert recompute(tmp_path) == ()
    assert store.run(record.id).doubts == record.doubts


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", ["rule", "severity", "values", "one less"])
def test_a_doubt_of_another_rule_severity_or_value_is_a_change(
    tmp_path: Path, store: Store, new_record: Callable[..., Record], samples: Samples, change: str
) -> None:
    record = summarised(new_record(), samples)
    first, *rest = record.doubts
    severity: Severity = "flag" if first.severity == "note" else "note"
    others = {
        "rule": (Doubt("mine", {"sentence": "It was so: look."}, first.severity), *rest),
        "severity": (Doubt(first.name, {"sentence": sentence(first)}, severity), *rest),
        "values": (replace(first, values={**first.values, "other": 1.0}), *rest),
        "one less": tuple(rest),
    }
    store.add_run(replace(record, doubts=others[change]), samples)
    assert [again.id for again in recompute(tmp_path)] == [record.id]
