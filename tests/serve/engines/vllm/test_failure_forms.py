"""Kinds of failures in other wordings, versions and shapes of log: the cause, or no cause, never a
wrong one. Lines are written as vLLM, PyTorch, Triton, NCCL, Ray and the hub format them."""

import pytest

from journal.serve.engines.vllm.failure import why

CORE = "(EngineCore_DP0 pid=41) ERROR 01-02 03:04:05 [core.py:708] "
WORKER = "(Worker_TP1 pid=35) ERROR 10-11 22:28:17 [multiproc_executor.py:694] "
API = "(APIServer pid=40) "
ENDED = API + "RuntimeError: Engine core initialization failed. See root cause above. Failed core "
ENDED += "proc(s): {}"
CONFIG = (
    "(EngineCore_DP0 pid=41) INFO 01-02 03:04:01 [c.py:96] Initializing a V1 LLM engine (v0.19.0)"
    " with config: model='m', trust_remote_code=True, dtype=torch.bfloat16, quantization=None"
)
LOADED = "(EngineCore_DP0 pid=41) INFO 01-02 03:04:03 [x.py:1] Model loading took 7.6 GiB and 3.1 s"
OOM = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 23.57 GiB of which 512.00 MiB is free."
)

# Lines of a log, what the sentence holds, and what it must not hold.
FORMS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "old engine, no prefix": (
        [
            "INFO 12-02 10:00:00 model_runner.py:1077] Loading model weights took 14.9888 GB",
            "Traceback (most recent call last):",
            "ValueError: The model's max seq len (32768) is larger than the maximum number of "
            "tokens that can be stored in KV cache (17600). Try increasing",
        ],
        ["32768", "17600", "lower max_model_len to 17600"],
        [],
    ),
    "old engine in a process of its own": (
        [
            "ERROR 02-19 10:00:00 engine.py:389] No available memory for the cache blocks. Try",
            "ERROR 02-19 10:00:00 engine.py:389] ValueError: No available memory for the cache "
            "blocks. Try increasing `gpu_memory_utilization` when initializing the engine.",
            "RuntimeError: Engine process failed to start. See stack trace for the root cause.",
        ],
        ["no memory for a KV cache"],
        [],
    ),
    "ray": (
        [
            "[36m(RayWorkerWrapper pid=512, ip=10.0.0.7)[0m ERROR 02-19 10:00:00 "
            "worker_base.py:574] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate "
            "896.00 MiB. GPU 0 has a total capacity of 79.15 GiB of which 640.00 MiB is free.",
            "ray.exceptions.RayTaskError(OutOfMemoryError): ray::RayWorkerWrapper.execute_method()",
        ],
        ["896.00 MiB were asked for and 640.00 MiB were free"],
        [],
    ),
    "ray killed it": (
        [
            "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on "
            "memory. Memory on the node was 30.2GB / 31.0GB"
        ],
        ["memory on the host"],
        ["on the GPU"],
    ),
    "sampler in a newer wording": (
        [
            CONFIG,
            CORE + OOM,
            CORE + "The above exception was the direct cause of the following exception:",
            CORE + "RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 "
            "dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization`",
            ENDED,
        ],
        ["max_num_seqs", "from 1024 to 512"],
        ["max_model_len, quantise", "trust_remote_code"],
    ),
    "pooler": (
        [
            CORE + "RuntimeError: CUDA out of memory occurred when warming up pooler (task='embed')"
            " with 256 dummy requests. Please try lowering `max_num_seqs` or",
            ENDED,
        ],
        ["max_num_seqs", "from 256 to 128"],
        [],
    ),
    "weights do not fit": (
        [
            CONFIG,
            "(EngineCore_DP0 pid=41) INFO 01-02 03:04:02 [x.py:1] Starting to load model m...",
            CORE + OOM,
            ENDED,
        ],
        ["2.00 GiB were asked for", "the weights do not fit"],
        ["max_model_len", "trust_remote_code"],
    ),
    "largest batch": (
        [
            "(APIServer pid=40) INFO 01-02 03:04:00 [x.py:1] non-default args: {'model': 'm', "
            "'max_num_batched_tokens': 16384}",
            LOADED,
            CORE + OOM,
            ENDED,
        ],
        ["lower max_num_batched_tokens from 16384 to 8192"],
        [],
    ),
    "graphs": (
        [
            "(APIServer pid=40) INFO 01-02 03:04:00 [x.py:1] non-default args: {'model': 'm', "
            "'gpu_memory_utilization': 0.95}",
            LOADED,
            "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  10%|# | 7/67",
            CORE + OOM,
            ENDED,
        ],
        ["from 0.95 to 0.9"],
        ["quantise"],
    ),
    "weights take everything, with the missing bytes": (
        [
            "(EngineCore_0 pid=9) INFO 08-20 18:04:10 [x.py:7] Model loading took 65.97 GiB",
            "(EngineCore_0 pid=9) INFO 08-20 18:04:22 [x.py] Available KV cache memory: -2.14 GiB",
            "(EngineCore_0 pid=9) ERROR 08-20 18:04:23 [core.py:700] ValueError: No available "
            "memory for the cache blocks.",
            ENDED,
        ],
        ["no memory for a KV cache", "2.14 GiB are missing"],
        [],
    ),
    "memory grew while it was measured": (
        [
            CORE + "AssertionError: Error in memory profiling. Initial free memory 20.1 GiB, "
            "current free memory 22.4 GiB. This happens when other processes sharing the same "
            "container release GPU memory while vLLM is profiling",
            ENDED,
        ],
        ["20.1 GiB", "22.4 GiB", "another process"],
        [],
    ),
    "shared memory without an error number": (
        [
            "host-0:149:149 [0] misc/shmutils.cc:113 NCCL WARN Error while creating shared memory "
            "segment /dev/shm/nccl-H1dBqY (size 9637888)",
            WORKER + "torch.distributed.DistBackendError: NCCL error in: NCCLUtils.hpp:268, "
            "unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5",
            ENDED,
        ],
        ["/dev/shm"],
        ["disk is full"],
    ),
    "shared memory of another container": (
        [
            "host-0:149:149 [0] NCCL WARN Error while attaching to shared memory segment "
            "/dev/shm/nccl-ab (size 192814336), error: No such file or directory (2)",
            WORKER + "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO)",
            ENDED,
        ],
        ["NCCL"],
        ["too small", "disk is full"],
    ),
    "bus error": (
        ["(Worker_TP0 pid=9) INFO 01-02 [x.py:1] rank 0", "Fatal Python error: Bus error"],
        ["/dev/shm"],
        ["killed"],
    ),
    "GPU memory within NCCL": (
        [
            "host:15:15 [0] NCCL WARN Cuda failure 'out of memory'",
            WORKER + "torch.distributed.DistBackendError: NCCL error in: x.cpp:1, unhandled cuda "
            "error, NCCL version 2.27.3",
            ENDED,
        ],
        ["out of memory on the GPU"],
        ["/dev/shm"],
    ),
    "quota": (
        ["OSError: [Errno 122] Disk quota exceeded: '/data/hub/tmp'"],
        ["disk is full"],
        ["shm"],
    ),
    "read-only caches": (
        [CORE + "OSError: [Errno 30] Read-only file system: '/root/.cache/vllm'", ENDED],
        ["read-only"],
        [],
    ),
    "ptxas": (
        [
            CORE + "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
            CORE + "triton.runtime.errors.PTXASError: PTXAS error: Internal Triton PTX codegen "
            "error",
            ENDED,
        ],
        ["sm_121a", "ptxas"],
        [],
    ),
    "nvcc does not know the GPU": (
        [
            CORE + "subprocess.CalledProcessError: Command '['ninja', '-v']' returned non-zero exit"
            " status 255.",
            CORE + "The above exception was the direct cause of the following exception:",
            CORE + "RuntimeError: Ninja build failed. Ninja output:",
            "nvcc fatal   : Unsupported gpu architecture 'compute_120a'",
            "ninja: build stopped: subcommand failed.",
            ENDED,
        ],
        ["nvcc", "compute_120a"],
        [],
    ),
    "compiler newer than nvcc": (
        [
            "#error -- unsupported GNU version! gcc versions later than 12 are not supported!",
            CORE + "RuntimeError: Error building extension 'x': [1/2] nvcc -c x.cu",
            ENDED,
        ],
        ["newer than nvcc takes"],
        [],
    ),
    "no C++ compiler": (
        [
            "x86_64-linux-gnu-gcc: fatal error: cannot execute 'cc1plus': execvp: No such file",
            CORE + "torch._inductor.exc.InductorError: CppCompileError: C++ compile error",
            ENDED,
        ],
        ["C++ compiler"],
        [],
    ),
    "no ninja": (
        [
            CORE + "RuntimeError: Ninja is required to load C++ extensions (pip install ninja)",
            ENDED,
        ],
        ["ninja"],
        [],
    ),
    "Python.h in Triton's build": (
        [
            "/tmp/x/main.c:6:10: fatal error: Python.h: No such file or directory",
            "compilation terminated.",
            CORE + "torch._inductor.exc.InductorError: CalledProcessError: Command '['/usr/bin/gcc'"
            ", '/tmp/x/main.c']' returned non-zero exit status 1.",
            ENDED,
        ],
        ["Python.h"],
        [],
    ),
    "a library that is not CUDA's": (
        ["ImportError: libGL.so.1: cannot open shared object file: No such file or directory"],
        ["libGL.so.1"],
        ["CUDA"],
    ),
    "system too old": (
        ["ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.32' not found"],
        ["GLIBC_2.32"],
        [],
    ),
    "source folder": (
        ["ModuleNotFoundError: No module named 'vllm._C'"],
        ["compiled part"],
        [],
    ),
    "package that is asked for": (
        [CORE + "ImportError: Please install bitsandbytes>=0.46.1 via `pip install x`", ENDED],
        ["bitsandbytes>=0.46.1"],
        [],
    ),
    "fabric manager": (
        [
            CORE + "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda"
            " functions before calling NumCudaDevices()? Error 802: system not yet initialized",
            ENDED,
        ],
        ["fabric"],
        [],
    ),
    "driver updated while loaded": (
        ["pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch."],
        ["driver", "reboot"],
        [],
    ),
    "tensor parallel of old": (
        [
            "  Value error, Tensor parallel size (8) cannot be larger than the number of available "
            "GPUs (4). [type=value_error]"
        ],
        ["8 GPUs are asked for and 4", "4 at most"],
        [],
    ),
    "placement group": (
        [
            "ValueError: The number of required GPUs exceeds the total number of available GPUs in "
            "the placement group. Required number of devices: 4. Total number of devices: 2."
        ],
        ["4 GPUs are asked for and 2"],
        [],
    ),
    "heads": (
        [
            "  Value error, Total number of attention heads (14) must be divisible by tensor "
            "parallel size (4). [type=value_error]"
        ],
        ["(14)", "lower tensor_parallel to 2"],
        [],
    ),
    "fp8 on an older GPU": (
        [
            CORE + 'ValueError("type fp8e4nv not supported in this architecture. The supported '
            "fp8 dtypes are ('fp8e4b15', 'fp8e5')\")",
            CORE + 'triton.compiler.errors.CompilationError: at 1:0: ValueError("type fp8e4nv not '
            'supported in this architecture.")',
            ENDED,
        ],
        ["fp8e4nv"],
        [],
    ),
    "faulty memory": (
        [CORE + "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered", ENDED],
        ["ECC"],
        [],
    ),
    "offline": (
        [
            "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://huggingface.co/x: "
            "offline mode is enabled."
        ],
        ["HF_HUB_OFFLINE"],
        [],
    ),
    "no name service": (
        [
            'requests.exceptions.ConnectionError: (MaxRetryError("HTTPSConnectionPool(host='
            "'huggingface.co', port=443): Max retries exceeded with url: /x (Caused by "
            'NameResolutionError(...))"))'
        ],
        ["could not be reached"],
        [],
    ),
    "path that is not there": (
        [
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/models/x'. Use `repo_type` argument if needed."
        ],
        ["/models/x is no directory"],
        ["gated"],
    ),
    "no config": (
        ["OSError: org/m does not appear to have a file named config.json. Checkout 'https://x'"],
        ["org/m has no config.json"],
        [],
    ),
    "token refused": (
        ["huggingface_hub.errors.HfHubHTTPError: 401 Client Error. Invalid username or password."],
        ["HF_TOKEN"],
        ["gated"],
    ),
    "weight without a place": (
        [
            CORE + "ValueError: There is no module or parameter named 'model.vision' in "
            "LlamaForCausalLM",
            ENDED,
        ],
        ["model.vision"],
        [],
    ),
    "batched tokens": (
        [
            "  Value error, max_num_batched_tokens (2048) is smaller than max_model_len (4096). "
            "This effectively limits [type=value_error]"
        ],
        ["raise max_num_batched_tokens to 4096"],
        [],
    ),
    "adapter": (
        [CORE + "ValueError: LoRA rank 64 is greater than max_lora_rank 16.", ENDED],
        ["raise max_lora_rank to 64"],
        [],
    ),
    "kubernetes killed it": (
        ["Loading safetensors checkpoint shards:  50% Completed | 2/4", "Reason: OOMKilled"],
        ["the kernel killed it"],
        [],
    ),
    "slow start": (
        [
            API + "TimeoutError: Timed out waiting for engine core processes to start. This is "
            "often caused by slow weight loading for large models. Waited 600s (configured by "
            "VLLM_ENGINE_READY_TIMEOUT_S)."
        ],
        ["VLLM_ENGINE_READY_TIMEOUT_S"],
        [],
    ),
    "assertion with words": (
        [
            CORE + "Traceback (most recent call last):",
            CORE + "    assert self.quant_config is not None, 'no config'",
            CORE + "AssertionError: no config",
            ENDED,
        ],
        ["AssertionError: no config"],
        ["killed", "vanished", "memory"],
    ),
    "bare assertion of a worker": (
        [
            WORKER + "WorkerProc failed to start.",
            WORKER + "Traceback (most recent call last):",
            WORKER + "    assert loaded_weight.shape[output_dim] == self.org_vocab_size",
            WORKER + "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
            WORKER + "AssertionError",
            CORE + "Exception: WorkerProc initialization failed due to an exception in a background"
            " process. See stack trace for root cause.",
            ENDED,
        ],
        ["AssertionError", "org_vocab_size"],
        ["killed", "vanished", "^^^"],
    ),
    "an error of no known kind": (
        [CONFIG, CORE + "TypeError: BackendX.__init__() missing 1 required argument: 'y'", ENDED],
        ["TypeError: BackendX.__init__() missing 1 required argument"],
        ["trust_remote_code", "memory", "compile"],
    ),
    "a hub that knows no such model, and speaks of gated ones": (
        [
            "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: x)",
            "Repository Not Found for url: https://huggingface.co/org/m/resolve/main/config.json.",
            "Please make sure you specified the correct `repo_id` and `repo_type`.",
            "If you are trying to access a private or gated repo, make sure you are authenticated.",
        ],
        ["no such model"],
        ["is gated"],
    ),
    "an old GPU for FlashAttention": (
        [CORE + "RuntimeError: FlashAttention only supports Ampere GPUs or newer.", ENDED],
        ["FlashAttention needs"],
        ["no kernel image"],
    ),
    "a core that ended by itself": (
        [
            API
            + "RuntimeError: Engine core initialization failed. See root cause above. Failed core"
            " proc(s): {'EngineCore_DP0': 1}"
        ],
        ["code 1"],
        ["kernel", "vanished"],
    ),
    "a core that was killed": (
        [
            API
            + "RuntimeError: Engine core initialization failed. See root cause above. Failed core"
            " proc(s): {'EngineCore_DP0': -9}"
        ],
        ["the kernel killed it"],
        [],
    ),
    "a core that crashed": (
        [
            API
            + "RuntimeError: Engine core initialization failed. See root cause above. Failed core"
            " proc(s): {'EngineCore_0': -11}"
        ],
        ["crashed (signal 11)"],
        ["killed"],
    ),
    "an architecture whose code could not be loaded": (
        [
            "  Value error, Model architectures ['FooForCausalLM'] failed to be inspected. Please "
            "check the logs for more details. [type=value_error]"
        ],
        ["could not load its own code", "FooForCausalLM"],
        ["cannot serve"],
    ),
    "a value that is refused": (
        [
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
            "dtype",
            "  Input should be 'auto' or 'half' [type=literal_error, input_value='fp99']",
        ],
        ["the value of dtype", "Input should be 'auto' or 'half'"],
        [],
    ),
    "a GPU that another holds": (
        [
            CORE + "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or "
            "unavailable",
            ENDED,
        ],
        ["busy or unavailable", "nvidia-smi -c 0"],
        ["Xid"],
    ),
    "CUDA before a fork": (
        [CORE + "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use", ENDED],
        ["VLLM_WORKER_MULTIPROC_METHOD=spawn"],
        [],
    ),
    "ptxas with a line": (
        [
            "ptxas /tmp/tmp1.ptx, line 52; error   : Feature '.bf16' requires .target sm_80",
            CORE + "triton.runtime.errors.PTXASError: PTXAS error: `ptxas` failed with error code "
            "255",
            ENDED,
        ],
        ["requires .target sm_80"],
        [],
    ),
    "two starts in one file": (
        [
            "(APIServer pid=1) INFO 01-02 03:04:05 [x.py:1] non-default args: {'model': 'm'}",
            "(EngineCore pid=2) ERROR 01-02 03:05:05 [core.py:708] " + OOM,
            "(APIServer pid=11) INFO 01-02 03:06:05 [x.py:1] non-default args: {'model': 'm'}",
            "(EngineCore pid=12) ERROR 01-02 03:07:05 [core.py:708] ValueError: No available "
            "memory for the cache blocks.",
        ],
        ["no memory for a KV cache"],
        ["2.00 GiB were asked for"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("carrier", ["", "vllm-1  | ", "2026-01-02T03:04:05.123456789Z stdout F "])
def test_the_cause_is_found_in_every_form_and_behind_every_prefix(form: str, carrier: str) -> None:
    lines, holds, never = FORMS[form]
    sentence = why([carrier + line for line in lines]).sentence
    assert all(words in sentence for words in holds), sentence
    assert not any(words in sentence for words in never), sentence
