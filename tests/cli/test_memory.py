"""The commands that tell of memory, energy and money, called in this process."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal.cli.app import main
from journal.cli.options import size
from journal.errors import SpecError

Journal = Callable[..., tuple[int, str, str]]
SMALL = ("--prompt-tokens", "16", "--output-tokens", "8", "--requests", "12", "--warmup", "1")


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Journal:
    """`journal("runs", "--json")`: the exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["journal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
            sys.exit(0)
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def parsed(told: tuple[int, str, str]) -> Any:
    code, out, error = told
    assert code == 0, error
    return json.loads(out)


# ---- money -----------------------------------------------------------------------------------


def test_the_price_of_a_host_is_a_setting(
    fake_server: Callable[..., str],
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ("run", "--endpoint", fake_server(itl_s=0.001), *SMALL, "--home", tmp_path, "--json")
    monkeypatch.setenv("JOURNAL_USD_PER_HOUR", "-1")
    code, _, error = journal(*asked)
    assert (code, "JOURNAL_USD_PER_HOUR = '-1'" in error) == (2, True)
    monkeypatch.setenv("JOURNAL_USD_PER_HOUR", "3.6")
    (run,) = parsed(journal(*asked))
    price = run["metrics"]["usd_per_million_output_tokens"]
    assert price == pytest.approx(3.6 / 3600 / run["output_tokens_per_s"] * 1e6)


def test_a_price_in_another_currency_stays_in_it(
    fake_server: Callable[..., str],
    journal: Journal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOURNAL_PRICE_PER_HOUR", "twelve")
    asked = ("run", "--endpoint", fake_server(itl_s=0.001), *SMALL, "--home", tmp_path, "--json")
    code, _, error = journal(*asked)
    assert (code, "JOURNAL_PRICE_PER_HOUR = 'twelve' is not a price above 0" in error) == (2, True)
    monkeypatch.setenv("JOURNAL_PRICE_PER_HOUR", "¥3600")
    (run,) = parsed(journal(*asked))
    assert run["metrics"]["usd_per_million_output_tokens"] is None
    price = run["metrics"]["price_per_million_output_tokens"]
    assert price == pytest.approx(1e6 / run["output_tokens_per_s"])
    journal("log", "--home", tmp_path, "--lang", "en")
    log = next((tmp_path / "log").glob("*.md")).read_text()
    assert "At 3,600.00 CNY an hour, a million output tokens cost" in log
    assert "price, CNY/Mtok" in log and "USD" not in log
    assert "CNY/Mtok" in journal("show", "last", "--home", tmp_path)[1]
    planned = journal("plan", *asked[1:-1], "--model", run["model"])[1]
    assert re.search(r"at 3,?600(\.00)? CNY", planned), planned
    journal("log", "--home", tmp_path, "--lang", "zh")
    assert "按每小时 3,600.00 元计" in next((tmp_path / "log").glob("*.md")).read_text()


# ---- fit -------------------------------------------------------------------------------------


def test_fit_answers_first_and_then_shows_its_sums(journal: Journal) -> None:
    code, out, _ = journal("fit", "Mistral-7B-Instruct-v0.2", "--gpu", "4090", "--batch", 8)
    assert code == 0
    assert out.startswith("Mistral-7B-Instruct-v0.2 on RTX 4090 (24 GiB): Take the ")
    for told in ("AWQ build (4 bits)", "TheBloke/Mistral-7B-Instruct-v0.2-AWQ", "Computed from"):
        assert told in out
    found = parsed(journal("fit", "Qwen/Qwen3-8B", "--vram", "24GiB", "--json"))
    (place,) = found["places"]
    assert place["vram_bytes"] == 24 * 2**30
    assert [choice["precision"] for choice in place["choices"]] == ["fp16", "fp8", "awq", "gptq"]
    assert found["kv_bytes_per_token"] == 147_456
    assert "Qwen3-8B, for 1 x 8,192 tokens" in journal("fit", "Qwen/Qwen3-8B")[1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["no-such-model"], "No model 'no-such-model'"),
        (["Mistral-7B-v0.1", "--gpu", "9999"], "no GPU '9999'"),
        (["Mistral-7B-v0.1", "--vram", "lots"], "--vram 'lots' is not a size above 0"),
        (["Mistral-7B-v0.1", "--vram", "1GiB", "--gpu", "T4"], "not both"),
        (["Mistral-7B-v0.1", "--context", "99999"], "not of 99,999"),
    ],
)
def test_what_fit_cannot_answer_is_refused(journal: Journal, asked: list[str], said: str) -> None:
    code, _, error = journal("fit", *asked)
    assert (code, said in error) == (2, True), error


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24GiB", 24 * 2**30),
        ("24 gib", 24 * 2**30),
        ("24GB", 24 * 10**9),
        ("24", 24 * 2**30),
        ("1.5TiB", 3 * 2**39),
        ("512 MB", 512 * 10**6),
        ("0.5kib", 512),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text, "--vram") == expected


@pytest.mark.parametrize("text", ["", "0", "-1", "24G", "GiB", "24GiBs", "1e9", "٣GiB", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(SpecError, match="--vram"):
        size(text, "--vram")


# ---- trace -----------------------------------------------------------------------------------


def test_nothing_is_recorded_without_a_gpu(journal: Journal, tmp_path: Path) -> None:
    code, out, error = journal("trace", "record", "--seconds", "0.1", "--out", tmp_path / "t")
    if code == 0:
        pytest.skip("this host has an NVIDIA GPU")
    assert (code, out) == (1, "")
    assert error.startswith("journal: ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "t").exists()


# ---- the least memory ------------------------------------------------------------------------


def test_a_plan_with_a_search_for_the_least_memory(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "needed.toml"
    path.write_text(
        'needed_vram = true\n[engine]\nmodel = "m"\n[grid]\nbatch = [1, 4]\n[load]\nrepeats = 3\n'
    )
    code, out, _ = journal("plan", path)
    assert code == 0
    assert "2 cells, 1 engine start" in out
    assert "13 engine starts at most, these included" in out


def test_a_server_of_someone_else_s_cannot_be_started_again(
    fake_server: Callable[..., str], journal: Journal, tmp_path: Path
) -> None:
    code, _, error = journal(
        "run", "--endpoint", fake_server(), "--needed-vram", "--home", tmp_path
    )
    assert (code, "an engine that can be started again" in error) == (2, True)
