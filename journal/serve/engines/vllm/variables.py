"""The environment variables that vLLM reads."""

from collections.abc import Mapping

from journal.records.experiment import Engine

API_KEY = "VLLM_API_KEY"
ALLOW_LONG_CONTEXT = (
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN"  # "1" allows a context longer than the model's config gives
)
USE_MODELSCOPE = "VLLM_USE_MODELSCOPE"
CPU_KV_CACHE_SPACE = "VLLM_CPU_KVCACHE_SPACE"
DEVELOPER_MODE = "VLLM_SERVER_DEV_MODE"  # "1" opens request_fields.DEVELOPER_PATHS
FIXED: Mapping[str, str] = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "INFO",  # the log is read for phases and memory
}


def overriding(engine: Engine) -> frozenset[str]:
    """The variables that would override a flag which `engine` sets, unless the experiment sets them
    itself."""
    pinned = engine.kv_cache_memory_bytes is not None and CPU_KV_CACHE_SPACE not in engine.env
    return frozenset({CPU_KV_CACHE_SPACE} if pinned else ())
