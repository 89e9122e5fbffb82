"""The readers of result files: one for each tool, asked in turn whether a document is its own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from journal.errors import UsageError
from journal.exchange import (
    from_aiperf,
    from_evalscope,
    from_genai_perf,
    from_guidellm,
    from_inference_perf,
    from_llmperf,
    from_lm_eval,
    from_servebench,
    from_sglang,
    from_vllm,
    from_vllm_offline,
    result_files,
)
from journal.exchange.fields import AGAIN, shown
from journal.exchange.foreign import Foreign
from journal.exchange.result_files import Document

Data: TypeAlias = Mapping[str, Any]
Runs: TypeAlias = tuple[Foreign, ...]


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader of one tool's results: its name with the versions that can be read, whether a
    document is one, and the runs in it."""

    name: str
    knows: Callable[[Data], bool]
    read: Callable[[Document], Runs]


def _aiperf(document: Document) -> Runs:
    requests = _beside_aiperf(document.path)
    lines = result_files.content(requests).splitlines() if requests.is_file() else None
    return from_aiperf.aiperf_runs(document.data, lines)


def _beside_aiperf(path: Path) -> Path:
    """The file of requests beside an export: of its own name, else of AIPerf's usual one."""
    own = path.with_name(f"{path.stem.removesuffix('_aiperf')}.jsonl")
    usual = path.with_name(from_aiperf.REQUESTS)
    return own if own.is_file() and path.stem.endswith("_aiperf") else usual


def _evalscope(document: Document) -> Runs:
    beside = (from_evalscope.PERCENTILE_FILE, from_evalscope.ARGUMENTS)
    percentiles, arguments = (
        result_files.json_beside(document.path.with_name(name)) for name in beside
    )
    return from_evalscope.evalscope_runs(document.data, percentiles, arguments)


READERS = (
    Reader(
        from_guidellm.READ,
        from_guidellm.is_from_guidellm,
        lambda document: from_guidellm.guidellm_runs(document.data),
    ),
    Reader(from_aiperf.TOOL, from_aiperf.is_from_aiperf, _aiperf),
    Reader(
        from_genai_perf.TOOL,
        from_genai_perf.is_from_genai_perf,
        lambda document: from_genai_perf.genai_perf_runs(document.data),
    ),
    Reader(
        from_servebench.TOOL,
        from_servebench.is_from_servebench,
        lambda document: from_servebench.servebench_runs(document.data),
    ),
    Reader(
        from_inference_perf.TOOL,
        from_inference_perf.is_from_inference_perf,
        lambda document: from_inference_perf.inference_perf_runs(document.data),
    ),
    Reader(from_evalscope.TOOL, from_evalscope.is_from_evalscope, _evalscope),
    Reader(
        from_llmperf.TOOL,
        from_llmperf.is_from_llmperf,
        lambda document: from_llmperf.llmperf_runs(document.data),
    ),
    Reader(
        from_lm_eval.TOOL,
        from_lm_eval.is_from_lm_eval,
        lambda document: from_lm_eval.lm_eval_runs(document.data),
    ),
    Reader(
        from_sglang.TOOL,
        from_sglang.is_from_sglang,
        lambda document: from_sglang.sglang_runs(document.data),
    ),
    Reader(
        from_vllm.TOOL,
        from_vllm.is_from_vllm,
        lambda document: from_vllm.vllm_runs(document.data),
    ),
    Reader(
        "vllm bench serve (PyTorch's form)",
        lambda data: result_files.RECORDS in data,
        lambda document: from_vllm_offline.pytorch_runs(document.data[result_files.RECORDS]),
    ),
    Reader(
        "vllm bench throughput and latency",
        from_vllm_offline.is_offline,
        lambda document: from_vllm_offline.offline_runs(document.data),
    ),
)
KNOWN = ", ".join(reader.name for reader in READERS)


def is_known(data: Data) -> bool:
    """Whether an object is a result of a tool that is known here."""
    return any(reader.knows(data) for reader in READERS)


def runs_of(document: Document) -> Runs:
    """The runs in a document, by the reader of the tool that wrote it. Raises UsageError, which
    names the file, the value at fault and what to do."""
    from pydantic import ValidationError

    reader = next((reader for reader in READERS if reader.knows(document.data)), None)
    if reader is None and from_aiperf.is_request(document.data):
        raise UsageError(
            f"{document.path} has the requests of AIPerf alone: put its profile_export_aiperf.json "
            "beside it, and import that"
        )
    if reader is None:
        raise UsageError(
            f"{document.where} is not a result file that is known here: those of {KNOWN} are"
        )
    try:
        return reader.read(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        reason = first["msg"].lower()[:200]
        value = "" if first["type"] == "missing" else f" (it is {shown(first['input'])})"
        raise UsageError(
            f"{document.where} cannot be imported as of {reader.name}: {where}: {reason}{value}: "
            f"{AGAIN}"
        ) from error
    except UsageError as error:
        if str(document.path) in str(error):
            raise
        raise UsageError(f"{document.where} cannot be imported: {error}") from error
