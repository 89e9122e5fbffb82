"""Old requests in Parquet files: every reader finds them there, bit for bit, whatever befell."""

import contextlib
import dataclasses
import math
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from builders import a_cell, samples_of
from hypothesis import given
from hypothesis import strategies as st

import journal
from journal.errors import DamagedRow, StoreError, UsageError
from journal.records.request import Trace
from journal.records.run import ExperimentRecord, Record
from journal.records.samples import Samples
from journal.run.summary import recompute, summarised
from journal.store import core_tables, parquet
from journal.store.compact import compact
from journal.store.merge import merge
from journal.store.store import Store, open_store

pytest.importorskip("pyarrow", reason="pyarrow is not installed")

NewRecord = Callable[..., Record]
TODAY = datetime.now(UTC)
OLD = TODAY - timedelta(days=40)


@pytest.fixture
def records(
    store: Store,
    new_record: NewRecord,
    samples: Samples,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Record]:
    """Two runs of one old day, one of another, and one of today, all summed up, each with a request
    whose chunks have no count of tokens; one old run without samples."""
    monkeypatch.setenv("JOURNAL_DB", url)
    records = []
    for number, started_at in enumerate((OLD, OLD, OLD - timedelta(days=1), TODAY)):
        uncounted = dataclasses.replace(samples.traces[1], index=2, chunk_tokens=None)
        ok = (*samples.traces[:2], uncounted)
        traces = tuple(dataclasses.replace(t, index=t.index + number) for t in ok)
        own = dataclasses.replace(samples, traces=traces)
        record = summarised(new_record(started_at=started_at), own)
        store.add_run(record, own)
        records.append(record)
    store.add_run(new_record(started_at=OLD, status="failed"), None)
    return records


def files(store: Store) -> list[Path]:
    return sorted(store.requests_folder.glob("*"))


def test_old_requests_move_and_are_read_from_their_files(
    store: Store, records: list[Record], tmp_path: Path
) -> None:
    before = {record.id: store.samples(record.id) for record in store.runs()}
    forecast = journal.compact(tmp_path, older_than_days=30, dry_run=True)
    assert (forecast.runs, forecast.requests, forecast.files) == (3, 9, 0)
    assert forecast.chunk_bytes == 3 * (3 * 3 * 8 + 2 * 3 * 4)
    assert not store.requests_folder.exists()

    done = compact(tmp_path, older_than_days=30)
    assert dataclasses.replace(done, files_bytes=0, files=0, database_after_bytes=0) == (
        dataclasses.replace(forecast, database_after_bytes=0)
    )
    assert done.files == 2 and done.files_bytes == sum(p.stat().st_size for p in files(store))
    freed = done.database_before_bytes - done.database_after_bytes
    assert done.database_after_bytes > 0 and done.saved_bytes == freed - done.files_bytes
    with store.transaction(writing=False) as connection:
        left = connection.exec_driver_sql("SELECT DISTINCT run_id FROM requests").scalars().all()
    assert left == [records[3].id]
    assert {record.id: store.samples(record.id) for record in store.runs()} == before
    assert recompute(tmp_path) == (), "every figure is what it was"
    assert compact(tmp_path, older_than_days=30).runs == 0
    assert compact(tmp_path, older_than_days=0).runs == 0, "today's are never moved"


def test_files_are_their_owners_alone(store: Store, records: list[Record], tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        compact(tmp_path, older_than_days=30)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.requests_folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files(store)} == {0o600}


