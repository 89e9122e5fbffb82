"""docs/vram.md: its commands print what it shows, and its numbers are those that are computed."""

import contextlib
import io
import re
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from journal import units
from journal.cli.app import main
from journal.serve.engines.vllm.defaults import GPU_MEMORY_UTILIZATION
from journal.theory.gpu_table import find_gpu
from journal.theory.memory import BYTES_PER_WEIGHT, kv_bytes_per_token, weight_bytes
from journal.theory.model_table import find_model
from journal.theory.overhead import DRIVER_BYTES
from journal.theory.roofline import decode_floor
from journal.theory.split import NAMES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "vram.md").read_text()
SHOWN = re.findall(r"<!-- output -->\n```(\w+)\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("language", "code", "output"), SHOWN)
def test_what_is_shown_is_what_is_printed(
    language: str,
    code: str,
    output: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "/nowhere")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if language == "python":
        exec(code, {})
    else:
        monkeypatch.setattr(sys, "argv", code.split())
        with contextlib.suppress(SystemExit):
            main()
    assert capsys.readouterr().out.startswith(output)


def test_commands_are_on_the_page() -> None:
    assert len(SHOWN) == 4


def test_the_table_of_models_is_computed() -> None:
    rows = re.findall(
        r"^\| ([\w.-]+) \| (\d+) \| (\d+) \| (\d+) \| ([\d,]+) \| (.+) \|$", PAGE, re.M
    )
    assert len(rows) == 5
    for name, layers, kv_heads, head_dim, each, four_thousand in rows:
        model = find_model(name).architecture
        assert (model.layers, model.kv_heads, model.head_dim) == tuple(
            map(int, (layers, kv_heads, head_dim))
        )
        assert kv_bytes_per_token(model) == int(each.replace(",", ""))
        assert units.data_size(4096 * kv_bytes_per_token(model)) == four_thousand


def test_the_numbers_in_the_text_are_computed() -> None:
    mistral = find_model("Mistral-7B-Instruct-v0.2").architecture
    for precision, words in (
        ("awq", "0.52"),
        ("bitsandbytes", "0.5625"),
        ("fp8", "1"),
        ("fp16", "2"),
    ):
        assert f"| {words} |" in PAGE
        assert round(BYTES_PER_WEIGHT[precision], len(words.partition(".")[2])) == float(words)
    sizes = [units.data_size(weight_bytes(mistral, name)) for name in ("awq", "fp16")]
    assert f"of Mistral 7B it is {sizes[0]} against {sizes[1]}" in PAGE
    share = units.percent(GPU_MEMORY_UTILIZATION)
    assert f"takes {share} of the GPU's memory for the engine" in PAGE
    assert f"less {units.data_size(DRIVER_BYTES)} that the driver keeps" in PAGE
    smol = kv_bytes_per_token(find_model("SmolLM2-135M").architecture)
    assert f"2 GiB and 93,184 tokens, which is {2**31 / 93_184:,.0f} bytes" in PAGE
    assert f"the formula says {smol:,}" in PAGE
    one, many = (
        decode_floor(mistral, find_gpu("L40S"), batch=batch, context=1024).seconds
        for batch in (1, 64)
    )
    assert f"64 readers cost {many / one:.1f} times the time of one" in PAGE


def test_every_part_of_the_split_is_explained() -> None:
    for name in ("weights", "activations", "CUDA graphs", "driver's context and libraries"):
        assert any(name in told for told in NAMES.values())
        assert f"| {name} |" in PAGE


def test_every_plot_is_there_and_that_of_theory_is_as_computed() -> None:
    plots = re.findall(r"\]\((images/vram-\w+\.svg)\)", PAGE)
    assert sorted(plots) == [
        f"images/vram-{name}.svg" for name in ("memory", "needed", "reserved", "theory")
    ]
    made = runpy.run_path(str(ROOT / "docs" / "examples" / "vram_plots.py"))
    for plot in plots:
        assert texts((ROOT / "docs" / plot).read_text())
    assert texts((ROOT / "docs" / "images" / "vram-theory.svg").read_text()) == texts(
        made["theory"]()
    )


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.parse(io.StringIO(svg)).iter(f"{SVG}text")]
