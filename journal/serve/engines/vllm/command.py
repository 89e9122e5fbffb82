"""The command line that serves a model with vLLM."""

from journal.records.experiment import Engine
from journal.serve.engines.vllm.defaults import CPU_CONTEXT_TOKENS, CPU_KV_CACHE_BYTES
from journal.serve.engines.vllm.flags import names_flag
from journal.serve.engines.vllm.packages import PER_REQUEST_METRICS, numbers


def command(
    engine: Engine,
    *,
    python: str,
    model: str,
    name: str,
    port: int,
    version: str,
    on_cpu: bool,
    host: str,
    longest: int | None = None,
) -> list[str]:
    """The argv that serves `model` (a path or hub name) as `name` at `host`, the user's flags last.
    On the CPU, settings that the user left open are small and quick to start; `longest` is the
    context in tokens of the model's config (None: not known)."""
    argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    argv += ["--served-model-name", name, "--host", host, "--port", str(port)]
    argv += ["--disable-uvicorn-access-log", "--enable-prompt-tokens-details"]
    if not names_flag(engine, "--allowed-origins"):
        argv += ["--allowed-origins", "[]"]  # no other site's page may read what it answers
    if numbers(version) >= PER_REQUEST_METRICS and not names_flag(engine, "--disable-log-stats"):
        argv += ["--enable-per-request-metrics"]
    argv += ["--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching"]
    values = {
        "--revision": engine.revision,
        "--quantization": engine.quantisation,
        "--dtype": None if engine.dtype == "auto" else engine.dtype,
        "--tensor-parallel-size": engine.tensor_parallel if engine.tensor_parallel > 1 else None,
        "--pipeline-parallel-size": (
            engine.pipeline_parallel if engine.pipeline_parallel > 1 else None
        ),
        "--distributed-executor-backend": engine.executor,
        "--max-model-len": engine.max_model_len,
        "--gpu-memory-utilization": engine.gpu_memory_utilization,
        "--kv-cache-memory-bytes": engine.kv_cache_memory_bytes,
    }
    argv += [
        word for flag, value in values.items() if value is not None for word in (flag, str(value))
    ]
    argv += ["--trust-remote-code"] if engine.trust_remote_code else []
    return argv + (_cpu_defaults(engine, longest) if on_cpu else []) + list(engine.flags)


def context_tokens(engine: Engine, longest: int | None, *, on_cpu: bool) -> int | None:
    """The longest prompt and output together, in tokens, that `engine` serves under `command`; None
    where that is not known before it starts. `longest` is the context of the model's config."""
    if engine.max_model_len is not None:
        return engine.max_model_len
    if names_flag(engine, "--max-model-len"):
        return None
    return min(CPU_CONTEXT_TOKENS, longest or CPU_CONTEXT_TOKENS) if on_cpu else longest


def _cpu_defaults(engine: Engine, longest: int | None) -> list[str]:
    argv = []
    if not names_flag(
        engine, "--enforce-eager", "--no-enforce-eager", "--compilation-config", "-O"
    ):
        argv += ["--enforce-eager"]
    if engine.max_model_len is None and not names_flag(engine, "--max-model-len"):
        argv += ["--max-model-len", str(min(CPU_CONTEXT_TOKENS, longest or CPU_CONTEXT_TOKENS))]
    sizes = "--kv-cache-memory-bytes", "--gpu-memory-utilization"
    sized = engine.kv_cache_memory_bytes, engine.gpu_memory_utilization
    if sized == (None, None) and not names_flag(engine, *sizes):
        argv += ["--kv-cache-memory-bytes", str(CPU_KV_CACHE_BYTES)]
    return argv
