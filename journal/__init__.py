"""The lab journal for LLM serving: measured VRAM, latency and throughput of every experiment.

    import journal

    result = journal.run(journal.load_experiment("quickstart"))
    for record in result.records:
        print(record.cell.batch, record.metrics["ttft_s.p50"].value)

Names are loaded when they are first used, so that `import journal` costs next to nothing.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.chat.ask import Question, answer
    from journal.compare.capacity import Capacity
    from journal.compare.comparison import Comparison, compare
    from journal.compare.least_pool import Needed
    from journal.errors import (
        EndpointError,
        EngineError,
        JournalError,
        NotFound,
        SpecError,
        StoreError,
        Unfit,
        UsageError,
    )
    from journal.exchange.export import export
    from journal.exchange.import_results import Imported, import_results
    from journal.host.doctor import examine, verdict
    from journal.host.fit import Advice, advise
    from journal.monitor.watch import Watch
    from journal.plan.cells import cells, cost
    from journal.plan.experiment_file import load_experiment
    from journal.records.cell import Cell
    from journal.records.engine import Endpoint
    from journal.records.experiment import Engine, Experiment, Grid, Load, Slo
    from journal.records.figure import Figure
    from journal.records.notebook import Note
    from journal.records.progress import Event
    from journal.records.run import Record
    from journal.records.samples import Samples
    from journal.report.checklist import Step, checklist
    from journal.report.log import write_experiment_log, write_log, write_week_log
    from journal.report.run_json import as_json
    from journal.run.stages import Result, run
    from journal.run.summary import recompute
    from journal.serve.endpoint import attach, observe
    from journal.serve.standing import serving
    from journal.store.compact import Compacted, compact
    from journal.store.merge import Merged, merge
    from journal.store.notes import note
    from journal.store.store import open_store
    from journal.theory.split import Split, split

_HOME_OF = {
    "journal.chat.ask": "Question answer",
    "journal.host.doctor": "examine verdict",
    "journal.host.fit": "Advice advise",
    "journal.serve.standing": "serving",
    "journal.monitor.watch": "Watch",
    "journal.errors": (
        "EndpointError EngineError JournalError NotFound SpecError StoreError Unfit UsageError"
    ),
    "journal.theory.split": "Split split",
    "journal.plan.cells": "cells cost",
    "journal.plan.experiment_file": "load_experiment",
    "journal.store.compact": "Compacted compact",
    "journal.exchange.import_results": "Imported import_results",
    "journal.exchange.export": "export",
    "journal.store.merge": "Merged merge",
    "journal.store.notes": "note",
    "journal.store.store": "open_store",
    "journal.records.cell": "Cell",
    "journal.records.engine": "Endpoint",
    "journal.records.experiment": "Engine Experiment Grid Load Slo",
    "journal.records.figure": "Figure",
    "journal.records.notebook": "Note",
    "journal.records.progress": "Event",
    "journal.records.run": "Record",
    "journal.records.samples": "Samples",
    "journal.report.checklist": "Step checklist",
    "journal.compare.comparison": "Comparison compare",
    "journal.report.log": "write_experiment_log write_log write_week_log",
    "journal.report.run_json": "as_json",
    "journal.run.stages": "Result run",
    "journal.serve.endpoint": "attach observe",
    "journal.compare.capacity": "Capacity",
    "journal.compare.least_pool": "Needed",
    "journal.run.summary": "recompute",
}
_MODULE_OF = {name: module for module, names in _HOME_OF.items() for name in names.split()}

__all__ = [  # noqa: PLE0604, RUF100
    "Advice",
    "Capacity",
    "Cell",
    "Compacted",
    "Comparison",
    "Endpoint",
    "EndpointError",
    "Engine",
    "EngineError",
    "Event",
    "Experiment",
    "Figure",
    "Grid",
    "Imported",
    "JournalError",
    "Load",
    "Merged",
    "Needed",
    "NotFound",
    "Note",
    "Question",
    "Record",
    "Result",
    "Samples",
    "Slo",
    "SpecError",
    "Split",
    "Step",
    "StoreError",
    "Unfit",
    "UsageError",
    "Watch",
    "advise",
    "answer",
    "as_json",
    "attach",
    "cells",
    "checklist",
    "compact",
    "compare",
    "cost",
    "examine",
    "export",
    "import_results",
    "load_experiment",
    "merge",
    "note",
    "observe",
    "open_store",
    "recompute",
    "run",
    "serving",
    "split",
    "verdict",
    "write_experiment_log",
    "write_log",
    "write_week_log",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'journal' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package whose names are its functions: `journal.run` is one, although a room is called so
    too. The import system would put the room in its place once a module of it is loaded."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
