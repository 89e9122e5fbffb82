"""Causes of an engine's end that lie in its host: shared memory, disk, ports, rights, compilers."""

SHARED_MEMORY = (
    "the shared memory in /dev/shm is too small",
    "give the container more (docker run --ipc=host, or --shm-size=16g)",
)
_NOT_BUILT = (
    r"CalledProcessError|[Nn]inja|PTXASError|ptxas|InductorError|BackendCompilerFailed|CompilationError|"
    + (r"CppCompileError|Error building extension|Error compiling")
)
_COMPILER = "the engine compiles kernels when it starts, and "
HOST = [
    (r"insufficient shared memory|[Bb]us error|SIGBUS", *SHARED_MEMORY),
    (r"No space left on device.*(?:/dev/shm|psm_|shared_memory)", *SHARED_MEMORY),
    (r"NCCL|No space left on device", *SHARED_MEMORY, r"/dev/shm.*No space left on device"),
    (
        r"NCCL",
        *SHARED_MEMORY,
        r"NCCL WARN (?!.*(?:No such file|[Pp]ermission))"
        r".*(?:creating shared memory segment|failed to extend) /dev/shm",
    ),
    (r"No space left on device", "the disk is full", "free space"),
    (
        r"[Dd]isk quota exceeded",
        "the disk is full, as far as the quota of its user goes",
        "free space there, or set HF_HOME and VLLM_CACHE_ROOT to another disk",
    ),
    (
        r"\[Errno 30\] Read-only file system(?:: '([^']+)')?",
        "it may not write to its caches: the file system is read-only",
        "mount it writable, or set HF_HOME and VLLM_CACHE_ROOT to where it is",
    ),
    (
        r"bind on address \('[^']*', (\d+)\)[^\n]*already in use",
        "another process listens at port {0}",
        "end that process, or name another port (--port)",
    ),
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
        r"No module named '?vllm\.\w*_C\b",
        "vLLM's compiled part is missing",
        "install vLLM anew, and do not start it from a folder that holds its source",
    ),
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
        r"version [`'](GLIBC\w*_[\d.]+)' not found",
        "the C libraries of this host are older than the engine's build asks for ({0})",
        "use vLLM's container image, or a newer system",
    ),
    (
        r"(lib(?:cuda|nvidia-ml)\.so\S*): cannot open shared object file",
        "the library {0}, which the NVIDIA driver brings, is missing",
        "install the driver, or start the container with its GPUs (docker run --gpus all)",
    ),
    (
        r"(lib(?:cu|nv|nccl|torch)\S+\.so\S*): cannot open shared object file",
        "the library {0} is missing",
        "install a vLLM that is built for the CUDA of this host",
    ),
    (
        r"(lib\S+\.so\S*): cannot open shared object file",
        "the library {0} is missing",
        "install the package that brings it",
    ),
    (
        r"ImportError: (\w[\w.-]*) (?:backend )?is not (?:available|installed)",
        "the engine's environment lacks {0}",
        "install it there",
    ),
    (
        r"packages that were not found in your environment: ([\w., -]+?)\.? ",
        "the engine's environment lacks {0}",
        "install it there",
    ),
    (
        r"ImportError: .*?[Pp]lease install (?!the\b)([\w.\[\]>=<-]+)",
        "the engine's environment lacks {0}",
        "install it there",
    ),
    (
        r"Timed out waiting for engine core processes to start",
        "the engine was not ready in the time that it gives itself",
        "raise VLLM_ENGINE_READY_TIMEOUT_S in engine.env; a slow disk or a long compilation may "
        "be why",
    ),
    (
        r"clients joined|DistStoreError|DistNetworkError",
        "the processes of the engine could not reach each other",
        "see that VLLM_HOST_IP and the network interface are right on each host",
    ),
    (
        r"[Nn]inja is required|No such file or directory: '(?:[^']*/)?ninja'|ninja: not found",
        _COMPILER + "finds no ninja",
        "install it in the engine's environment (pip install ninja)",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "Triton's ptxas failed ({0})",
        "install a newer CUDA toolkit and set TRITON_PTXAS_PATH to its ptxas",
        r"ptxas [^\n]{0,200}?(?:fatal|error) *: (.+)",
    ),
    (
        _NOT_BUILT,
        _COMPILER + "its C++ compiler is newer than nvcc takes",
        "install an older g++, and name it in CXX and NVCC_CCBIN",
        r"unsupported GNU version",
    ),
    (
        _NOT_BUILT + r"|No such file or directory: '(?:[^']*/)?(?:g\+\+|c\+\+|gcc|cc)'",
        _COMPILER + "finds no C++ compiler",
        "install one (Debian and Ubuntu: g++), or name it in CXX",
        r"cannot execute '?cc1plus|(?:g\+\+|c\+\+): (?:command )?not found"
        r"|No such file or directory: '(?:[^']*/)?[gc]\+\+'",
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
        r"Failed to find C compiler|No such file or directory: '(?:[^']*/)?(?:gcc|cc)'",
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
