"""What load tools say of one server whose truth is known, each imported and set beside the truth.

    python -m benchmarks.parity [--write] [--guidellm PROGRAM] [--aiperf PROGRAM --tokenizer FOLDER]

Each tool that is found (vLLM's in this environment, GuideLLM and AIPerf as programs, the journal
itself) measures the same scripted server, in one order and then in the other; its result file is
imported, and the differences of its figures from the script are printed. `--write` puts them into
docs/parity.md. A tool that fails is left out, and its last words stand below the table. The
differences say nothing where the machine is busy: the load average stands beside them.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.page import ROOT, machine, put
from journal import units
from journal.errors import JournalError
from journal.exchange.import_results import import_results
from journal.records.run import Record
from journal.simulator.http import Script, running
from journal.store.store import open_store

PARITY = ROOT / "docs" / "parity.md"
MODEL = "simulated-model"
PROMPT = "one two three four five six seven eight"
SCRIPT = Script(ttft_s=0.05, itl_s=0.01)
TOKENS, STREAMS, REQUESTS, ROUNDS = 16, 4, 64, 2
TRUTH = {
    "ttft_s.mean": SCRIPT.ttft_s,
    "tpot_s.mean": SCRIPT.itl_s,
    "e2e_s.mean": SCRIPT.ttft_s + (TOKENS - 1) * SCRIPT.itl_s,
}
QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
# The console script of vLLM's CPU build does not start; its function does.
VLLM = (
    "import argparse\nfrom vllm.benchmarks.serve import add_cli_args, main\n"
    "parser = argparse.ArgumentParser()\nadd_cli_args(parser)\nmain(parser.parse_args())\n"
)

TRIES_S = 600.0  # the longest that a tool may take for one measurement


class ToolFailed(Exception):
    """A tool did not measure: its last words, on one line."""


Measure = Callable[[str, Path], Record]


@dataclass(frozen=True, slots=True)
class Tool:
    """A load tool: `measure` sends the load to a base URL and gives the run that its result file
    becomes, with its files and a journal in a folder."""

    name: str
    measure: Measure


def ours(url: str, folder: Path) -> Record:
    """The journal's own measurement."""
    options = f"""run --endpoint {url} --concurrency {STREAMS} --requests {REQUESTS}
        --output-tokens {TOKENS} --prompt-tokens 8 --home {folder}"""
    _call([sys.executable, "-m", "journal", *options.split()])
    with open_store(folder) as store:
        return store.run("last")


def vllm_bench(url: str, folder: Path) -> Record:
    """The measurement of `vllm bench serve`."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": PROMPT}) + "\n")
    options = f"""--backend openai --base-url {url.removesuffix("/v1")} --model {MODEL}
        --endpoint /v1/completions --skip-tokenizer-init --dataset-name custom
        --dataset-path {prompts} --num-prompts {REQUESTS} --max-concurrency {STREAMS}
        --save-result --save-detailed --result-dir {folder} --result-filename result.json
        --disable-tqdm"""
    more = ["--extra-body", json.dumps({"max_tokens": TOKENS})]
    _call([sys.executable, "-c", VLLM, *options.split(), *more])
    return _imported(folder / "result.json", folder)


def guidellm(program: str) -> Measure:
    """The measurement of GuideLLM, which is `program`."""

    def measure(url: str, folder: Path) -> Record:
        prompts, report = folder / "prompts.jsonl", folder / "report.json"
        line = json.dumps({"prompt": PROMPT, "output_tokens_count": TOKENS}) + "\n"
        prompts.write_text(line * REQUESTS)
        target = url.removesuffix("/v1")
        options = f"""run --disable-console --profile kind=concurrent,streams={STREAMS}
            --backend kind=openai_http,target={target},model={MODEL},request_format=/v1/completions
            --constraint kind=max_requests,count={REQUESTS}
            --data kind=json_file,path={prompts} --output kind=json,path={report}"""
        _call([program, *options.split()])
        return _imported(report, folder)

    return measure


def aiperf(program: str, tokenizer: str) -> Measure:
    """The measurement of AIPerf, which is `program`; `tokenizer` is a folder on this machine."""

    def measure(url: str, folder: Path) -> Record:
        options = f"""profile --model {MODEL} --url {url.removesuffix("/v1")} --streaming
            --endpoint-type completions --concurrency {STREAMS} --request-count {REQUESTS}
            --isl 8 --osl {TOKENS} --tokenizer {tokenizer} --output-artifact-dir {folder}/out
            --extra-inputs ignore_eos:true --ui none"""
        _call([program, *options.split()], HF_HUB_OFFLINE="")  # else it takes no folder
        return _imported(folder / "out", folder)

    return measure


def _imported(path: Path, folder: Path) -> Record:
    (record,) = import_results(path, folder).records
    return record


def _call(command: Sequence[str], **env: str) -> None:
    """Run a tool. Raises ToolFailed where it fails or takes longer than TRIES_S."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **QUIET, **env},
            capture_output=True,
            text=True,
            timeout=TRIES_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(f"no end after {TRIES_S:g} s") from error
    if done.returncode != 0:
        lines = (line.strip(" │╭╮╰╯─\t") for line in (done.stdout + done.stderr).splitlines())
        said = [line for line in lines if line]
        raise ToolFailed(" ".join(said[-2:])[-300:] or f"it ended with {done.returncode}")


