"""Causes of an engine's end by want of memory, each with the setting to change and, where the log's
own figures give it, the value to change it to."""

import math
import re
from collections.abc import Sequence

from journal.serve.engines.vllm.known_cause import Known, Reckoned, Reckoning
from journal.serve.engines.vllm.start_log import StartLog
from journal.serve.engines.vllm.start_wordings import FETCHING, GIB, LOADING

FIT = (
    "lower max_model_len, quantise the model, spread it with tensor_parallel, or free memory that "
    "others hold"
)
MOST_SHARE = 0.98  # of a GPU's memory that an engine may ask for: the driver keeps some
MARGIN = 0.05  # of a context that is reckoned from rounded sizes: layers pad their blocks
BLOCK = 16  # tokens, to which a context is rounded down
_SIZE = r"(-?[\d.]{1,15} ?\wi?B)"
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": GIB, "TiB": 2**40}
LOADS, CAPTURES = (FETCHING, LOADING), ("capturing graphs",)
SERVES = ("starting the server", "waiting for the first answer")
PROFILES = ("profiling memory", "compiling")


def _bytes(size: str) -> float | None:
    """The bytes in a size such as "605.88 MiB"."""
    match = re.match(r"(-?[\d.]+) ?([KMGT]?i?B)", size)
    if match is None or match[2] not in _BYTES:
        return None
    try:
        return float(match[1]) * _BYTES[match[2]]
    except ValueError:
        return None


def _down(share: float) -> str:
    """`share` rounded down to two digits."""
    return f"{math.floor(share * 100 + 1e-9) / 100:g}"


def _most(log: StartLog, name: str) -> int | None:
    """The largest figure of this name of any process."""
    known = [value for rank in log.ranks.values() if (value := rank.get(name)) is not None]
    return max(known, default=None)


def _share_with(log: StartLog, missing: float) -> str | None:
    """gpu_memory_utilization with which an engine has `missing` bytes more; None where that is not
    known, or more than a GPU gives."""
    share, total = log.settings.get("gpu_memory_utilization"), _most(log, "total")
    if share is None or not total:
        return None
    enough = math.ceil((share + missing / total) * 100 - 1e-9) / 100
    return f"{enough:g}" if share < enough <= MOST_SHARE else None


def _longer_share(groups: Sequence[str], log: StartLog) -> Sequence[str] | None:
    needed, there = _bytes(groups[1]), _bytes(groups[2])
    if needed is None or there is None:
        return None
    share = _share_with(log, needed - there)
    return None if share is None else (groups[3], share)


def _longest(groups: Sequence[str], _: StartLog) -> Sequence[str] | None:
    """The context that the pool holds where its bytes grow with the tokens, less MARGIN."""
    needed, there = _bytes(groups[1]), _bytes(groups[2])
    if needed is None or there is None or not 0 < there < needed:
        return None
    longest = int(groups[0].replace(",", "")) * there / needed
    tokens = int(longest * (1 - MARGIN)) // BLOCK * BLOCK
    return (str(tokens),) if tokens else None


def _share_that_is_free(groups: Sequence[str], _: StartLog) -> Sequence[str] | None:
    match = re.match(r"([\d.]+)/([\d.]+)", groups[0])
    try:
        free, total = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    except ValueError:
        return None
    if not 0 < free < total or free / total < 0.01:
        return None
    return (_down(free / total), f"{total - free:.3g} GiB")


def _host_pool(groups: Sequence[str], _: StartLog) -> Sequence[str] | None:
    free = groups[0].partition("/")[0]
    return (free,) if re.fullmatch(r"\d[\d.]*", free) and float(free) > 0 else None


def _share_for_the_weights(_: Sequence[str], log: StartLog) -> Sequence[str] | None:
    missing = _most(log, "pool_missing")
    share = None if missing is None else _share_with(log, missing)
    return None if share is None or missing is None else (f"{missing / GIB:.3g} GiB", share)


def _missing_for_the_weights(_: Sequence[str], log: StartLog) -> Sequence[str] | None:
    missing = _most(log, "pool_missing")
    return None if missing is None else (f"{missing / GIB:.3g} GiB",)


