"""The one change of a setting that a measured bottleneck calls for, what it should do, and its
risk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

from journal.compare.bottleneck import Bottleneck, Cause
from journal.compare.limit_evidence import Subject, model_of_run
from journal.errors import SpecError
from journal.plan.settings import Setting, changed_engine
from journal.records.experiment import Engine
from journal.records.load_shape import Closed
from journal.records.run import Record
from journal.serve.engines.vllm.defaults import BLOCK_TOKENS, GPU_MEMORY_UTILIZATION

Risk = Literal["answers", "memory", "latency", "starts"]

RATE, TTFT, TPOT = "output_tokens_per_s", "ttft_s.p50", "tpot_s.p50"
MOST_SHARE = 0.95  # of a GPU's memory for one engine
SPARE = 1.1  # times the pool that a whole batch takes


@dataclass(frozen=True, slots=True, kw_only=True)
class NextChange:
    """A change of one setting of an engine. `metric` is expected to be `low` to `high` times what
    it is. `gist` names the reason for the change."""

    cause: Cause
    setting: Setting
    before: Engine
    after: Engine
    gist: str
    metric: str
    low: float
    high: float
    risks: tuple[Risk, ...] = ()


Proposal = tuple[Setting, str, str, float, float, tuple[Risk, ...]]


def next_change(
    record: Record, found: Bottleneck | None, without: Sequence[Setting] = ()
) -> NextChange | None:
    """The change that the bottleneck of `record` calls for; None where no cause was measured, where
    no setting of a managed engine answers it, or where the setting is among those of `without`."""
    engine = record.cell.engine
    if found is None or found.cause is None or engine is None:
        return None
    for propose in PROPOSALS.get(found.cause, ()):
        proposal = propose(Subject(record), engine, found)
        if proposal is None or proposal[0] in without:
            continue
        setting, gist, metric, low, high, risks = proposal
        try:
            after = changed_engine(engine, setting)
        except SpecError:
            continue
        if after != engine:
            return NextChange(
                cause=found.cause,
                setting=setting,
                before=engine,
                after=after,
                gist=gist,
                metric=metric,
                low=low,
                high=high,
                risks=risks,
            )
    return None


def _without_waiting(case: Subject) -> float:
    """How many times the throughput may be once nobody waits: a closed loop sends as much more as
    its requests become shorter, or as more of them run (Little 1961), if steps stay as they are.
    A request that was preempted waits beside what the queue counts."""
    waits, running = case.waits, case.value("server_running_mean")
    shape = case.record.cell.shape
    by_time = 1.0 if waits is None else 1 / max(0.05, 1 - waits)
    return max(by_time, shape.value / running if running and isinstance(shape, Closed) else 1.0)


def _more_at_once(case: Subject, _: Engine, __: Bottleneck) -> Proposal | None:
    shape, running = case.record.cell.shape, case.value("server_running_peak")
    if running is None:
        return None
    most = shape.batch if isinstance(shape, Closed) else ceil(running * 2)
    if most <= running:
        return None
    risks: tuple[Risk, ...] = ("memory", "latency")
    return Setting("max_num_seqs", most), "more_at_once", RATE, 1.0, _without_waiting(case), risks


def _larger_pool(case: Subject, engine: Engine, _: Bottleneck) -> Proposal | None:
    """The pool that a whole batch takes at its full length. On a GPU whose memory is shared out by
    a part of it, first the larger part."""
    cell, facts = case.record.cell, case.record.facts
    high, on_gpu = _without_waiting(case), facts.card is not None
    if on_gpu and engine.kv_cache_memory_bytes is None:
        share = engine.gpu_memory_utilization or GPU_MEMORY_UTILIZATION
        if share >= MOST_SHARE:
            return None
        setting = Setting("gpu_memory_utilization", MOST_SHARE)
        return setting, "larger_pool", RATE, 1.0, high, ("memory", "starts")
    tokens, pool = facts.kv_pool_tokens, facts.kv_pool_bytes
    whole = cell.whole_tokens
    if not tokens or not pool or whole is None or not isinstance(cell.shape, Closed):
        return None
    block = facts.block_size or BLOCK_TOKENS
    each = -(-whole // block) * block
    wanted = ceil(pool / tokens * each * (cell.shape.batch + 1) * SPARE)
    if wanted <= pool:
        return None
    setting = Setting("kv_cache_memory_bytes", wanted)
    return setting, "larger_pool", RATE, 1.0, high, ("memory", "starts")


def _smaller_tokens(case: Subject, engine: Engine, _: Bottleneck) -> Proposal | None:
    if case.record.facts.card is None or any("kv-cache-dtype" in flag for flag in engine.flags):
        return None
    setting = Setting("kv_cache_dtype", "fp8")
    return setting, "smaller_tokens", RATE, 1.0, _without_waiting(case), ("answers",)


def _prefix_cache(case: Subject, engine: Engine, _: Bottleneck) -> Proposal | None:
    shared, prompt = case.record.cell.workload.shared_prefix, case.record.cell.prompt_tokens
    if engine.prefix_caching or not shared or not prompt:
        return None
    least = 1 - shared / prompt
    return Setting("prefix_caching", True), "prefix_cache", TTFT, least, 1.0, ("memory",)


def _more_gpus(metric: str) -> Callable[[Subject, Engine, Bottleneck], Proposal | None]:
    def proposal(case: Subject, engine: Engine, _: Bottleneck) -> Proposal | None:
        cards = case.record.facts.cards or 0
        if cards < 2 * engine.gpu_count:
            return None
        setting = Setting("tensor_parallel", 2 * engine.tensor_parallel)
        return setting, "more_gpus", metric, 0.5, 1.0, ("starts",)

    return proposal


def _fewer_gpus(_: Subject, engine: Engine, found: Bottleneck) -> Proposal | None:
    gain, fewer = found.values.get("gain"), found.values.get("fewer")
    if not isinstance(gain, float) or not isinstance(fewer, int) or gain >= 1:
        return None
    if engine.pipeline_parallel != 1:
        return None
    return Setting("tensor_parallel", fewer), "fewer_gpus", TPOT, gain, 1.0, ("memory", "starts")


def _graphs(_: Subject, engine: Engine, found: Bottleneck) -> Proposal | None:
    """CUDA graphs, where they were switched off: a step is then launched at once."""
    if "--enforce-eager" not in engine.flags:
        return None
    used = found.values.get("used")
    least = used if isinstance(used, float) else 0.5
    return Setting("enforce_eager", False), "graphs", TPOT, least, 1.0, ("memory", "starts")


def _fewer_bytes(case: Subject, engine: Engine, _: Bottleneck) -> Proposal | None:
    """Weights of 8 bits, where a step reads 16: the floors of both say what that may gain."""
    model, shape = model_of_run(case), case.record.cell.shape
    if model is None or model.gpu is None or engine.quantisation is not None:
        return None
    if model.precision not in ("fp16", "fp32") or not isinstance(shape, Closed):
        return None
    context = case.record.cell.prompt_tokens
    if context is None:
        return None
    now_s = model.tpot_floor_s(shape.batch, context)
    then_s = replace(model, precision="fp8").tpot_floor_s(shape.batch, context)
    if not now_s or not then_s or then_s >= now_s:
        return None
    least = then_s / now_s
    return Setting("quantisation", "fp8"), "fewer_bytes", TPOT, least, 1.0, ("answers", "starts")


PROPOSALS: dict[Cause, tuple[Callable[[Subject, Engine, Bottleneck], Proposal | None], ...]] = {
    "queue": (_more_at_once,),
    "kv_pool": (_larger_pool, _smaller_tokens),
    "cold_cache": (_prefix_cache,),
    "prefill": (_prefix_cache, _more_gpus(TTFT)),
    "communication": (_fewer_gpus,),
    "host": (_graphs,),
    "bandwidth": (_fewer_bytes, _more_gpus(TPOT)),
    "compute": (_fewer_bytes, _more_gpus(TPOT)),
}
