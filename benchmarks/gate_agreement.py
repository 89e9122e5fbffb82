"""The verdicts of `journal check` beside those of inference-doctor on the same figures.

    python -m benchmarks.gate_agreement INFERENCE_DOCTOR [--cases 60] [--write FILE]

Throughputs of two sides are drawn with a known true change, and both gates judge them by the same
limit. INFERENCE_DOCTOR is its program, of an environment of its own. Prints how often each pair of
verdicts came; `--write` keeps the figures with its verdicts, which tests/compare/test_gate.py
judges again.
"""

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.drawn_run import drawn_run
from journal.compare.comparison import compared
from journal.compare.gate import Outcome, gate
from journal.compare.sides import Side
from journal.metrics.table import named
from journal.records.experiment import Engine
from journal.records.figure import Figure

RATE = "output_tokens_per_s"
LIMIT = 0.05
CHANGES = (0.0, 0.03, 0.05, 0.08, 0.15)  # for the worse
EXITS = {0: "PASS", 1: "FAIL", 2: "INCONCLUSIVE"}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The throughputs of the repeats of two sides, and the verdict of inference-doctor."""

    baseline: tuple[float, ...]
    candidate: tuple[float, ...]
    theirs: str


def ours(baseline: Sequence[float], candidate: Sequence[float]) -> Outcome:
    """The verdict of `journal check` on runs with these throughputs, whose engines were started
    for each repeat, in turn."""
    sides = [
        tuple(
            drawn_run(
                Engine(model=model),
                minute=2 * repeat + place,
                repeat=repeat,
                metrics={RATE: Figure(value)},
            )
            for repeat, value in enumerate(of)
        )
        for place, (model, of) in enumerate((("a", baseline), ("b", candidate)))
    ]
    a, b = (Side(name, "model", runs) for name, runs in zip("ab", sides, strict=True))
    return gate(compared(a, b), {named(RATE): LIMIT}).outcome


def theirs(program: str, baseline: Sequence[float], candidate: Sequence[float]) -> str:
    """The verdict of inference-doctor on the same throughputs."""
    with tempfile.TemporaryDirectory() as folder:
        for side, values in (("baseline", baseline), ("candidate", candidate)):
            Path(folder, side).mkdir()
            for number, value in enumerate(values):
                result = {
                    "schema_version": "1",
                    "environment": {"gpu": "g", "model": "m"},
                    "benchmark_parameters": {"batch": 1},
                    "metrics": {
                        "output_token_throughput": value,
                        "requests": {"successful": 24, "failed": 0},
                    },
                }
                Path(folder, side, f"repetition-{number}.json").write_text(json.dumps(result))
        command = [program, "compare-runs", "--format", "normalized"]
        command += ["--regression-percent", f"{100 * LIMIT:g}"]
        for side in ("baseline", "candidate"):
            command += [f"--{side}", str(Path(folder, side))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in EXITS:
        raise SystemExit(done.stdout + done.stderr)
    return EXITS[done.returncode]


def drawn(program: str, cases: int, seed: int = 1) -> list[Drawn]:
    """Cases of three to eight repeats, whose runs scatter by 1 to 3%."""
    chance = np.random.default_rng(seed)
    made = []
    for number in range(cases):
        repeats, spread = int(chance.integers(3, 9)), float(chance.uniform(0.01, 0.03))
        sides = []
        for value in (100.0, 100.0 * (1 - CHANGES[number % len(CHANGES)])):
            luck = np.exp(chance.normal(0, spread, repeats))
            sides.append(tuple(round(float(value * factor), 3) for factor in luck))
        a, b = sides
        made.append(Drawn(baseline=a, candidate=b, theirs=theirs(program, a, b)))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("program", help="inference-doctor's program")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    made = drawn(options.program, options.cases)
    counts = Counter((ours(case.baseline, case.candidate), case.theirs) for case in made)
    for (own, other), count in sorted(counts.items()):
        print(f"journal {own:12} inference-doctor {other:12} {count}")
    if options.write:
        lines = (json.dumps(asdict(case)) for case in made)
        options.write.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
