"""What does a run cost in a journal on PostgreSQL, and how many can several hosts store at once?

    python -m benchmarks.postgres [--no-write]

Starts a PostgreSQL of Debian's packages on loopback for itself, with a database on this disk.
Prints its section of docs/performance.md and puts it there; takes about half a minute.
"""

import argparse
import multiprocessing
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from benchmarks.growth import CHUNKS, EXPERIMENTS, LONG, REQUESTS, make
from benchmarks.page import machine, put
from journal.store.store import new_id, open_store
from journal.store.tables import Row

WRITERS, EACH = 8, 25


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md alone")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with server() as url, tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        make(home, 1, CHUNKS, runs=EXPERIMENTS, url=f"{url}/short")
        make(home, 1, LONG, runs=EXPERIMENTS, url=f"{url}/long")
        runs_per_s = together(home, f"{url}/short")
        short, run = sizes(f"{url}/short", EXPERIMENTS + WRITERS * EACH)
        long, _ = sizes(f"{url}/long", EXPERIMENTS)
    section = f"""## One journal on PostgreSQL

| What is stored | in the database |
| --- | ---: |
| a request of {CHUNKS} chunks | {short:,.0f} bytes |
| a request of {LONG} chunks | {long:,.0f} bytes |
| a run without its requests | {run:,.0f} bytes |

{WRITERS} processes at once stored {WRITERS * EACH} runs of {REQUESTS:,} requests of {CHUNKS} \
chunks: {runs_per_s:.1f} runs/s, {runs_per_s * REQUESTS:,.0f} requests/s. Server and writers \
shared the cores of this machine, and every run was on the disk before its writer began the next.

### Machine

{machine("sqlalchemy", "psycopg")} Load average before: {load:.1f}.
"""
    print(section)
    if not options.no_write:
        put("postgres", section)


def sizes(url: str, runs: int) -> tuple[float, float]:
    """The bytes of a request, and of a run without its requests, indices among them."""
    query = text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
    engine = create_engine(url)
    with engine.connect() as connection:
        bytes_of = {name: connection.scalar(query, {"name": name}) for name in Row.metadata.tables}
    engine.dispose()
    requests = bytes_of.pop("requests")
    return requests / (runs * REQUESTS), sum(bytes_of.values()) / runs


def together(home: Path, url: str) -> float:
    """Runs per second that several processes store at once."""
    gate = multiprocessing.Barrier(WRITERS + 1)
    every = range(WRITERS)
    writers = [multiprocessing.Process(target=write, args=(home, url, gate)) for _ in every]
    for writer in writers:
        writer.start()
    gate.wait()
    began_s = time.perf_counter()
    for writer in writers:
        writer.join()
    if any(writer.exitcode for writer in writers):
        raise SystemExit("a writer failed")
    return WRITERS * EACH / (time.perf_counter() - began_s)


def write(home: Path, url: str, gate: "multiprocessing.synchronize.Barrier") -> None:
    with open_store(home, url) as store:
        record = store.run("last")
        samples = store.samples(record.id)
        gate.wait()
        for _ in range(EACH):
            store.add_run(replace(record, id=new_id()), samples)


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL with the databases `short` and `long`; the address without their names."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if not homes:
        raise SystemExit("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    account = {"user": "postgres", "group": "postgres", "extra_groups": ()}
    run_as = account if os.geteuid() == 0 else {}  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="journal-postgres-"))
    if run_as:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, binaries = str(folder / "data"), homes[-1]
    create = [binaries / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8"]
    serve = [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", ""]
    subprocess.run(create, check=True, capture_output=True, cwd="/", **run_as)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(serve, stdout=log, stderr=log, cwd="/", **run_as)
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}"
    try:
        wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    engine = create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT")
    while True:
        try:
            with engine.connect() as connection:
                for name in ("short", "long"):
                    connection.execute(text(f"CREATE DATABASE {name}"))
            break
        except OperationalError:
            if process.poll() is not None:
                raise
            time.sleep(0.1)
    engine.dispose()


if __name__ == "__main__":
    main()
