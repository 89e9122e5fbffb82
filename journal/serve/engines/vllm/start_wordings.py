"""The wordings of the lines in which vLLM logs its start, of vLLM 0.6 to 0.33."""

import re
from collections.abc import Mapping

GIB = 2**30

FETCHING, LOADING = "fetching the weights", "loading the weights"
# A line that matches begins the phase that stands beside it.
PHASES = tuple(
    (re.compile(pattern), phase)
    for pattern, phase in (
        (r"non-default args:", "reading the model's config"),
        (r"Initializing an? (?:V\d )?LLM engine", "starting the engine core"),
        (r"Starting to load model|Loading model from scratch", FETCHING),
        (r"Time spent downloading weights|checkpoint shards|Runai Model Streamer:", LOADING),
        (r"Loading weights took|Model loading took|Loading model weights took", "profiling memory"),
        (
            r"Start compiling|Starting torch.compile|Dynamo bytecode transform|Compiling a graph",
            "compiling",
        ),
        (r"KV cache size:|# (?!CPU)\w+ blocks:", "warming up"),
        (r"Capturing (?:the model for )?CUDA graph|Graph capturing", "capturing graphs"),
        (r"init engine .* took", "starting the server"),
        (r"Starting vLLM", "waiting for the first answer"),
    )
)

NUMBER = r"(-?[\d.,]{1,24})"
_SIZE = rf"{NUMBER} ?Gi?B"  # vLLM 0.6 and 0.7 wrote GB and meant GiB
# A figure and the wordings that give it, in GiB.
SIZES: Mapping[str, tuple[re.Pattern[str], ...]] = {
    name: tuple(re.compile(wording) for wording in wordings)
    for name, wordings in {
        "weights": (
            rf"Model loading took {_SIZE}",
            rf"Loading model weights took {_SIZE}",
            rf"model weights take {_SIZE}",
        ),
        "pool": (
            rf"Available KV cache memory: {_SIZE}",
            rf"reserved {_SIZE} memory for KV Cache as specified",
            rf"(?:Explicitly|Auto) set \({NUMBER}/.*GiB for KV cache",
            rf"the memory reserved for KV Cache is {_SIZE}",
            rf"\bkv_cache_size={_SIZE}",
        ),
        "pool_in_use": (rf"Current kv cache memory in use is {_SIZE}",),
        "activation": (
            rf"{_SIZE} for peak activation",
            rf"activation peak memory takes {_SIZE}",
        ),
        "graphs": (rf"Graph capturing finished .*took {_SIZE}",),
        "graphs_in_use": (rf"{_SIZE} for CUDAGraph memory",),
        "graph_estimate": (
            rf"Estimated (?:\w+ )?CUDA graph memory: {_SIZE} total",
            rf"CUDA graph pool memory: .*\(actual\), {_SIZE} \(estimated\)",
        ),
        "context": (
            rf"{_SIZE} for non-torch memory",
            rf"non_torch_memory takes {_SIZE}",
            rf"\bnon_torch_memory={_SIZE}",
        ),
        "consumed": (rf"{_SIZE} for consumed memory \(weights \+ non-torch\)",),
        "total": (
            rf"Free memory on device [^(]{{0,20}}\([\d.]+/{_SIZE}\)",
            rf"total_gpu_memory[ =]\(?{_SIZE}",
            rf"total capacity of {_SIZE}",
        ),
        "requested": (
            rf"GPU memory utilization (?:is )?\([\d.]+, {_SIZE}\)",
            rf"gpu_memory_utilization \([\d.]+\) = {_SIZE}",
        ),
        "free": (
            rf"Free memory on device [^(]{{0,20}}\({NUMBER}/[\d.]+ ?GiB\)",
            rf"Initial free memory {_SIZE}",
        ),
    }.items()
}
POOL_IN_BYTES = re.compile(r"Current kv cache memory in use is (\d{1,18}) bytes")
# The user's number of blocks (--num-gpu-blocks-override) takes the place of those that fit.
OVERRIDDEN = re.compile(r"num_gpu_blocks=(\d{1,12}) with num_gpu_blocks_override=(\d{1,12})")
TOKENS = re.compile(rf"KV cache size: {NUMBER} tokens")
BLOCKS = re.compile(r"# (?!CPU)\w+ blocks: (\d{1,15})")
BLOCK_SIZE = re.compile(r"'block_size': (\d{1,6})|\bblock_size=(\d{1,6})")
CONCURRENCY = re.compile(rf"Maximum concurrency for {NUMBER} tokens per request: {NUMBER}x")
# Settings that the user gave ("non-default args: {'max_model_len': 4096"), or that vLLM repeats.
SETTING = re.compile(
    r"\b'?(gpu_memory_utilization|max_model_len|max_num_seqs|max_num_batched_tokens|max_seq_len"
    r"|tensor_parallel_size|pipeline_parallel_size|data_parallel_size)'?[=:] ?(\d[\d.]{0,14})\b"
    r"|GPU memory utilization is \((\d[\d.]*),|--gpu-memory-utilization=([\d.]+) is equivalent"
    r"|Using max model len (\d{1,9})|max_model_len: reduced from \d{1,9} to (\d{1,9})"
)
# The estimate of the CUDA graphs was made and not applied.
WITHOUT_ESTIMATE = re.compile(r"CUDA graph memory profiling is disabled")
_CONFIG = r"Initializing an? (?:V\d )?LLM engine.*?[ ,(]"
WORDS: Mapping[str, re.Pattern[str]] = {
    "version": re.compile(
        r"Initializing an? (?:V\d )?LLM engine \(v([^)]+)\)|API server version:? ([\w.+]+)"
        r"|[█▀▄] +version +v?(\d[\w.+]*)"
    ),
    "dtype": re.compile(_CONFIG + r"dtype=(?:torch\.)?(\w+)"),
    "quantisation": re.compile(_CONFIG + r"quantization='?(?!None)(\w[\w-]*)"),
    "kv_cache_dtype": re.compile(_CONFIG + r"kv_cache_dtype='?(\w+)"),
}
# A word that every line with a figure, a phase or a setting has: without one, no other pattern can
# match.
TELLING = re.compile(
    r"took|takes|time|G(?:i)?B\b|blocks|block_size|KV [Cc]ache|[Cc]heckpoint|Streamer|args|engine|"
    r"version|[Gg]raph|[Ll]oad|[Cc]ompil|vLLM|max_|utilization|_size|max model len|memory|"
    r"concurrency"
)
