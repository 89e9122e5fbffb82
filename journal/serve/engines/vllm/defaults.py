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
GIB = 2**30
# vLLM's EngineArgs.get_batch_defaults, of its API server: from how much memory on, and how many
# tokens of a batch and sequences at once an engine then allows itself.
BATCHES = ((160 * GIB, 16384, 1024), (70 * GIB, 8192, 1024), (0, 2048, 256))
MODEST = "a100"  # takes the least whatever its memory


def batch_sizes(gpu_name: str, memory_bytes: float) -> tuple[int, int]:
    """The most tokens in a batch and the most sequences at once that vLLM sets on such a GPU where
    its user does not (max_num_batched_tokens, max_num_seqs)."""
    modest = MODEST in gpu_name.lower() and memory_bytes < BATCHES[0][0]
    enough = (row for row in BATCHES if memory_bytes >= row[0] and not (modest and row[0]))
    _, tokens, sequences = next(enough)
    return tokens, sequences
