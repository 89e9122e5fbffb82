"""The rows of the table on the start of the engine that served a run: how long it took, by phase,
cold or warm."""

from collections.abc import Callable
from typing import Literal

from journal.metrics.row import Metric, Shown, number_only
from journal.metrics.view import View
from journal.records.engine import StartPhases


def took_s(view: View) -> float | None:
    """The time from the start of the engine to its first answer; None where it was not started
    here."""
    return view.samples.facts.start_s


def _of_kind(kind: Literal["cold", "warm"]) -> Callable[[View], float | None]:
    def value(view: View) -> float | None:
        phases = view.samples.facts.phases
        return took_s(view) if phases is not None and phases.kind == kind else None

    return value


def _phase(name: str) -> Callable[[View], float | None]:
    def value(view: View) -> float | None:
        phases = view.samples.facts.phases or StartPhases()
        duration: float | None = getattr(phases, name)
        return duration

    return value


def _row(name: str, formula: str, meaning: str, label: str) -> Metric:
    return Metric(
        f"start_{name}",
        "start",
        "s",
        formula,
        meaning,
        number_only(_phase(name)),
        better="lower",
        label=label,
        shown=Shown(of_engine=True),
    )


def _whole(kind: Literal["cold", "warm"], meaning: str) -> Metric:
    return Metric(
        f"start_{kind}_s",
        "start",
        "s",
        f"start_s of a {kind} start",
        meaning,
        number_only(_of_kind(kind)),
        better="lower",
        label=f"start, {kind}",
        shown=Shown(headline=True, of_engine=True),
    )


START = (
    Metric(
        "start_s",
        "start",
        "s",
        "time from the start of the engine's process to its first answer",
        "How long the engine took to serve.",
        number_only(took_s),
        better="lower",
        label="start",
        shown=Shown(of_engine=True),
    ),
    _whole(
        "cold",
        "The same, of a start that downloaded weights or compiled code anew: only such starts are "
        "compared with each other.",
    ),
    _whole(
        "warm",
        "The same, of a start that downloaded nothing and compiled nothing anew. What the system "
        "keeps of the files in memory is not known.",
    ),
    _row(
        "download_s",
        "the engine's log",
        "Download of the weights; absent where there was none.",
        "start: download",
    ),
    _row(
        "load_s",
        "the engine's log, the slowest process, less the download",
        "Loading of the weights into memory.",
        "start: weights",
    ),
    _row(
        "compile_s",
        "the engine's log, the slowest process",
        "Compiling the model, or loading compiled code from a cache.",
        "start: compile",
    ),
    _row(
        "graphs_s",
        "the engine's log, the slowest process",
        "Capturing of the CUDA graphs.",
        "start: graphs",
    ),
    _row(
        "init_s",
        "the engine's log",
        "Profiling of the memory, creating the KV cache and warming up; compiling and capturing "
        "are within it.",
        "start: profiling to warm-up",
    ),
)
