"""Two models compared in MLflow's own UI, in a real browser, as a person finds it.

What is shown was recorded from tiny models with random weights (tests/data/journals).
`PICTURES=write pytest tests/tracking/test_mlflow_compare.py` takes the picture for the docs anew.
"""

import contextlib
import lzma
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from journal.report.log import write_log
from journal.report.short import summary
from journal.store.merge import merge
from journal.store.store import open_store
from journal.tracking.tracker import sync

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "experiments" / "recorded" / "two-architectures.db.xz"
MISTRAL, LLAMA = "tiny-random-mistral", "tiny-random-llama"
UNITS = r"_(s|bytes|fraction|tokens|per_s|j|tokens_per_s)(_p50)?"

pytestmark = [
    pytest.mark.mlflow,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("flask") is None, reason="not installed: the full mlflow"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The recorded journal, its log, and all of it in MLflow."""
    recorded = tmp_path / "recorded.db"
    recorded.write_bytes(lzma.decompress(RECORDED.read_bytes()))
    merge(recorded, tmp_path / "lab")
    with open_store(tmp_path / "lab") as store:
        write_log(store, tmp_path / "lab")
        report = sync(store, tmp_path / "lab", describe=summary)
    assert report.failed == 0, report.reason
    return tmp_path / "lab"


@contextlib.contextmanager
def ui(home: Path) -> Iterator[tuple[str, str]]:
    """`journal ui` in a process of its own: the two addresses that it prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "journal", "ui", "--home", str(home), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().strip() for _ in range(2)]
            assert [line.split(": ")[0] for line in lines] == ["MLflow UI", "charts"]
            yield lines[0].split(": ")[1], lines[1].split(": ")[1]
        finally:
            process.terminate()


class Page:
    """What is on the screen."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def open(self, address: str) -> None:
        deadline_s = time.monotonic() + 90  # the UI takes its time to start
        while True:
            try:
                self.browser.get(address)
                return
            except Exception:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.5)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    @property
    def text(self) -> str:
        return str(self.all("body")[0].text)

    def wait(self, condition: Callable[[], Any], timeout_s: float = 90) -> Any:
        """What `condition` says once that is true."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(Exception):  # a part that is just being drawn anew
                if value := condition():
                    return value
            time.sleep(0.1)
        pytest.fail(f"not in {timeout_s} s; the page shows: {self.text}")

    def press(self, words: str) -> None:
        self.wait(lambda: [b for b in self.all("button") if b.text == words])[0].click()

    def without_assistant(self) -> None:
        """Closes the panel that MLflow opens for a first visitor."""
        self.wait(lambda: self.all('[data-component-id="mlflow.assistant.chat_panel.close"]'))
        self.all('[data-component-id="mlflow.assistant.chat_panel.close"]')[0].click()

    def rows(self, name: str) -> list[list[str]]:
        """What stands beside `name` in the tables of the comparison."""
        rows = self.browser.find_elements("xpath", f"//tr[th[normalize-space()='{name}']]")
        cells = [row.find_elements("css selector", "td") for row in rows]
        return [[cell.get_attribute("textContent") for cell in row] for row in cells]


def test_two_architectures_side_by_side_in_mlflow(browser: Any, home: Path) -> None:
    browser.set_window_size(1600, 1300)
    page = Page(browser)
    with ui(home) as (address, charts):
        page.open(charts)
        the_charts_are_there_without_any_setting(page)
        keep_picture(browser, "mlflow-charts")
        boxes = page.all('input[aria-label^="Press Space to toggle row selection"]')
        assert len(boxes) == 2
        for box in boxes:
            box.find_element("xpath", "..").click()
        page.press("Compare")
        the_comparison_says_what_differs(page)
        keep_picture(browser, "mlflow-compare")
        the_experiment_has_its_summary_and_its_log(page, address, home)


def the_charts_are_there_without_any_setting(page: Page) -> None:
    """One chart for each figure over the batch, a line in each for either model; the first ten
    characters, which the narrowest cards show, tell the charts apart."""
    page.wait(lambda: MISTRAL in page.text and LLAMA in page.text and "2 matching" in page.text)
    page.without_assistant()
    page.wait(lambda: len(page.all(".js-plotly-plot")) >= 4)
    sections = set(re.findall(r"^(\w+) ?\n?\(5\)$", page.text, re.MULTILINE))
    assert {"TTFT", "TPOT", "E2E", "KV", "RSS", "requests", "tokens"} <= sections
    titles = {chart.get_attribute("title") for chart in page.all('[title*=" by batch: "]')}
    assert any(re.fullmatch(r"\w+/p256 by batch: \w+", title) for title in titles), titles
    assert all(re.search(f"{UNITS}$", title) for title in titles), titles
    for title in titles:
        assert all(f"{model} ({title})" in page.text for model in (LLAMA, MISTRAL))


def the_comparison_says_what_differs(page: Page) -> None:
    page.wait(lambda: "Comparing 2 Runs from 1 Experiment" in page.text)
    page.wait(lambda: page.all(".js-plotly-plot .parcoords"))
    assert "most/output_tokens_per_s" in page.text, "the plot begins with the throughput"
    params, tags = page.rows("model")
    assert sorted(params) == sorted(tags) == [LLAMA, MISTRAL]
    for name, both in (("batch", "1, 4, 16"), ("prompt_tokens", "64, 256"), ("dtype", "bfloat16")):
        assert page.rows(name) == [[both, both]]
    assert page.rows("quantisation") == [["none", "none"]] * 2, "a param and a tag"
    assert page.rows("gpu") == [["none", "none"]]
    assert all(re.fullmatch("[0-9a-f]{40}", commit) for commit in page.rows("git_commit")[0])
    metrics = re.findall(
        r"^(?:\w+/[bp]\d+ by \w+: |most/|least/|engine/)(\w+)$", page.text, re.MULTILINE
    )
    assert len(metrics) >= 5
    assert all(re.search(f"{UNITS}$", metric) for metric in metrics), metrics


def the_experiment_has_its_summary_and_its_log(page: Page, address: str, home: Path) -> None:
    with open_store(home) as store:
        (begun,) = store.experiments()
    run = f"{address}/#/experiments/{begun.mlflow_experiment_id}/runs/{begun.mlflow_run_id}"
    page.open(run)
    page.wait(lambda: "The engines side by side, as charts" in page.text)
    assert f"Question: {begun.experiment.question}" in page.text
    page.open(f"{run}/artifacts")
    day = begun.started_at.astimezone().date().isoformat()
    page.wait(lambda: {day, f"{day}.html", f"{day}.md"} <= set(page.text.splitlines()))


def keep_picture(browser: Any, name: str) -> None:
    if os.environ.get("PICTURES") == "write":
        browser.save_screenshot(str(ROOT / "docs" / "images" / f"{name}.png"))
