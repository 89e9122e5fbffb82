"""The lab journal for LLM serving: measured VRAM, latency and throughput of every experiment.

    import journal

    result = journal.run("quickstart")
    for record in result.records:
        print(record.cell.batch, record.metrics["ttft_s.p50"].value)

Names are loaded when they are first used, so that `import journal` costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any
from warnings import warn

if TYPE_CHECKING:
    from journal.chat.ask import Question, ask
    from journal.compare.capacity import Capacity
    from journal.compare.comparison import Comparison, compare
    from journal.compare.gate import Gate, check
    from journal.compare.least_pool import Needed
    from journal.compare.tagging import tag, tags, untag
    from journal.compare.tried import Tried
    from journal.compare.whatif import Supposed, whatif
    from journal.errors import (
        EndpointError,
        EngineError,
        JournalError,
        MissingExtra,
        NotFound,
        SpecError,
        StoreError,
        Unfit,
        UsageError,
    )
    from journal.exchange.benchmark_report import benchmark_report, export_reports
    from journal.exchange.export import export
    from journal.exchange.frame import runs
    from journal.exchange.import_results import Imported, import_results
    from journal.host.doctor import checkup_verdict, doctor
    from journal.host.fit import Fit, fit
    from journal.monitor.watch import Look, watch
    from journal.plan.experiment_file import load_experiment
    from journal.plan.plan import Cost, Plan, plan
    from journal.records.cell import Cell
    from journal.records.engine import Endpoint
    from journal.records.experiment import Engine, Experiment, Grid, Load, Slo, Variant
    from journal.records.explanation import Explanation
    from journal.records.figure import Figure
    from journal.records.notebook import Checkup, Interaction, Note, Tag
    from journal.records.progress import Event
    from journal.records.run import Record
    from journal.records.samples import Samples
    from journal.records.workload import Part, Workload
    from journal.report.checklist import Step, checklist
    from journal.report.demo import demo
    from journal.report.explain import explain
    from journal.report.log import LogFiles, log
    from journal.report.quiz import QuizAnswer, QuizQuestion, answer_quiz, quiz
    from journal.report.run_json import run_json
    from journal.run.begin import run
    from journal.run.run_time import RunTime, run_time
    from journal.run.stages import Result
    from journal.run.summary import recompute
    from journal.run.tries import try_change
    from journal.serve.endpoint import attach, observe
    from journal.serve.standing import serve
    from journal.store.compact import Compacted, compact
    from journal.store.merge import Merged, merge
    from journal.store.notes import note
    from journal.store.store import open_store
    from journal.store.verify import Verified, verify
    from journal.theory.split import Split, split

_HOME_OF = {
    "journal.chat.ask": "Question ask",
    "journal.compare.capacity": "Capacity",
    "journal.compare.comparison": "Comparison compare",
    "journal.compare.gate": "Gate check",
    "journal.compare.least_pool": "Needed",
    "journal.compare.tried": "Tried",
    "journal.compare.tagging": "tag tags untag",
    "journal.compare.whatif": "Supposed whatif",
    "journal.errors": (
        "EndpointError EngineError JournalError MissingExtra NotFound SpecError StoreError Unfit "
        "UsageError"
    ),
    "journal.exchange.benchmark_report": "benchmark_report export_reports",
    "journal.exchange.export": "export",
    "journal.exchange.frame": "runs",
    "journal.exchange.import_results": "Imported import_results",
    "journal.host.doctor": "checkup_verdict doctor",
    "journal.host.fit": "Fit fit",
    "journal.monitor.watch": "Look watch",
    "journal.plan.experiment_file": "load_experiment",
    "journal.plan.plan": "Cost Plan plan",
    "journal.records.cell": "Cell",
    "journal.records.engine": "Endpoint",
    "journal.records.experiment": "Engine Experiment Grid Load Slo Variant",
    "journal.records.explanation": "Explanation",
    "journal.records.figure": "Figure",
    "journal.records.notebook": "Checkup Interaction Note Tag",
    "journal.records.progress": "Event",
    "journal.records.run": "Record",
    "journal.records.samples": "Samples",
    "journal.records.workload": "Part Workload",
    "journal.report.checklist": "Step checklist",
    "journal.report.demo": "demo",
    "journal.report.explain": "explain",
    "journal.report.log": "LogFiles log",
    "journal.report.quiz": "QuizAnswer QuizQuestion answer_quiz quiz",
    "journal.report.run_json": "run_json",
    "journal.run.begin": "run",
    "journal.run.run_time": "RunTime run_time",
    "journal.run.stages": "Result",
    "journal.run.summary": "recompute",
    "journal.run.tries": "try_change",
    "journal.serve.endpoint": "attach observe",
    "journal.serve.standing": "serve",
    "journal.store.compact": "Compacted compact",
    "journal.store.merge": "Merged merge",
    "journal.store.verify": "Verified verify",
    "journal.store.notes": "note",
    "journal.store.store": "open_store",
    "journal.theory.split": "Split split",
}
_MODULE_OF = {name: module for module, names in _HOME_OF.items() for name in names.split()}

# Names of before, kept for one version: each with its home, and the name to use instead.
_FORMER = {
    "Advice": ("journal.host.fit", "Fit", "Fit"),
    "Watch": ("journal.monitor.watch", "Watch", "watch"),
    "advise": ("journal.host.fit", "fit", "fit"),
    "answer": ("journal.chat.ask", "ask", "ask"),
    "as_json": ("journal.report.run_json", "run_json", "run_json"),
    "cells": ("journal.plan.cells", "cells", "plan"),
    "cost": ("journal.plan.plan", "cost", "plan"),
    "examine": ("journal.host.doctor", "examine", "doctor"),
    "serving": ("journal.serve.standing", "serve", "serve"),
    "verdict": ("journal.host.doctor", "checkup_verdict", "checkup_verdict"),
    "write_experiment_log": ("journal.report.log", "write_experiment_log", "log"),
    "write_log": ("journal.report.log", "write_log", "log"),
    "write_week_log": ("journal.report.log", "write_week_log", "log"),
}

__all__ = [  # noqa: PLE0604, RUF100
    "Capacity",
    "Cell",
    "Checkup",
    "Compacted",
    "Comparison",
    "Cost",
    "Endpoint",
    "EndpointError",
    "Engine",
    "EngineError",
    "Event",
    "Experiment",
    "Explanation",
    "Figure",
    "Fit",
    "Gate",
    "Grid",
    "Imported",
    "Interaction",
    "JournalError",
    "Load",
    "LogFiles",
    "Look",
    "Merged",
    "MissingExtra",
    "Needed",
    "NotFound",
    "Note",
    "Part",
    "Plan",
    "Question",
    "QuizAnswer",
    "QuizQuestion",
    "Record",
    "Result",
    "RunTime",
    "Samples",
    "Slo",
    "SpecError",
    "Split",
    "Step",
    "StoreError",
    "Supposed",
    "Tag",
    "Tried",
    "Unfit",
    "UsageError",
    "Variant",
    "Verified",
    "Workload",
    "answer_quiz",
    "ask",
    "attach",
    "benchmark_report",
    "check",
    "checklist",
    "checkup_verdict",
    "compact",
    "compare",
    "demo",
    "doctor",
    "explain",
    "export",
    "export_reports",
    "fit",
    "import_results",
    "load_experiment",
    "log",
    "merge",
    "note",
    "observe",
    "open_store",
    "plan",
    "quiz",
    "recompute",
    "run",
    "run_json",
    "run_time",
    "runs",
    "serve",
    "split",
    "tag",
    "tags",
    "try_change",
    "untag",
    "verify",
    "watch",
    "whatif",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("serving-journal")
    if name in _FORMER:
        module, attribute, instead = _FORMER[name]
        warn(f"journal.{name} is journal.{instead} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(module), attribute)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'journal' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package whose names are its functions: `journal.run`, `serve`, `plan` and `compare` are
    functions, although rooms have these names too. The import system would put a room in the place
    of its function once a module of it is loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
