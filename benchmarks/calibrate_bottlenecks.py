"""Calibration of bottlenecks: causes planted in simulated runs, and the classes they are given.

    python -m benchmarks.calibrate_bottlenecks [--trials 200] [--write]

Each trial draws batch, lengths and noise anew. The engine is the simulated one, with its own queue,
pool and clock; `--write` puts the matrix and the rules into docs/bottlenecks.md.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np

from benchmarks.page import ROOT, calibration, put
from benchmarks.simulated import Setting, simulated
from journal.compare.bottleneck import RULES, Bottleneck, Cause, bottleneck
from journal.doubts.rules import doubts, status
from journal.metrics.table import metrics
from journal.metrics.view import View
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine
from journal.records.run import Record
from journal.simulator.engine_model import Script
from journal.theory.model_table import find_model

PAGE = ROOT / "docs" / "bottlenecks.md"
TRIALS = 200
SEED = 20_261_130
CANNOT = "cannot tell"
MODEL = "Qwen/Qwen2.5-7B-Instruct"
SMALL = {**find_model(MODEL).config, "hidden_size": 64, "intermediate_size": 128, "head_dim": 8}
SMALL |= {"num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4}

Random = np.random.Generator
Draw = Callable[[Random], tuple[Setting, ...]]


@dataclass(frozen=True, slots=True)
class Planted:
    """A cause planted in runs: `draw` gives the settings of an experiment, of which the first is
    judged."""

    name: str
    cause: Cause
    draw: Draw


def usual(random: Random, **script: Any) -> Setting:
    """A healthy run."""
    noise = float(random.uniform(0.02, 0.1))
    given = {"ttft_s": 0.03, "itl_s": float(random.uniform(0.008, 0.02)), "noise_fraction": noise}
    return Setting(
        script=Script(**{**given, "noise_seed": int(random.integers(1 << 30)), **script}),
        batch=int(random.choice([8, 16, 32])),
        requests=int(random.choice([48, 96])),
        prompt_tokens=int(random.choice([64, 128, 256])),
        output_tokens=int(random.choice([32, 48, 64])),
    )


def few_at_once(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    return (scripted(run, max_running=max(1, run.batch // int(random.choice([2, 4])))),)


def small_pool(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    each = -(-(run.prompt_tokens + run.output_tokens) // run.script.block_size)
    share = random.uniform(0.3, 0.7)
    return (scripted(run, kv_blocks=max(each + 1, int(share * each * run.batch))),)


def long_prompts(random: Random) -> tuple[Setting, ...]:
    run = usual(random, prefill_blocks=True, prefill_s_per_token=float(random.uniform(1e-4, 1e-3)))
    return (replace(run, prompt_tokens=int(random.choice([2048, 4096])), output_tokens=32),)


def flat_steps(random: Random) -> tuple[Setting, ...]:
    run = replace(usual(random), facts=sizes())
    return run, replace(run, batch=run.batch // 4, seed=1)


def launches(random: Random) -> tuple[Setting, ...]:
    run = replace(usual(random), facts=replace(sizes(), config=SMALL))
    return run, replace(run, batch=run.batch // 4, seed=1)


def growing_steps(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    run = scripted(run, itl_s_per_running=run.script.itl_s)
    run = replace(run, facts=sizes())
    return run, replace(run, batch=run.batch // 4, seed=1)


def slow_links(random: Random) -> tuple[Setting, ...]:
    run, gpus = usual(random), int(random.choice([2, 4]))
    ideal_s = run.script.itl_s / gpus
    over_s = random.uniform(1.5, 4) * (run.script.itl_s - ideal_s) / (gpus - 1)
    engine = Engine(model="simulated")
    one = replace(run, engine=engine)
    many = scripted(run, gpus=gpus, exchange_s=float(over_s))
    return replace(many, engine=replace(engine, tensor_parallel=gpus)), replace(one, seed=1)


def slow_client(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    return (replace(run, chunk_s=run.script.itl_s / run.batch * random.uniform(1.0, 2.0)),)


def slow_host(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    host_s = run.script.itl_s * float(random.uniform(1.0, 3.0))
    return (replace(scripted(run, host_s=host_s), gpu_use=True),)


def far_away(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    alone_s = run.script.ttft_s + run.script.itl_s * run.output_tokens
    return (replace(run, way_s=alone_s * float(random.uniform(0.4, 1.5))),)


def behind_proxy(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    return (replace(run, let_through=max(1, run.batch // int(random.choice([2, 4])))),)


def cold_start(random: Random) -> tuple[Setting, ...]:
    run = usual(random, cold_s=float(random.uniform(1.0, 3.0)))
    return (scripted(run, cold_requests=run.batch + run.warmup),)


def cold_prefix(random: Random) -> tuple[Setting, ...]:
    (run,) = long_prompts(random)
    shared = run.prompt_tokens * 3 // 4
    return (replace(run, shared_prefix=shared),)


PLANTED = (
    Planted("few requests at once", "queue", few_at_once),
    Planted("a small KV pool", "kv_pool", small_pool),
    Planted("long prompts", "prefill", long_prompts),
    Planted("steps that cost the same for any batch", "bandwidth", flat_steps),
    Planted("steps that cost as much as their batch", "compute", growing_steps),
    Planted("GPUs with slow links", "communication", slow_links),
    Planted("a slow client", "client", slow_client),
    Planted("a GPU that waits for its host", "host", slow_host),
    Planted("a small model whose steps are launched slowly", "host", launches),
    Planted("a server far away", "network", far_away),
    Planted("a proxy that lets few through", "network", behind_proxy),
    Planted("a cold start", "cold_cache", cold_start),
    Planted("shared prefixes that are not cached", "cold_cache", cold_prefix),
)


def scripted(setting: Setting, **changes: Any) -> Setting:
    return replace(setting, script=replace(setting.script, **changes))


def sizes() -> EngineFacts:
    """A model of which the sizes are known, and no GPU."""
    return EngineFacts(config=find_model(MODEL).config, dtype="bfloat16")


def measured(setting: Setting, number: int = 0) -> Record:
    """One run as the journal records it."""
    samples = simulated(setting)
    view = View(samples)
    figures = metrics(view)
    raised = doubts(view, figures)
    return Record(
        id=f"{number:016x}",
        experiment_id="e1",
        cell=samples.cell,
        status=status(view, raised),
        started_at=datetime(2026, 11, 30, tzinfo=UTC),
        duration_s=30.0,
        metrics=figures,
        doubts=raised,
        facts=samples.facts,
    )


def judged(planted: Planted, trial: int) -> Bottleneck:
    """The bottleneck of one experiment with a planted cause."""
    random = np.random.default_rng([SEED, zlib.crc32(planted.name.encode()), trial])
    records = [measured(setting, n) for n, setting in enumerate(planted.draw(random))]
    found = bottleneck(records[0], records)
    assert found is not None
    return found


def matrix(trials: int) -> Iterator[tuple[Planted, Counter[str]]]:
    """The classes given to each planted cause."""
    for planted in PLANTED:
        yield planted, Counter(judged(planted, trial).cause or CANNOT for trial in range(trials))


def table(rows: list[tuple[Planted, Counter[str]]]) -> str:
    columns = (*get_args(Cause), CANNOT)
    head = f"| planted | {' | '.join(name.replace('_', ' ') for name in columns)} |"
    lines = [head, f"| --- |{' --: |' * len(columns)}"]
    for planted, counts in rows:
        cells = (
            f"**{counts[c]}**" if c == planted.cause else f"{counts[c] or ''}" for c in columns
        )
        lines.append(f"| {planted.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rules() -> str:
    """The rules as a table, in their order."""
    lines = ["| class | seen by | reason or source |", "| --- | --- | --- |"]
    lines += [
        f"| {rule.cause.replace('_', ' ')} | {rule.threshold} | {rule.reason} |" for rule in RULES
    ]
    return "\n".join(lines)


def main() -> None:
    options = calibration(__doc__, TRIALS).parse_args()
    rows = []
    for planted, counts in matrix(options.trials):
        rows.append((planted, counts))
        print(planted.name, dict(counts), flush=True)
    if options.write:
        put("matrix", table(rows), PAGE)
        put("rules", rules(), PAGE)


if __name__ == "__main__":
    main()
