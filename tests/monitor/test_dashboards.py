"""Dashboards, rules and the exporter, with the real Prometheus: every panel must show data."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import a_cell

from journal.errors import UsageError
from journal.metrics.table import rows
from journal.monitor.dashboards import dashboard, write_dashboards
from journal.monitor.exporter import Exporter, serve_exporter
from journal.monitor.panels import BOARDS
from journal.records.experiment import Experiment
from journal.records.figure import Figure
from journal.records.run import Record
from journal.serve.endpoint import model_at
from journal.store.store import open_store

DATA = Path(__file__).parents[1] / "data"
PATIENCE_S = 60.0
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="Prometheus is not installed (Debian: apt-get install prometheus)",
)
needs_exporter = pytest.mark.skipif(
    find_spec("prometheus_client") is None,
    reason="prometheus-client is not installed: serving-journal[dashboards]",
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# ---- the files ---------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_dashboards(
        tmp_path / "watch", "https://gpu-host:8443/models/v1", exporter="gpu-host:9410"
    )
    return tmp_path / "watch"


@needs_prometheus
def test_promtool_takes_the_configuration_and_the_rules(written: Path) -> None:
    folder = written / "prometheus"
    checks = [["check", "config", "prometheus.yml"]]
    checks += [["check", "rules", f"rules/{name}.yml"] for name in ("alerts", "recording")]
    for check in checks:
        done = subprocess.run(["promtool", *check], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_alerts_fire_when_they_must_and_only_then(written: Path) -> None:
    folder = written / "prometheus"
    shutil.copy(DATA / "prometheus" / "alerts.test.yml", folder)
    command = ["promtool", "test", "rules", "alerts.test.yml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_scraped_is_what_was_named(written: Path) -> None:
    config = yaml.safe_load((written / "prometheus" / "prometheus.yml").read_text())
    vllm, ours = config["scrape_configs"]
    assert (vllm["scheme"], vllm["metrics_path"]) == ("https", "/models/metrics")
    assert vllm["static_configs"] == [{"targets": ["gpu-host:8443"]}]
    assert ours["static_configs"] == [{"targets": ["gpu-host:9410"]}]
    assert config["global"]["scrape_interval"] == "5s"


def test_the_compose_file_mounts_what_is_there_and_listens_on_this_host_only(written: Path) -> None:
    services = yaml.safe_load((written / "compose.yml").read_text())["services"]
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith("./") or (written / source).is_dir()
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith("${")
    (source,) = yaml.safe_load(
        (written / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    assert source["url"] == "http://127.0.0.1:9090"
    (provider,) = yaml.safe_load(
        (written / "grafana/provisioning/dashboards/journal.yml").read_text()
    )["providers"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    path = provider["options"]["path"]  # relative to where Grafana starts, in a container or not
    assert (written / path).is_dir()
    assert f"{services['grafana']['working_dir']}/{path}" == mounts["./grafana/dashboards"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (written / "grafana" / "dashboards" / Path(home).name).is_file()


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_dashboards(tmp_path / "file", "http://127.0.0.1:8000")


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_grafanas_own_types_read_every_field(board: Any) -> None:
    """Grafana's SDK drops fields that it does not know: all of ours must come back."""
    models = pytest.importorskip(
        "grafana_foundation_sdk.models.dashboard", reason="grafana-foundation-sdk is not installed"
    )
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    ours = json.loads(json.dumps(dashboard(board)))
    for panel in ours["panels"]:  # a target is of its data source's own schema
        for target in panel.pop("targets"):
            from grafana_foundation_sdk.models.prometheus import Dataquery

            read = json.loads(JSONEncoder().encode(Dataquery.from_json(target)))
            assert target.items() <= read.items()
    read = json.loads(JSONEncoder().encode(models.Dashboard.from_json(ours)))
    assert missing(ours, read) == []


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the types of Grafana's own dashboards, of the version that compose.yml starts,
    and the compiler that checks by them."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, which fetches Grafana's schema")
    folder = tmp_path_factory.mktemp("grafana")
    write_dashboards(folder, "http://127.0.0.1:8000")
    service = yaml.safe_load((folder / "compose.yml").read_text())["services"]["grafana"]
    version = service["image"].split(":")[1]
    command = [npm, "install", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"]
    packages = [f"@grafana/schema@{version}", "typescript@5.7"]
    done = subprocess.run(
        [*command, *packages], cwd=folder, capture_output=True, text=True, timeout=200
    )
    if done.returncode != 0:
        pytest.skip(f"Grafana's schema cannot be fetched here: {done.stderr.strip()[-200:]}")
    return folder


def compiled(folder: Path, boards: list[dict[str, Any]]) -> str:
    """What the compiler says of `boards` as Grafana's dashboards; nothing when they are."""
    lines = ['import type { Dashboard } from "@grafana/schema";']
    lines += [f"export const b{n}: Dashboard = {json.dumps(b)};" for n, b in enumerate(boards)]
    (folder / "boards.ts").write_text("\n".join(lines))
    command = [str(folder / "node_modules" / ".bin" / "tsc"), "--noEmit", "--strict"]
    command += ["--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]
    done = subprocess.run(
        [*command, "boards.ts"], cwd=folder, capture_output=True, text=True, timeout=200
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_grafanas_own_schema_takes_the_dashboards(grafana: Path) -> None:
    boards = [dashboard(board) for board in BOARDS]
    assert compiled(grafana, boards) == ""
    assert "'\"refreshh\"' does not exist" in compiled(grafana, [boards[0] | {"refreshh": "5s"}])
    assert "not assignable" in compiled(grafana, [boards[0] | {"tags": "journal"}])


def missing(ours: Any, theirs: Any, where: str = "") -> list[str]:
    """What of `ours` is not in `theirs`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        gaps = [f"{where}.{key}" for key in ours if key not in theirs]
        for key in ours.keys() & theirs.keys():
            gaps += missing(ours[key], theirs[key], f"{where}.{key}")
        return gaps
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [gap for n, (a, b) in pairs for gap in missing(a, b, f"{where}[{n}]")]
    return [] if ours == theirs else [where]


def test_panels_do_not_overlap() -> None:
    for board in BOARDS:
        places: set[tuple[int, int]] = set()
        for panel in dashboard(board)["panels"]:
            grid = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(grid["x"], grid["x"] + grid["w"])
                for y in range(grid["y"], grid["y"] + grid["h"])
            }
            assert not cells & places
            assert max(x for x, _ in cells) < 24
            places |= cells


# ---- the exporter and Prometheus ---------------------------------------------------------------


@contextlib.contextmanager
def process(command: list[str], log: Path, **env: str) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as errors:
        started = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | env
        )
        try:
            yield started
        finally:
            started.terminate()
            started.communicate()


@contextlib.contextmanager
def exporting(home: Path, endpoint: str, nvml: Path, tmp_path: Path) -> Iterator[str]:
    """The exporter beside a scripted GPU, as its address."""
    trace = tmp_path / "trace"
    trace.write_text((DATA / "nvml" / "healthy.trace").read_text())
    command = [sys.executable, "-m", "journal", "exporter", "--port", "0", "--home", str(home)]
    command += ["--endpoint", endpoint]
    env = {"LD_LIBRARY_PATH": str(nvml), "NVML_TRACE": str(trace)}
    with process(command, tmp_path / "exporter.log", **env) as started:
        assert started.stdout is not None
        url = started.stdout.readline().strip()
        assert url, (tmp_path / "exporter.log").read_text()
        yield url


@contextlib.contextmanager
def prometheus(folder: Path, tmp_path: Path) -> Iterator[Callable[[str], list[Any]]]:
    """Prometheus on loopback with the configuration in `folder`, as a function that queries it."""
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"]

    def query(expression: str) -> list[Any]:
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{asked}") as answer:
            return list(json.load(answer)["data"]["result"])

    with process(command, tmp_path / "prometheus.log") as started:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                query("1")
                break
            except OSError:
                log = (tmp_path / "prometheus.log").read_text()
                assert started.poll() is None and time.monotonic() < deadline, log
                time.sleep(0.1)
        yield query


@contextlib.contextmanager
def load(url: str, model: str) -> Iterator[None]:
    """Requests one after the other for as long as the block lasts, with equal prompts."""
    from openai import OpenAI

    stop = threading.Event()

    def ask() -> None:
        with OpenAI(base_url=url, api_key="none", max_retries=0) as client:
            while not stop.is_set():
                client.completions.create(model=model, prompt=list(range(1000, 1064)), max_tokens=8)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def queries_of(boards: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [
        (f"{board.title}: {panel.title}", expression)
        for board in boards
        for panel in board.panels
        for expression, _ in panel.queries
    ]


def assert_data(query: Callable[[str], list[Any]], left: list[tuple[str, str]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while left and time.monotonic() < deadline:
        left = [(name, asked) for name, asked in left if not has_data(query, asked)]
        time.sleep(0.5 if left else 0)
    assert not left


def has_data(query: Callable[[str], list[Any]], expression: str) -> bool:
    asked = expression.replace("$__rate_interval", "15s").replace("$model", ".*")
    return any(sample["value"][1] != "NaN" for sample in query(asked))


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A journal with two runs of one cell that have every figure that is exported."""
    home = tmp_path / "lab"
    cell = a_cell(experiment="e", engine=None)
    with open_store(home) as store:
        begun = store.begin_experiment(Experiment(name="e"), datetime.now(UTC), {})
        for number in (1, 2):
            record = Record(
                id=f"{number}" * 16,
                experiment_id=begun.id,
                cell=replace(cell, repeat=number),
                status="valid",
                started_at=datetime.now(UTC),
                duration_s=1.0,
                metrics={row.name: Figure(float(number)) for row in rows(lambda s: s.family)},
            )
            store.add_run(record, None)
    return home


@pytest.fixture
def watched(fake_server: Callable[..., str]) -> str:
    """A server whose model is m."""
    return fake_server(model="m", itl_s=0.005, prefix_caching=True)


@pytest.mark.timing
@needs_exporter
@needs_prometheus
@pytest.mark.parametrize(
    "real", [False, pytest.param(True, marks=pytest.mark.engine)], ids=["simulated", "vLLM"]
)
def test_every_panel_shows_data(
    real: bool,
    lab: Path,
    nvml_worker: tuple[Any, Path],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue("kept_up")[1] if real else request.getfixturevalue("watched")
    with exporting(lab, url, nvml_worker[1].parent, tmp_path) as exporter:
        where = urllib.parse.urlsplit(exporter).netloc
        write_dashboards(tmp_path / "watch", url, exporter=where, interval_s=1)
        with (
            load(url, model_at(url)[1]),
            prometheus(tmp_path / "watch" / "prometheus", tmp_path) as query,
        ):
            groups = yaml.safe_load((tmp_path / "watch/prometheus/rules/recording.yml").read_text())
            rules = [(rule["record"],) * 2 for rule in groups["groups"][0]["rules"]]
            assert_data(query, [*queries_of(BOARDS), *rules])
            assert {sample["metric"]["job"] for sample in query("up == 1")} == {"vllm", "journal"}


@pytest.mark.timing
@needs_exporter
def test_the_exporter_has_the_last_run_of_each_cell_and_a_scripted_gpu(
    lab: Path, watched: str, nvml_worker: tuple[Any, Path], tmp_path: Path
) -> None:
    with exporting(lab, watched, nvml_worker[1].parent, tmp_path) as exporter:
        pages = []
        for _ in range(2):
            with urllib.request.urlopen(exporter) as answer:
                pages.append(answer.read().decode())
    from prometheus_client.parser import text_string_to_metric_families

    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(pages[1])
        for sample in family.samples
    }
    gpu = (("gpu", "0"), ("name", "Scripted Card 80GB"))
    assert samples["journal_gpus",] == 1
    assert samples["journal_gpu_memory_total_bytes", *gpu] == 80 * 2**30
    assert samples["journal_gpu_power_watts", *gpu] == 351.25
    assert samples["journal_gpu_utilisation_ratio", *gpu] == 0.93
    (vram,) = [value for key, value in samples.items() if key[0] == "journal_run_vram_peak_bytes"]
    assert vram == 2.0  # of the second repeat, which came last
    (run,) = [dict(key[1:]) for key in samples if key[0] == "journal_run_ttft_seconds"]
    assert (run["experiment"], run["model"], run["batch"], run["rate"]) == ("e", "m", "1", "")
    (memory,) = [v for key, v in samples.items() if key[0] == "journal_server_resident_bytes"]
    assert memory > 10 * 2**20
    assert not [name for name, *_ in samples if "nan" in str(samples[(name, *_)]).lower()]


@needs_exporter
def test_a_host_without_a_gpu_and_a_server_that_is_gone_are_left_out(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        families = {
            family.name: family.samples
            for family in Exporter(store, tmp_path, ["http://127.0.0.1:9/v1"]).collect()
        }
    assert not families["journal_server_resident_bytes"]
    assert not families["journal_run_ttft_seconds"]
    assert families["journal_gpus"][0].value >= 0


@needs_exporter
def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        open_store(tmp_path) as store,
        pytest.raises(UsageError, match="choose another with --port"),
    ):
        serve_exporter(store, tmp_path, port=taken.getsockname()[1], on_ready=print)