def test_export_compare_show_and_the_log_read_a_compacted_journal(
    store: Store, records: list[Record], tmp_path: Path
) -> None:
    from journal.report.log import write_log

    def outputs(name: str) -> tuple[str, str, object]:
        journal.export(tmp_path / f"{name}.jsonl", tmp_path, raw=True)
        log = write_log(store, tmp_path, OLD.date(), UTC)
        compared = journal.compare(f"{records[0].id}", f"{records[1].id}", home=tmp_path)
        return (tmp_path / f"{name}.jsonl").read_text(), log.markdown.read_text(), compared

    for record in records:
        store.replace_summary(record.id, record.metrics, record.doubts, "valid")
    before = outputs("before")
    compact(tmp_path, older_than_days=30)
    assert outputs("after") == before


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("much", "little"), [(OLD, TODAY), (TODAY, OLD)])
def test_the_file_is_made_smaller_where_that_frees_much_of_it(
    much: datetime,
    little: datetime,
    store: Store,
    new_record: NewRecord,
    samples: Samples,
    tmp_path: Path,
) -> None:
    chunk_s = tuple(1 + k / 100 for k in range(500))
    long = dataclasses.replace(samples.traces[0], chunk_s=chunk_s, chunk_tokens=(1,) * 500)
    for started_at, requests in ((much, 200), (little, 2)):
        traces = tuple(dataclasses.replace(long, index=k) for k in range(requests))
        own = dataclasses.replace(samples, traces=traces)
        store.add_run(new_record(started_at=started_at), own)
    store.close()
    done = compact(tmp_path, older_than_days=30)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
    assert (free == 0) == (much == OLD), "a large file is not written again for a few rows"
    if much == OLD:
        assert done.database_after_bytes < done.database_before_bytes / 3


def test_a_compacted_journal_is_taken_in_whole(
    store: Store, records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store.url.get_backend_name() != "sqlite":
        pytest.skip("merge reads files")
    compact(tmp_path, older_than_days=30)
    monkeypatch.delenv("JOURNAL_DB")
    assert merge(tmp_path / "journal.db", tmp_path / "other").runs == 5
    with open_store(tmp_path / "other") as other:
        for record in store.runs():
            assert other.samples(record.id) == store.samples(record.id)
    gone = files(store)[-1]
    gone.unlink()
    with pytest.warns(DamagedRow, match=gone.name):
        left = merge(tmp_path / "journal.db", tmp_path / "third")
    assert 0 < left.runs < 5  # the runs of that file are left out, and no other


def test_a_file_that_was_written_before_a_column_was_kept_is_read(
    store: Store, records: list[Record], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    compact(tmp_path, older_than_days=30)
    before = store.samples(records[0].id)
    for path in store.requests_folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["ttfo_s"]), path)
    after = store.samples(records[0].id)
    assert before is not None and after is not None
    assert after.traces == tuple(dataclasses.replace(trace, ttfo_s=None) for trace in before.traces)


def test_a_file_that_is_gone_or_damaged_is_named(
    store: Store, records: list[Record], tmp_path: Path
) -> None:
    compact(tmp_path, older_than_days=30)
    newer, older = files(store)[-1], files(store)[-2]
    older.rename(tmp_path / "away")
    newer.write_bytes(b"no parquet")
    with pytest.raises(StoreError) as gone:
        store.samples(records[2].id)
    assert str(older) in str(gone.value) and records[2].id in str(gone.value)
    assert str(gone.value).count(". ") == 0
    with pytest.raises(StoreError, match="cannot be read") as damaged:
        store.samples(records[0].id)
    assert str(newer) in str(damaged.value)
    newer.write_bytes((tmp_path / "away").read_bytes())
    with pytest.raises(StoreError, match="has no requests of run"):
        store.samples(records[0].id)
    assert store.samples(records[3].id) is not None
    assert len(store.runs()) == 5, "all but the raw requests is there"


def test_what_cannot_be_compacted(store: Store, records: list[Record], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-1"):
        compact(tmp_path, older_than_days=-1)
    store.requests_folder.touch()
    with pytest.raises(StoreError, match="cannot be written"):
        compact(tmp_path, older_than_days=30)
    assert all(store.samples(record.id) is not None for record in records)


@pytest.mark.parametrize("url", ["postgres"], indirect=True)
def test_two_hosts_that_compact_at_once_lose_nothing(
    store: Store, records: list[Record], tmp_path: Path
) -> None:
    before = {record.id: store.samples(record.id) for record in records}
    homes = [tmp_path / "a", tmp_path / "b"]
    with ThreadPoolExecutor(2) as hosts:
        done = [hosts.submit(compact, home, older_than_days=30) for home in homes]
    for failed in filter(None, (move.exception() for move in done)):
        assert isinstance(failed, StoreError)
    stores = [open_store(home) for home in homes]
    for run_id, samples in before.items():
        read = []
        for reader in stores:
            with contextlib.suppress(StoreError):
                read.append(reader.samples(run_id))
        assert read and all(one == samples for one in read)
    for reader in stores:
        reader.close()


# ---- the codec -------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
traces = st.builds(
    Trace,
    index=st.integers(0, 2**31 - 1),
    warmup=st.booleans(),
    scheduled_s=finite,
    start_s=finite,
    end_s=finite,
    outcome=st.sampled_from(("ok", "error", "timeout")),
    prompt_tokens_asked=st.integers(0, 2**31 - 1),
    output_tokens_asked=st.integers(0, 2**31 - 1),
    chunk_s=st.lists(finite, max_size=6).map(tuple),
    chunk_tokens=st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=6).map(tuple),
    output_tokens=st.none() | st.integers(0, 2**31 - 1),
    finish_reason=st.none() | texts,
    error=st.none() | texts,
    server_queue_s=st.none() | finite,
)