def _sequences_that_fit(groups: Sequence[str], _: StartLog) -> Sequence[str] | None:
    """Half of the sequences with which the warm-up ran out of memory."""
    count = int(groups[0])
    return (str(count // 2), groups[0]) if count > 1 else None


def _while(*phases: str) -> Reckoning:
    """No values, in these phases of a start only."""
    return lambda _, log: () if log.phase in phases else None


def _capturing(_: Sequence[str], log: StartLog) -> Sequence[str] | None:
    share = log.settings.get("gpu_memory_utilization")
    if log.phase not in CAPTURES or share is None or share < 0.1:
        return None
    return (f"{share:g}", f"{share - 0.05:.3g}")


def _profiling(_: Sequence[str], log: StartLog) -> Sequence[str] | None:
    tokens = log.settings.get("max_num_batched_tokens")
    if log.phase not in PROFILES or tokens is None or tokens < 2:
        return None
    return (f"{tokens:.0f}", f"{tokens / 2:.0f}")


ON_GPU = (
    Reckoned(
        "the weights do not fit: quantise the model, spread it with tensor_parallel, or free "
        "memory that others hold",
        _while(*LOADS),
    ),
    Reckoned(
        "the memory was short while graphs were captured: lower gpu_memory_utilization from {0} to "
        "{1}, lower max_num_seqs, or set enforce_eager",
        _capturing,
    ),
    Reckoned(
        "the memory was short while graphs were captured: lower gpu_memory_utilization or "
        "max_num_seqs, or set enforce_eager",
        _while(*CAPTURES),
    ),
    Reckoned(
        "the memory was short while the largest batch was tried: lower max_num_batched_tokens from "
        "{0} to {1}, or max_num_seqs, quantise the model, or spread it with tensor_parallel",
        _profiling,
    ),
    Reckoned(
        "the memory was short while the largest batch was tried: lower max_num_batched_tokens or "
        "max_num_seqs, quantise the model, or spread it with tensor_parallel",
        _while(*PROFILES),
    ),
    Reckoned(
        "the memory was short while it served: lower gpu_memory_utilization, or "
        "max_num_batched_tokens or max_num_seqs",
        _while(*SERVES),
    ),
)


def _row(
    pattern: str, cause: str, remedy: str, *reckoned: Reckoned, before: str | None = None
) -> Known:
    reason = None if before is None else re.compile(before)
    return Known(re.compile(pattern, re.DOTALL), cause, remedy, True, reason, tuple(reckoned))


_FREE = "end what else runs on the GPU (nvidia-smi shows it), or ask for less"
_HOST_ASKS = "only {0} of the host's memory is free, and the engine asks for {1}"
_FEWER_SEQUENCES = "lower max_num_seqs (the flag --max-num-seqs), or gpu_memory_utilization"
_TOO_LONG = (
    rf"max seq len \(([\d,]{{1,15}})\).*?{_SIZE} KV cache is needed.*?available KV cache memory "
    rf"\({_SIZE}\)"
)
OUT_OF_MEMORY = (
    _row(
        r"Free memory on device [^(]{0,20}\(([\d./]+ GiB)\) on startup is less than "
        r"(?:desired GPU memory utilization|the engine's budget[^(]*) ?\(([\d.]+), ([\d.]+ GiB)\)",
        "only {0} of the GPU's memory is free, and gpu_memory_utilization {1} asks for {2}",
        _FREE,
        Reckoned(
            "end what else holds {1} of the GPU (nvidia-smi shows it), or lower "
            "gpu_memory_utilization to {0}, if the model fits into that",
            _share_that_is_free,
        ),
    ),
    _row(
        r"Available memory on node \d+ \(([\d./]+ GiB)\).*? is less than requested memory for kv "
        r"\(([^)]*)\)",
        _HOST_ASKS,
        "lower kv_cache_memory_bytes or gpu_memory_utilization, or free memory",
        Reckoned(
            "lower kv_cache_memory_bytes or VLLM_CPU_KVCACHE_SPACE to less than {0} GiB, or free "
            "memory",
            _host_pool,
        ),
    ),
    _row(
        r"Available memory on node \d+ \(([\d./]+ GiB)\).*? is less than (?:requested|desired)"
        r"[^(]*\(([^)]*)\)",
        _HOST_ASKS,
        "lower kv_cache_memory_bytes or gpu_memory_utilization, or free memory",
        Reckoned(
            "lower gpu_memory_utilization (on the CPU it is a share of the host's memory) to {0}, "
            "set kv_cache_memory_bytes, or free memory: {1} are held",
            _share_that_is_free,
        ),
    ),
    _row(
        _TOO_LONG + r".*?estimated maximum model length is ([1-9][\d,]*)",
        "one request of {0} tokens needs {1} of KV cache, and {2} are there",
        "lower max_model_len to {3}, or raise kv_cache_memory_bytes or gpu_memory_utilization",
        Reckoned(
            "lower max_model_len to {0}, or raise gpu_memory_utilization to {1}", _longer_share
        ),
    ),
    _row(
        _TOO_LONG,
        "one request of {0} tokens needs {1} of KV cache, and {2} are there",
        "lower max_model_len, or raise kv_cache_memory_bytes or gpu_memory_utilization",
        Reckoned(
            "lower max_model_len to about {0}, or raise kv_cache_memory_bytes or "
            "gpu_memory_utilization",
            _longest,
        ),
    ),
    _row(
        r"max seq len \(([\d,]+)\) is larger than the maximum number of tokens that can be stored "
        r"in KV cache \(([\d,]+)\)",
        "one request of {0} tokens does not fit into the KV cache, which holds {1}",
        "lower max_model_len to {1}, or raise gpu_memory_utilization",
    ),
    _row(
        r"Cannot auto-fit max_model_len",
        "the memory that is left for a KV cache does not hold a single token",
        f"raise gpu_memory_utilization, or {FIT}",
    ),
    _row(
        r"No available memory for the cache blocks",
        "the model's weights leave no memory for a KV cache",
        f"raise gpu_memory_utilization, or {FIT}",
        Reckoned(
            "{0} are missing: raise gpu_memory_utilization above {1}, or quantise the model or "
            "spread it with tensor_parallel",
            _share_for_the_weights,
        ),
        Reckoned(
            "{0} are missing: raise gpu_memory_utilization, quantise the model, spread it with "
            "tensor_parallel, or free memory that others hold",
            _missing_for_the_weights,
        ),
    ),
    _row(
        r"out of memory occurred when warming up (?:the )?(?:sampler|pooler)[^\n]{0,60}? with "
        r"(\d{1,9}) dummy requests",
        "out of memory on the GPU while max_num_seqs = {0} requests at a time were tried",
        _FEWER_SEQUENCES,
        Reckoned(
            "lower max_num_seqs (the flag --max-num-seqs) from {1} to {0}, or lower "
            "gpu_memory_utilization",
            _sequences_that_fit,
        ),
    ),
    _row(
        r"out of memory occurred when warming up (?:the )?(?:sampler|pooler)",
        "out of memory on the GPU while the most requests at a time (max_num_seqs) were tried",
        _FEWER_SEQUENCES,
    ),
    _row(
        r"max_num_seqs \((\d+)\) exceeds (?:the )?(?:number of )?available Mamba cache blocks "
        r"\((\d+)\)",
        "max_num_seqs {0} needs a block of Mamba state for each sequence, and {1} fit",
        "lower max_num_seqs (the flag --max-num-seqs) to {1}, or raise gpu_memory_utilization",
    ),
    _row(
        r"CUDA out of memory occurred.{0,200}lowering [`'\"]?max_num_seqs",
        "out of memory on the GPU while the most requests at a time (max_num_seqs) were tried",
        _FEWER_SEQUENCES,
    ),
    _row(
        r"ray\.exceptions\.OutOfMemoryError|node running low on memory",
        "out of memory on the host",
        "lower kv_cache_memory_bytes, or take a smaller model",
    ),
    _row(
        rf"[Oo]ut ?[Oo]f ?[Mm]emory.*?Tried to allocate {_SIZE}.*?of which {_SIZE} is free",
        "out of memory on the GPU: {0} were asked for and {1} were free",
        FIT,
        *ON_GPU,
    ),
    _row(
        r"(?:CUDA|HIP|XPU) out of memory|OutOfMemoryError|CUDA (?:driver )?error: out of memory|"
        r"CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation",
        "out of memory on the GPU",
        FIT,
        *ON_GPU,
    ),
    _row(
        r"NCCL",
        "out of memory on the GPU while the GPUs were linked (NCCL)",
        FIT,
        before=r"NCCL WARN .*(?:[Oo]ut of memory|out_of_memory)",
    ),
    _row(
        r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)|"
        r"Cannot allocate memory|\bMemoryError\b",
        "out of memory on the host",
        "lower kv_cache_memory_bytes, or take a smaller model",
    ),
)