def found(options: argparse.Namespace) -> list[Tool]:
    """The tools that can run here."""
    tools = [Tool("the journal", ours)]
    if importlib.util.find_spec("vllm") is not None:
        tools.append(Tool("vllm bench serve", vllm_bench))
    if program := shutil.which(options.guidellm):
        tools.append(Tool("GuideLLM", guidellm(program)))
    if (program := shutil.which(options.aiperf)) and options.tokenizer:
        tools.append(Tool("AIPerf", aiperf(program, options.tokenizer)))
    return tools


def measured(
    tools: Sequence[Tool], rounds: int = ROUNDS
) -> tuple[dict[str, list[Record]], dict[str, str]]:
    """The runs of each tool that measures: all tools in order, then in the other order, and so on;
    and why the others failed, by their names. A tool that failed once is not tried again."""
    runs: dict[str, list[Record]] = {tool.name: [] for tool in tools}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for tool in tools if number % 2 == 0 else tools[::-1]:
            if tool.name in failed:
                continue
            with tempfile.TemporaryDirectory() as folder, running(SCRIPT) as url:
                try:
                    runs[tool.name].append(tool.measure(url, Path(folder)))
                except (ToolFailed, JournalError) as error:
                    failed[tool.name] = str(error)
    return {name: records for name, records in runs.items() if name not in failed}, failed


def section(
    runs: Mapping[str, Sequence[Record]], failed: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The table of differences from the truth, over the runs of each tool, and the tools that
    failed with their reasons, as Markdown."""
    heads = [f"{name}: {units.seconds(value)}" for name, value in TRUTH.items()]
    lines = [
        f"| tool | version | {' | '.join(heads)} | doubts of its file |",
        f"| --- | --- |{' --- |' * (len(TRUTH) + 1)}",
    ]
    for tool, records in runs.items():
        cells = [_apart([one.value(name) for one in records], TRUTH[name]) for name in TRUTH]
        names = {doubt.name for one in records for doubt in one.doubts}
        version = records[0].environment.get("tool_version")
        flag = "`tool_differs`" if "tool_differs" in names else ""
        lines.append(f"| {tool} | {version or ''} | {' | '.join(cells)} | {flag} |")
    lines += [""] + [f"{tool} did not measure: `{why}`." for tool, why in failed.items()]
    lines += [""] if failed else []
    lines.append(
        f"{REQUESTS} requests in batches of {STREAMS}, {TOKENS} tokens each, on a simulated "
        f"server; {machine('serving-journal')} Load average {os.getloadavg()[1]:.1f}{_busy()}."
    )
    return "\n".join(lines)


def _busy() -> str:
    """A remark on a machine with more to do than it has cores."""
    few = os.getloadavg()[1] > len(os.sched_getaffinity(0))
    return ", with more to do than there are cores: every tool woke late" if few else ""


def _apart(values: Sequence[float | None], truth: float) -> str:
    """The least and the greatest difference from the truth, in ms with a sign."""
    known = [(value - truth) * 1e3 for value in values if value is not None]
    if not known:
        return units.ABSENT
    low, high = f"{min(known):+.2f}", f"{max(known):+.2f}"
    return f"{low} ms" if low == high else f"{low} to {high} ms"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity")
    parser.add_argument("--write", action="store_true", help="put it into docs/parity.md")
    parser.add_argument("--guidellm", default="guidellm", metavar="PROGRAM")
    parser.add_argument("--aiperf", default="aiperf", metavar="PROGRAM")
    parser.add_argument("--tokenizer", metavar="FOLDER", help="for AIPerf, which asks for one")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    text = section(*measured(found(options), options.rounds))
    print(text)
    if options.write:
        put("parity", text, PARITY)


if __name__ == "__main__":
    main()
