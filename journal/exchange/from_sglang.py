"""Results of SGLang's bench_serving, one in each line of its file: with the latencies of each
request (--output-details), or with figures alone. It does not tell when a request was sent."""

from collections.abc import Mapping
from typing import Any

from journal.exchange.fields import ForeignPart, Name
from journal.exchange.foreign import Foreign
from journal.exchange.from_vllm import family_run

TOOL = "SGLang bench_serving"


class _Server(ForeignPart):
    model_path: Name | None = None
    served_model_name: Name | None = None


class _Result(ForeignPart):
    server_info: _Server | None = None
    model: Name | None = None


def is_from_sglang(data: Mapping[str, Any]) -> bool:
    """Whether `data` is one result of bench_serving: of the family of vLLM's, with arguments and
    names of its own."""
    own = ("sharegpt_output_len", "random_input_len", "mean_e2e_latency_ms", "accept_length")
    return "request_throughput" in data and any(name in data for name in own)


def sglang_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of a result. Raises UsageError and pydantic's ValidationError for values that
    are not valid."""
    result = _Result.model_validate(data)
    server = result.server_info or _Server()
    names = (result.model, server.served_model_name, server.model_path)
    model = next((name for name in names if name), None)
    return (family_run(data, TOOL, "--output-details", model),)
