"""The beginning of a run: a look at this machine, which takes a moment, while the modules of the
stages are loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from journal.plan.experiment_file import load_experiment
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.progress import Listener, ignore
from journal.run.preflight import Around
from journal.serve.engines.kind import EngineKind
from journal.serve.engines.vllm.vllm import VLLM

if TYPE_CHECKING:
    from journal.run.parallel.messages import Serve
    from journal.run.stages import Result


def ignore_result(result: "Result") -> None:
    """The receiver that does nothing with a result."""


def run(
    experiment: Experiment | str | Path,
    home: str | Path = "lab",
    *,
    endpoint: Endpoint | None = None,
    listener: Listener = ignore,
    serve: "Serve | None" = None,
    kind: EngineKind = VLLM,
    resume: bool = False,
    strict: bool = False,
    parallel_gpus: int | None = None,
    on: Literal["ray"] | None = None,
    on_result: "Callable[[Result], None]" = ignore_result,
) -> "Result":
    """Measure every cell of `experiment` (a record, a TOML file, or the name of one that ships),
    record each the moment it ends, and write today's log.

    With `endpoint` (from `attach`) that server is measured, whatever engines the experiment names;
    otherwise `serve` starts each of those engines once, as one of this `kind`. A cell that fails
    is recorded with its reason, and the others go on. With `resume` the newest try of the same
    experiment goes on: cells that it has measured already are left alone. Of an experiment that is
    to find a capacity, each run says which load comes next, of one that is to find the needed VRAM,
    which pool to start with. With `strict` nothing is measured on a disturbed machine, and a
    flagged cell is not good enough. `parallel_gpus` engines are measured at a time, each in a
    process of its own (`serve` is then pickled) and on GPUs of its own; each run has its
    neighbours among its facts. On "ray" each engine is a task of the Ray cluster at RAY_ADDRESS,
    and is measured on the host that Ray chooses for it: an error of that host is known when the
    engine starts there. `on_result` is called with the result as soon as it is stored and in the
    log; MLflow, which the result that is returned tells of, may lack some of it then.

    Raises Unfit for a disturbed machine if `strict`, SpecError or EngineError when nothing can be
    started, UsageError while another process measures into `home`, StoreError when nothing can be
    recorded. On KeyboardInterrupt the measured cells are stored and logged first; a second one ends
    the engine at once and writes no log. After `on_result` it ends the run normally, and leaves to
    `sync` what MLflow lacks.
    """
    loaded = load_experiment(experiment)
    around = Around(endpoint) if on is None else None
    from journal.run.stages import stages

    return stages(
        loaded,
        Path(home),
        around,
        endpoint=endpoint,
        listener=listener,
        serve=serve,
        kind=kind,
        resume=resume,
        strict=strict,
        parallel_gpus=parallel_gpus,
        on=on,
        on_result=on_result,
    )
