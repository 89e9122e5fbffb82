"""A made-up day whose figures follow simple rules, and the builders it is made of."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from builders import BEGAN, a_day, a_record, an_experiment

from journal.records.doubt import Doubt
from journal.records.engine import EngineFacts
from journal.records.experiment import Engine, Grid, Load
from journal.records.figure import Figure
from journal.records.run import ExperimentRecord, Record
from journal.report.checklist import Step
from journal.report.day import Day
from journal.report.document import say

Build = Callable[..., Record]


def served(
    model: str,
    weights_gib: float,
    speed: float,
    *,
    number: int,
    repeat: int,
    batch: int,
    prompt: int,
) -> Record:
    """A run on a server that saturates at batch 16, with 2% of wobble between repeats."""
    wobble = 1 + 0.005 * repeat
    step_s = (0.018 + 0.0001 * batch + 0.0012 * max(0, batch - 16)) / speed * wobble
    ttft_s = (0.012 + prompt * 0.00011 * (1 + batch / 8)) / speed * wobble
    rate = batch / (step_s + ttft_s / 128)
    pool = 44.16 - weights_gib - 1.2
    tokens = int(pool * 2**30 / 131072)
    metrics = {
        "ttft_s.p50": Figure(ttft_s, ttft_s * 0.95, ttft_s * 1.06, 64),
        "ttft_s.p90": Figure(ttft_s * 1.5, ttft_s * 1.4, ttft_s * 1.7, 64),
        "tpot_s.p50": Figure(step_s, step_s * 0.99, step_s * 1.01, 64),
        "e2e_s.p50": ttft_s + 127 * step_s,
        "output_tokens_per_s": Figure(rate, rate * 0.98, rate * 1.02, 64),
        "vram_peak_bytes": 44.16 * 2**30,
        "kv_cache_peak_fraction": batch * (prompt + 128) / tokens,
        "kv_cache_peak_bytes": batch * (prompt + 128) / tokens * int(pool * 2**30),
        "preemptions": 0.0,
        "server_running_peak": float(batch),
        "characters_per_s": rate * (4.2 if "Llama" in model else 3.7),
        "energy_per_output_token_j": 290 / rate,
        "usd_per_million_output_tokens": 1.2 / 3600 * 1e6 / rate,
        "output_tokens_per_s_per_w": rate / 290,
        "energy_by_counter_j": 290 * 64 * 128 / rate,
        **theory(weights_gib, pool, tokens, ttft_s / (prompt * 0.00002), step_s / 0.015),
        "ttft_floor_s": prompt * 0.00002,
    }
    doubts = []
    if batch == 32:
        doubts.append(
            Doubt(
                "drift",
                {
                    "metric": "tpot_s",
                    "before_s": 0.041,
                    "after_s": 0.0459,
                    "at_fraction": 0.5,
                    "remedy": "look",
                },
            ),
        )
    return a_record(
        model,
        batch,
        prompt,
        number=number,
        metrics=metrics,
        repeat=repeat,
        identity=f"{model}-{batch}-{prompt}-{repeat}",
        output_tokens=128,
        experiment="batch-and-prompt",
        load=Load(requests=64, repeats=2),
        engine=Engine(model=model, dtype="bfloat16", max_model_len=8192),
        doubts=tuple(doubts),
        status="flagged" if doubts else "valid",
        facts=EngineFacts(
            version="0.32.0",
            start_s=74.2 + 0.01 * repeat,  # every repeat has a start of its own
            weights_bytes=int(weights_gib * 2**30),
            kv_pool_bytes=int(pool * 2**30),
            kv_pool_tokens=tokens,
            block_size=16,
            activation_bytes=int(0.6 * 2**30),
            graph_bytes=int(0.3 * 2**30),
            context_bytes=int(0.2 * 2**30),
            log_path=f"engines/{model}.log",
        ),
    )


def theory(
    weights_gib: float, pool_gib: float, tokens: int, ttft: float, tpot: float
) -> dict[str, float | Figure]:
    """Predictions that come true, and latencies some times above their floors."""
    token_bytes = pool_gib * 2**30 / tokens
    return {
        "weights_bytes": weights_gib * 2**30,
        "weights_bytes_predicted": weights_gib * 2**30 * 0.998,
        "weights_bytes_ratio": 1 / 0.998,
        "kv_pool_bytes": pool_gib * 2**30,
        "kv_pool_tokens": tokens,
        "kv_bytes_per_token": token_bytes,
        "kv_bytes_per_token_predicted": 131072,
        "kv_bytes_per_token_ratio": token_bytes / 131072,
        "kv_bytes_per_token_slope": Figure(131099.0, 131080.0, 131118.0, 80),
        "kv_bytes_per_token_slope_ratio": Figure(131099 / 131072),
        "ttft_floor_ratio": ttft,
        "tpot_floor_s": 0.015,
        "tpot_floor_ratio": tpot,
    }


def two_models() -> Day:
    """Two models over batch and prompt length in one experiment; a third that did not fit, and a
    cell that cannot be believed."""
    models = (("mistralai/Mistral-7B-Instruct-v0.2", 13.5, 1.0),)
    models += (("meta-llama/Meta-Llama-3-8B-Instruct", 15.0, 0.91),)
    records = []
    for model, weights_gib, speed in models:
        for repeat in range(2):
            for prompt in (128, 1024, 4096):
                for batch in (1, 8, 16, 32):
                    records.append(
                        served(
                            *(model, weights_gib, speed),
                            **{"number": len(records), "repeat": repeat},
                            **{"batch": batch, "prompt": prompt},
                        )
                    )
    big = "mistralai/Mixtral-8x7B-Instruct-v0.1"
    error = (
        f"{big} needs 87.0 GiB for its weights and the GPU has 48.0 GiB: take a quantised build, "
        "or more GPUs (tensor_parallel). The engine's last words:\n"
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 112.00 MiB."
    )
    failed = {"status": "failed", "error": error, "facts": EngineFacts(), "experiment_id": "e2"}
    for batch in (1, 4):
        records.append(a_record(big, batch, 512, number=len(records), **failed))
    invalid = Doubt(
        "errors",
        {
            "variant": "too_many",
            "failed": 40,
            "requests": 64,
            "error": "HTTP 500: out of memory",
            "allowed_fraction": 0.2,
        },
        "invalid",
    )
    last = served(
        "mistralai/Mistral-7B-Instruct-v0.2", 13.5, 1.0, number=200, repeat=0, batch=32, prompt=8064
    )
    records.append(replace(last, status="invalid", doubts=(invalid,)))
    day = a_day(
        records,
        an_experiment(
            1,
            name="mistral-vs-llama3",
            question="How do Mistral 7B and Llama 3 8B compare in VRAM, latency and throughput?",
            hypothesis="Both need the same KV cache for a token; Llama 3 is a little slower.",
            predict={"kv_bytes_per_token": 131072, "ttft_s_p50": 0.1, "goodput_per_s": 4},
            usd_per_hour=1.2,
        ),
        an_experiment(2, name="mixtral", question="Does Mixtral fit?", grid=Grid(batch=(1, 4))),
    )
    return replace(day, earlier=two_days_ago(records[:4] + records[12:16]), steps=some_steps())


def some_steps() -> tuple[Step, ...]:
    """One step done and one not."""
    evidence = say("checklist.answered", model="mistralai/Mistral-7B-Instruct-v0.2")
    api = Step(name="api", done=True, evidence=evidence, kind="run", id=f"{0:016x}", at=BEGAN)
    return api, Step(name="chat", done=False)


def two_days_ago(records: Sequence[Record]) -> tuple[Record, ...]:
    """The same runs, two days before, on an older engine that was 8% slower at batch 32."""
    older = []
    for record in records:
        rate = record.metrics["output_tokens_per_s"].value or 0.0
        slower = Figure(rate / (1.08 if record.cell.batch == 32 else 1.0))
        older.append(
            replace(
                record,
                id=f"e{record.id[1:]}",
                started_at=record.started_at - timedelta(days=2),
                metrics={**record.metrics, "output_tokens_per_s": slower},
                facts=replace(record.facts, version="0.31.0"),
            )
        )
    return tuple(older)


@pytest.fixture
def record() -> Build:
    return a_record


@pytest.fixture
def experiment() -> Callable[..., ExperimentRecord]:
    return an_experiment


@pytest.fixture
def day_of() -> Callable[..., Day]:
    return a_day


@pytest.fixture(scope="session")
def big_day() -> Day:
    return two_models()
