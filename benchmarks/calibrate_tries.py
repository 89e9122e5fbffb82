"""Calibration of trials: the right change for each planted cause, and a useless one.

    python -m benchmarks.calibrate_tries [--trials 200] [--write]

The cause is planted in a simulated run, whose bottleneck calls for a change; what the change does
is measured on the simulated engine. Trials are then drawn around that: starts that differ by 2%,
runs that differ by 1%, in turn, judged as `journal try` judges them, with its second look.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from benchmarks.calibrate_bottlenecks import PAGE, measured, scripted, sizes, usual
from benchmarks.page import calibration, put
from benchmarks.simulated import Setting
from journal.compare.bottleneck import Cause, bottleneck
from journal.compare.next_change import NextChange, next_change
from journal.compare.tried import Verdict, tried
from journal.records.engine import EngineFacts
from journal.records.experiment import ChangeTrial, Engine
from journal.records.figure import Figure
from journal.records.run import Record
from journal.run.tries import LOOKS, STARTS, planned_trial

TRIALS = 200
SEED = 20_261_130
START_SPREAD, RUN_SPREAD = 0.02, 0.01  # relative, from start to start and from run to run
BEGAN = datetime(2026, 11, 30, tzinfo=UTC)
ENGINE = Engine(model="simulated")
Random = np.random.Generator


@dataclass(frozen=True, slots=True)
class Remedied:
    """A planted cause, and what its change does to the simulated engine."""

    name: str
    cause: Cause
    draw: Callable[[Random], tuple[Setting, ...]]
    change: Callable[[Setting, NextChange], Setting]


def few_at_once(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    engine = replace(ENGINE, flags=("--max-num-seqs", str(run.batch // 4)))
    return (replace(scripted(run, max_running=run.batch // 4), engine=engine),)


def more_at_once(run: Setting, change: NextChange) -> Setting:
    return scripted(run, max_running=change.setting.value)


def small_pool(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    each = -(-(run.prompt_tokens + run.output_tokens) // run.script.block_size)
    blocks = each * run.batch // 3
    tokens = blocks * run.script.block_size
    facts = EngineFacts(kv_pool_tokens=tokens, kv_pool_bytes=tokens * 1000, block_size=16)
    return (replace(scripted(run, kv_blocks=blocks), engine=ENGINE, facts=facts),)


def larger_pool(run: Setting, change: NextChange) -> Setting:
    return scripted(run, kv_blocks=int(change.setting.value) // 1000 // run.script.block_size)


def shared_prompts(random: Random) -> tuple[Setting, ...]:
    run = usual(random, prefill_blocks=True, prefill_s_per_token=4e-4)
    run = replace(run, prompt_tokens=2048, output_tokens=32, batch=8, shared_prefix=1536)
    return (replace(run, engine=ENGINE),)


def prefix_cache(run: Setting, _: NextChange) -> Setting:
    return scripted(run, prefix_caching=True)


def long_prompts(random: Random) -> tuple[Setting, ...]:
    run = usual(random, prefill_blocks=True, prefill_s_per_token=4e-4)
    run = replace(run, prompt_tokens=2048, output_tokens=32, batch=8)
    return (replace(run, engine=ENGINE, facts=EngineFacts(cards=2)),)


def more_gpus(run: Setting, _: NextChange) -> Setting:
    return scripted(run, gpus=2)


def slow_links(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    two = scripted(run, gpus=2, exchange_s=run.script.itl_s)
    engine = replace(ENGINE, tensor_parallel=2)
    return replace(two, engine=engine), replace(run, engine=ENGINE, seed=1)


def fewer_gpus(run: Setting, _: NextChange) -> Setting:
    return scripted(run, gpus=1)


def launched(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    engine = replace(ENGINE, flags=("--enforce-eager",))
    return (replace(scripted(run, host_s=run.script.itl_s), engine=engine, gpu_use=True),)


def graphs(run: Setting, _: NextChange) -> Setting:
    return scripted(run, host_s=0.0)


def growing_steps(random: Random) -> tuple[Setting, ...]:
    run = usual(random)
    facts = replace(sizes(), cards=2)
    run = replace(scripted(run, itl_s_per_running=run.script.itl_s), engine=ENGINE, facts=facts)
    return run, replace(run, batch=run.batch // 4, seed=1)


def flat_steps(random: Random) -> tuple[Setting, ...]:
    run = replace(usual(random), engine=ENGINE, facts=replace(sizes(), cards=2))
    return run, replace(run, batch=run.batch // 4, seed=1)


REMEDIED = (
    Remedied("few requests at once", "queue", few_at_once, more_at_once),
    Remedied("a small KV pool", "kv_pool", small_pool, larger_pool),
    Remedied("shared prefixes that are not cached", "cold_cache", shared_prompts, prefix_cache),
    Remedied("long prompts, and a GPU that is free", "prefill", long_prompts, more_gpus),
    Remedied("GPUs with slow links", "communication", slow_links, fewer_gpus),
    Remedied("steps launched one by one", "host", launched, graphs),
    Remedied("steps of arithmetic, and a GPU that is free", "compute", growing_steps, more_gpus),
    Remedied("steps of bytes, and a GPU that is free", "bandwidth", flat_steps, more_gpus),
)


def effect(remedied: Remedied, seed: int = 0) -> tuple[NextChange, float]:
    """The change that the bottleneck of a planted cause calls for, and the ratio of its metric on
    the simulated engine with it to that without."""
    settings = remedied.draw(np.random.default_rng([SEED, seed]))
    records = [measured(setting, n) for n, setting in enumerate(settings)]
    found = bottleneck(records[0], records)
    assert found is not None and found.cause == remedied.cause, found
    change = next_change(records[0], found)
    assert change is not None, found
    after = measured(replace(remedied.change(settings[0], change), seed=2))
    values = records[0].value(change.metric), after.value(change.metric)
    assert values[0] and values[1]
    return change, values[1] / values[0]


def verdict(
    trial: ChangeTrial, before: Engine, after: Engine, ratio: float, random: Random
) -> Verdict:
    """The verdict of a trial of a change whose true effect is `ratio`, with its second look."""
    records: list[Record] = []
    repeats = STARTS
    for _ in range(LOOKS):
        for number in range(repeats):
            sides = ((before, 1.0), (after, ratio))
            for engine, factor in sides[::-1] if number % 2 else sides:
                records.append(_run(trial.metric, engine, factor, len(records), random))
        found = tried(trial, before, after, records)
        if found.verdict != "undecided":
            break
        repeats *= 2
    return found.verdict


def _run(metric: str, engine: Engine, factor: float, number: int, random: Random) -> Record:
    spread = float(np.hypot(START_SPREAD, RUN_SPREAD))
    value = 100 * factor * float(np.exp(spread * random.standard_normal()))
    cell = replace(Setting(engine=engine).cell(), repeat=number)
    return Record(
        id=f"{number:016x}",
        experiment_id="e1",
        cell=cell,
        status="valid",
        started_at=BEGAN + timedelta(minutes=number),
        duration_s=30.0,
        metrics={metric: Figure(value)},
        facts=EngineFacts(log_path=f"engine-{number}.log", start_s=1.0),
    )


def shares(remedied: Remedied, trials: int) -> Iterator[tuple[str, float, Counter[Verdict]]]:
    """The verdicts on the right change, and on one that does nothing, with their true ratios."""
    change, ratio = effect(remedied)
    trial = planned_trial(change, measured(Setting(engine=ENGINE, requests=8)))
    random = np.random.default_rng([SEED, trials])
    for name, truth in (("the right change", ratio), ("a useless one", 1.0)):
        drawn = Counter(
            verdict(trial, change.before, change.after, truth, random) for _ in range(trials)
        )
        yield name, truth, drawn


def main() -> None:
    options = calibration(__doc__, TRIALS).parse_args()
    lines = ["| cause | change | metric, true ratio | kept | reverted | undecided |"]
    lines.append("| --- | --- | --- | --: | --: | --: |")
    for remedied in REMEDIED:
        change, _ = effect(remedied)
        for name, truth, drawn in shares(remedied, options.trials):
            counts = [drawn[v] / options.trials for v in ("kept", "reverted", "undecided")]
            cells = " | ".join(f"{share:.1%}" for share in counts)
            tells = f"`{change.metric}` {truth:.2f}"
            which = f"`{change.setting}`" if truth != 1.0 else name
            lines.append(f"| {remedied.name} | {which} | {tells} | {cells} |")
            print(lines[-1], flush=True)
    if options.write:
        put("tries", "\n".join(lines), PAGE)


if __name__ == "__main__":
    main()