@given(runs=st.lists(st.lists(traces, min_size=1, max_size=5), min_size=1, max_size=4))
def test_rows_come_back_bit_for_bit(runs: list[list[Trace]]) -> None:
    from journal.store.codec import sample_rows

    written: dict[str, list[dict[str, object]]] = {}
    for number, its in enumerate(runs):
        for into, rows in sample_rows(f"run {number}", some(its)):
            if into is core_tables.requests:
                names = [column.name for column in into.c]
                written[f"run {number}"] = [{n: row.get(n) for n in names} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a=b.parquet")
        parquet.write_runs(path, [parquet.as_table(rows) for rows in written.values()])
        for run_id, rows in written.items():
            stored = parquet.read_run(path, run_id)
            assert stored == rows
            assert [math.copysign(1, row["start_s"]) for row in stored] == [
                math.copysign(1, row["start_s"])
                for row in rows  # type: ignore[arg-type]
            ]


def some(its: list[Trace]) -> Samples:
    return samples_of(a_cell(), *its)


# ---- killed at any point ---------------------------------------------------------------------

# A process that has all modules loaded forks a mover for each line that it reads: after how many
# steps (a file opened, renamed or removed), or after how many ms, it kills itself.
MOVERS = """
import os, signal, sys, threading
from pathlib import Path
import alembic.command, pyarrow.dataset, pyarrow.parquet
from journal.store import compact, parquet

home, url = Path(sys.argv[1]), sys.argv[2]
os.environ["JOURNAL_DB"] = url
compact.FILE_RUNS = 3

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def at_step(left):
    def hook(event, arguments):
        nonlocal left
        if event in ("open", "os.rename", "os.remove") and ".parquet" in str(arguments[0]):
            left -= 1
            if left < 0:
                die()
    sys.addaudithook(hook)

for line in sys.stdin:
    kind, amount = line.split()
    pid = os.fork()
    if pid == 0:
        if kind == "steps":
            at_step(int(amount))
        elif kind == "ms":
            threading.Timer(float(amount) / 1e3, die).start()
        compact.compact(home, older_than_days=1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


def test_killed_at_any_point_nothing_is_lost_and_the_next_one_goes_on(
    store: Store, url: str, tmp_path: Path, begun: ExperimentRecord, samples: Samples
) -> None:
    many = dataclasses.replace(samples, traces=samples.traces * 4)
    for number in range(30):
        record = Record(
            id=f"{number:016x}",
            experiment_id=begun.id,
            cell=samples.cell,
            status="valid",
            started_at=OLD + timedelta(minutes=number),
            duration_s=1.0,
            facts=samples.facts,
        )
        store.add_run(record, many)
    chance = random.Random(8)
    orders = [f"steps {n}" for n in range(5)] + [
        f"ms {chance.uniform(10, 60):.0f}" for _ in range(5)
    ]
    movers = subprocess.Popen(
        [sys.executable, "-c", MOVERS, str(tmp_path), url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    with movers:
        assert movers.stdin and movers.stdout
        ends = []
        for order in [*orders, "whole 0", "whole 0"]:
            movers.stdin.write(f"{order}\n")
            ends.append(int(movers.stdout.readline()))
            for record in store.runs():
                assert store.samples(record.id) == many, order
        movers.stdin.close()
    assert ends.count(-signal.SIGKILL) >= 5 and ends[-2:] == [0, 0]
    with store.transaction(writing=False) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM requests").scalar() == 0
        noted = connection.exec_driver_sql("SELECT DISTINCT requests_file FROM runs").scalars()
        assert sorted(noted) == sorted(path.name for path in files(store) if path.suffix)
    assert not list(store.requests_folder.glob(".*.parquet"))
