"""Lengths of requests as the database counts them."""

from dataclasses import replace

from builders import a_cell, a_record, a_trace, samples_of

from journal.records.experiment import Experiment
from journal.store.request_lengths import request_lengths
from journal.store.store import Store


def test_lengths_are_counted_by_run_without_the_warm_up_and_failures(store: Store) -> None:
    begun = store.begin_experiment(Experiment(name="x"), a_record().started_at, {})
    traces = [
        a_trace(0, warmup=True, output_tokens=1),
        a_trace(1, output_tokens=5, output_tokens_asked=8),
        a_trace(2, output_tokens=5, output_tokens_asked=16),
        a_trace(3, output_tokens=None, output_tokens_asked=8),
        a_trace(5, output_tokens=5, output_tokens_asked=0),  # another tool's file has none
        a_trace(4, output_tokens=9, outcome="error", error="x"),
    ]
    samples = samples_of(a_cell(), *traces)
    record = replace(a_record(), experiment_id=begun.id, cell=samples.cell, facts=samples.facts)
    store.add_run(record, samples)
    (counted,) = request_lengths(store, [record.id, "none"]).values()
    assert counted["output_tokens"] == {5: 3}
    assert counted["output_tokens_asked"] == {8: 2, 16: 1}
