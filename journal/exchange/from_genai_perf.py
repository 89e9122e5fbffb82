"""GenAI-Perf's JSON export (profile_export_genai_perf.json): its figures alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from journal.exchange.aiperf_figures import SINGLE, SPREADS, Spread, figures_of, in_seconds
from journal.exchange.fields import Count, ForeignPart, Name, Rate
from journal.exchange.foreign import Foreign, singles, without_requests

TOOL = "GenAI-Perf"
METRICS = ("request_throughput", "request_latency", "time_to_first_token")


class _Stimulus(ForeignPart):
    concurrency: Count | None = None
    request_rate: Rate | None = None


class _Analyzer(ForeignPart):
    stimulus: _Stimulus = _Stimulus()


class _Config(ForeignPart):
    model: list[Name] | Name | None = None
    model_names: list[Name] | Name | None = None
    models: Any = None
    concurrency: Count | None = None
    request_rate: Rate | None = None
    perf_analyzer: _Analyzer = _Analyzer()


class _Export(ForeignPart):
    input_config: _Config
    request_count: Spread | None = None
    input_sequence_length: Spread | None = None
    output_sequence_length: Spread | None = None
    benchmark_duration: Spread | None = None


def is_from_genai_perf(data: Mapping[str, Any]) -> bool:
    """Whether `data` is a JSON export of GenAI-Perf; those of AIPerf look alike and are asked for
    first."""
    figures = [data[name] for name in METRICS if isinstance(data.get(name), dict)]
    return "input_config" in data and any("unit" in figure for figure in figures)


def genai_perf_runs(data: Mapping[str, Any]) -> tuple[Foreign, ...]:
    """The one run of an export. Raises UsageError and pydantic's ValidationError for values that
    are not valid."""
    export = _Export.model_validate(data)
    config, stimulus = export.input_config, export.input_config.perf_analyzer.stimulus
    count = _mean(export.request_count)
    rate = stimulus.request_rate if config.request_rate is None else config.request_rate
    batch = stimulus.concurrency if config.concurrency is None else config.concurrency
    figures = figures_of(data, SPREADS, SINGLE, count)
    return (
        Foreign(
            tool=TOOL,
            model=_model(config),
            batch=None if rate else batch,
            rate=rate,
            started_at=None,
            duration_s=in_seconds(export.benchmark_duration),
            requests=1 if count is None else count,
            prompt_tokens=_mean(export.input_sequence_length),
            output_tokens=_mean(export.output_sequence_length),
            figures=figures | singles({"requests": count}),
            notes=(without_requests("never"),),
        ),
    )


def _model(config: _Config) -> str | None:
    """The first model that the configuration names; None where it names none."""
    for names in (config.model_names, config.model):
        if isinstance(names, str):
            return names
        if isinstance(names, Sequence) and names:
            return names[0]
    return None


def _mean(spread: Spread | None) -> int | None:
    return None if spread is None or spread.avg is None else round(spread.avg)
