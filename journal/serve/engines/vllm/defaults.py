"""The sizes that vLLM uses, or the journal on its behalf, where the user names none."""

from collections.abc import Mapping

GPU_MEMORY_UTILIZATION = 0.92  # of a GPU's memory, as of 0.32; 0.9 in 0.11
BLOCK_TOKENS = 16  # tokens in a block of the KV cache
BLOCKS_KEPT_BACK = 1  # of the pool: vLLM keeps it for itself and counts it neither used nor free
# On the CPU an engine is kept small and quick to start.
CPU_CONTEXT_TOKENS = 4096
CPU_KV_CACHE_BYTES = 2 * 2**30
# vLLM's names for the packings of checkpoints.
SAME_PACKING: Mapping[str, str] = {
    "awq_marlin": "awq",
    "gptq_marlin": "gptq",
    "fbgemm_fp8": "fp8",
}
SHARED_MEMORY_PREFIX = "vllm_"  # of what it keeps in /dev/shm
