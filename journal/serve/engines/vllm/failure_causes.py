"""Causes for which vLLM did not start or died, by the exception that ended it, with the change that
helps: the first that matches counts."""

from journal.serve.engines.vllm.causes_gpu import GPU
from journal.serve.engines.vllm.causes_host import HOST
from journal.serve.engines.vllm.causes_memory import OUT_OF_MEMORY
from journal.serve.engines.vllm.causes_model import MODEL
from journal.serve.engines.vllm.known_cause import Known, known_rows

CAUSES: tuple[Known, ...] = (
    *OUT_OF_MEMORY,
    *known_rows(HOST),
    *known_rows(GPU),
    *known_rows(MODEL),
)
