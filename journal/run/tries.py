"""Trials of changes: a baseline and a candidate measured in turn, with engine starts of their own,
until nothing helps or the time is over."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from journal.compare.bottleneck import bottleneck
from journal.compare.next_change import RATE, NextChange, next_change
from journal.compare.tried import FAILED, Tried, tried
from journal.errors import UsageError
from journal.plan.settings import Setting, changed_engine, parsed_setting
from journal.records.experiment import ChangeTrial, Engine, Experiment, Grid
from journal.records.progress import Event, Listener, ignore
from journal.records.run import Record
from journal.run.begin import run
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm.vllm import VLLM
from journal.store.store import open_store

if TYPE_CHECKING:
    from journal.run.parallel.messages import Serve

LOOKS = 2  # at a trial: the second after twice as many further starts
STARTS = 4
NAMED_VALUE = re.compile(
    r"\b(?:raise|lower|set) ([a-z_]+)(?: \([^)]*\))?(?: from [\w.,]+)? to (?:about )?([\d.,]*\d)"
)


def try_change(
    run_id: str = "last",
    home: str | Path = "lab",
    *,
    setting: str | None = None,
    steps: int = 1,
    budget_s: float | None = None,
    starts: int = STARTS,
    listener: Listener = ignore,
    serve: "Serve | None" = None,
    kind: EngineKind = VLLM,
) -> tuple[Tried, ...]:
    """Try a change of the engine that served a run, and return the result of each trial.

    The change is `setting` ("engine.max_num_seqs=64"), or without one what the bottleneck of the
    run calls for, and of a start that failed what its log does. Baseline and candidate serve the
    run's cell in turn, each started anew `starts` times; where that leaves it open, and time is
    left, each is started twice as often again. The experiment, with hypothesis and verdict, is in
    the log. With more `steps` the next one sets out from the engine that was kept; it ends where no
    change is left, or where the next one would go beyond `budget_s`.

    Raises NotFound for an unknown run, SpecError for a setting that is none, UsageError for a run
    of a server that the journal did not start, or where nothing calls for a change; and what `run`
    raises.
    """
    began_s = time.monotonic()
    until_s = None if budget_s is None else began_s + budget_s
    record, among = _stored(home, run_id)
    if record.cell.engine is None:
        raise UsageError(
            f"run {record.id[:8]} was served by an endpoint, whose settings are not the journal's: "
            "change them there, and compare the two days"
        )
    results: list[Tried] = []
    asked = None if setting is None else parsed_setting(setting)
    for _ in range(steps):
        trial = _trial(record, among, asked, [parsed_setting(r.trial.setting) for r in results])
        if trial is None:
            break
        took_s = (time.monotonic() - began_s) / len(results) if results else 0.0
        if until_s is not None and time.monotonic() + took_s > until_s:
            listener(Event("prepare", "the time is over: no further change is tried"))
            break
        runner = _Runner(home, starts, until_s, listener, serve, kind)
        result, records = runner.measured(record, *trial)
        results.append(result)
        engine = result.after if result.verdict == "kept" else result.before
        record, among = _onward(engine, records, record), records
        asked = None
    if not results:
        raise _nothing(record, among)
    return tuple(results)


def _stored(home: str | Path, run_id: str) -> tuple[Record, Sequence[Record]]:
    with open_store(Path(home)) as store:
        record = store.run(run_id)
        return record, store.runs(experiment_id=record.experiment_id)


def _onward(engine: Engine, records: Sequence[Record], last: Record) -> Record:
    """The newest good run of `engine`, from which the next step sets out."""
    own = [r for r in records if r.cell.engine == engine and r.good]
    return own[-1] if own else last


def _trial(
    record: Record, among: Sequence[Record], asked: Setting | None, tested: Sequence[Setting]
) -> tuple[ChangeTrial, Engine, Engine] | None:
    """The trial to make, with the engine before and after it; None where nothing is left to try."""
    before = record.cell.engine
    assert before is not None
    cause = None
    if asked is None and not record.good:
        asked, cause = remedy(record), FAILED
        if asked is None or asked in tested:
            return None
    if asked is not None:
        after = changed_engine(before, asked)
        if after == before:
            raise UsageError(f"{asked} is what the run had already: name another value")
        metric = RATE
        trial = ChangeTrial(
            setting=str(asked), metric=metric, cause=cause, looks=LOOKS, run_id=record.id
        )
        return trial, before, after
    change = next_change(record, bottleneck(record, among), tested)
    return None if change is None else (planned_trial(change, record), before, change.after)


def planned_trial(change: NextChange, record: Record) -> ChangeTrial:
    """The trial of a change that a measured bottleneck calls for."""
    return ChangeTrial(
        setting=str(change.setting),
        metric=change.metric,
        cause=change.cause,
        gist=change.gist,
        low=change.low,
        high=change.high,
        risks=change.risks,
        looks=LOOKS,
        run_id=record.id,
    )


def remedy(record: Record) -> Setting | None:
    """The setting and the value that the log of a failed start calls for, as the run's error has
    them; None without one."""
    return next(_named_values(record.error or ""), None)


def _named_values(text: str) -> Iterator[Setting]:
    """The settings with a value in the words of a remedy: "lower NAME from A to B", "NAME to B"."""
    for match in NAMED_VALUE.finditer(text):
        value = match[2].replace(",", "")
        yield parsed_setting(f"engine.{match[1]}={value}")


def _nothing(record: Record, among: Sequence[Record]) -> UsageError:
    """Why there is nothing to try."""
    found = bottleneck(record, among)
    if found is None:
        return UsageError(
            f"run {record.id[:8]} gave no figures, and its log names no setting to change: "
            "name one with --set"
        )
    if found.cause is None:
        return UsageError(
            f"what limits run {record.id[:8]} cannot be told, so nothing is tried for it: "
            "journal show says what would tell it, and --set names a change of your own"
        )
    return UsageError(
        f"run {record.id[:8]} is limited by {found.cause.replace('_', ' ')}, which no setting "
        "of its engine answers here: name a change of your own with --set"
    )


class _Runner:
    """The way in which a trial is run."""

    def __init__(
        self,
        home: str | Path,
        starts: int,
        until_s: float | None,
        listener: Listener,
        serve: "Serve | None",
        kind: EngineKind,
    ) -> None:
        self.home, self.starts, self.until_s = home, starts, until_s
        self.listener, self.serve, self.kind = listener, serve, kind

    def measured(
        self, record: Record, trial: ChangeTrial, before: Engine, after: Engine
    ) -> tuple[Tried, Sequence[Record]]:
        """The result of a trial, and its runs: in a second look twice as many as in the first."""
        records: list[Record] = []
        repeats = self.starts
        for look in range(trial.looks):
            began_s = time.monotonic()
            asked = _experiment(record, trial, before, after, repeats, look)
            result = run(asked, self.home, listener=self.listener, serve=self.serve, kind=self.kind)
            records += result.records
            found = tried(trial, before, after, records)
            took_s = time.monotonic() - began_s
            left = self.until_s is None or time.monotonic() + 2 * took_s <= self.until_s
            if found.verdict != "undecided" or not left:
                break
            repeats *= 2
        return found, records


def _experiment(
    record: Record, trial: ChangeTrial, before: Engine, after: Engine, repeats: int, look: int
) -> Experiment:
    """The experiment that measures both engines at the cell of `record`, in turn."""
    cell = record.cell
    prompt, output = cell.planned_lengths
    failed = trial.cause == FAILED
    load = replace(
        cell.load,
        repeats=1 if failed else repeats,
        interleave=not failed,
        seed=cell.load.seed + 1000 * (look + 1),
    )
    shared = (cell.workload.shared_prefix,) if cell.workload.shared_prefix else ()
    return Experiment(
        name=f"try {trial.setting}",
        question=f"does {trial.setting} help?",
        engines=(after,) if failed else (before, after),
        grid=Grid(
            batch=(cell.batch or 1,),
            rate=(cell.rate,) if cell.rate else (),
            prompt_tokens=(prompt,),
            output_tokens=(output,),
            shared_prefix=shared,
        ),
        load=load,
        slo=cell.slo,
        workload=cell.workload,
        trial=trial,
    )
