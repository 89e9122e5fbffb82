"""Summaries of runs: metrics, doubts and status, computed from the raw samples and from the
environments of earlier runs of the experiment."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from journal.doubts.rules import doubts, status
from journal.doubts.surroundings import changes
from journal.metrics.slo_times import SloTimes, slo_times
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.doubt import Doubt
from journal.records.run import Record
from journal.records.sameness import surroundings
from journal.records.samples import Samples
from journal.store.slo_runs import replace_slo_times
from journal.store.store import open_store


def summarised(record: Record, samples: Samples, earlier: Sequence[Record] = ()) -> Record:
    """The record with its metrics, doubts and status. `earlier` are the runs of its experiment,
    oldest first; the first one on the same engine is the reference for changes of surroundings."""
    return _viewed(record, View(samples), earlier)


def _viewed(record: Record, view: View, earlier: Sequence[Record]) -> Record:
    figures = metrics(view)
    first = next((one for one in earlier if one.cell.engine == record.cell.engine), record)
    raised = doubts(view, figures, changes(surroundings(record), surroundings(first)))
    return replace(record, metrics=figures, doubts=raised, status=status(view, raised))


def summed_up(record: Record, view: View, earlier: Sequence[Record]) -> Record:
    """The record with its metrics, doubts and status, from a view of its samples; where these
    cannot be computed, a failed record with the reason."""
    try:
        return _viewed(record, view, earlier)
    except Exception as error:  # noqa: BLE001 (recorded: no fault here may cost a measurement)
        why = f"its metrics could not be computed ({type(error).__name__}: {error})"
        message = f"{why}: its raw samples are kept for journal recompute"
        return replace(record, status="failed", error=message)


def times_of(record: Record, view: View | None) -> SloTimes | None:
    """The times that decide the figures of a run under any SLO, from a view of its samples (None:
    it has none); None where these do not count."""
    return slo_times(view) if view is not None and record.good else None


def recompute(home: str | Path = "lab", run_id: str | None = None) -> tuple[Record, ...]:
    """Compute the metrics of one run, or of all, again from their stored samples; store them, and
    return the runs whose figures or doubts changed. Interrupted runs have no metrics and stay as
    they are. Raises NotFound, StoreError."""
    changed = []
    with open_store(Path(home)) as store:
        chosen = store.runs() if run_id is None else [store.run(run_id)]
        earlier: dict[str, list[Record]] = {}
        for experiment_id in {record.experiment_id for record in chosen}:
            earlier[experiment_id] = store.runs(experiment_id=experiment_id)
        for record in chosen:
            samples = store.samples(record.id)
            if samples is None or record.status == "interrupted":
                continue
            view = View(samples)
            again = _viewed(record, view, earlier[record.experiment_id])
            if again != record:
                store.replace_summary(again.id, again.metrics, again.doubts, again.status)
            replace_slo_times(store, again.id, times_of(again, view))
            if replace(again, doubts=()) != replace(record, doubts=()) or not _alike(
                again.doubts, record.doubts
            ):
                changed.append(again)
    return tuple(changed)


def _alike(doubts: Sequence[Doubt], stored: Sequence[Doubt]) -> bool:
    """Whether `doubts` are those that were `stored`. Older versions stored doubts in words, which
    may have changed since: such a doubt is alike where its rule and its severity are the same."""
    return len(doubts) == len(stored) and all(
        new == old
        or ("sentence" in old.values and (new.name, new.severity) == (old.name, old.severity))
        for new, old in zip(doubts, stored, strict=True)
    )
