"""The lab journal for LLM serving: measured VRAM, latency and throughput of every experiment.

    import journal

    result = journal.run(journal.load_experiment("quickstart"))
    for record in result.records:
        print(record.cell.batch, record.metrics["ttft_s.p50"].value)

Names are loaded when they are first used, so that `import journal` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.desk.asking import Question, answer
    from journal.desk.doctor import examine, verdict
    from journal.desk.fitting import Advice, advise
    from journal.desk.serving import serving
    from journal.desk.watch import Watch
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
    from journal.explain.split import Split, split
    from journal.plan.cells import cells, cost
    from journal.plan.spec import load_experiment
    from journal.record.compact import Compacted, compact
    from journal.record.exchange import Imported, import_results
    from journal.record.export import export
    from journal.record.merge import Merged, merge
    from journal.record.notes import note
    from journal.record.store import open_store
    from journal.records import (
        Cell,
        Endpoint,
        Engine,
        Event,
        Experiment,
        Figure,
        Grid,
        Load,
        Note,
        Record,
        Samples,
        Slo,
    )
    from journal.report.checklist import Step, checklist
    from journal.report.compare import Comparison, compare
    from journal.report.log import write_experiment_log, write_log, write_week_log
    from journal.report.rows import as_json
    from journal.runner import Result, run
    from journal.serve.endpoint import attach, observe
    from journal.summarise.capacity import Capacity
    from journal.summarise.needed import Needed
    from journal.summing import recompute

_HOME_OF = {
    "journal.desk.asking": "Question answer",
    "journal.desk.doctor": "examine verdict",
    "journal.desk.fitting": "Advice advise",
    "journal.desk.serving": "serving",
    "journal.desk.watch": "Watch",
    "journal.errors": (
        "EndpointError EngineError JournalError NotFound SpecError StoreError Unfit UsageError"
    ),
    "journal.explain.split": "Split split",
    "journal.plan.cells": "cells cost",
    "journal.plan.spec": "load_experiment",
    "journal.record.compact": "Compacted compact",
    "journal.record.exchange": "Imported import_results",
    "journal.record.export": "export",
    "journal.record.merge": "Merged merge",
    "journal.record.notes": "note",
    "journal.record.store": "open_store",
    "journal.records": (
        "Cell Endpoint Engine Event Experiment Figure Grid Load Note Record Samples Slo"
    ),
    "journal.report.checklist": "Step checklist",
    "journal.report.compare": "Comparison compare",
    "journal.report.log": "write_experiment_log write_log write_week_log",
    "journal.report.rows": "as_json",
    "journal.runner": "Result run",
    "journal.serve.endpoint": "attach observe",
    "journal.summarise.capacity": "Capacity",
    "journal.summarise.needed": "Needed",
    "journal.summing": "recompute",
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
