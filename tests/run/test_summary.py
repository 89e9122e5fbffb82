"""Runs summed up from their samples."""

from collections.abc import Callable

import pytest

from journal.metrics.view import View
from journal.records.run import Record
from journal.records.samples import Samples
from journal.run.summary import summarised


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
    assert built == [samples]
