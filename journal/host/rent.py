"""A rented machine for one experiment: SkyPilot's task file for it, and the way there and back."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from journal.errors import JournalError, MissingExtra, SpecError, UsageError
from journal.host.fit import fit
from journal.plan.experiment_file import load_experiment, shipped
from journal.private import make_folder, write_private
from journal.records.experiment import Engine, Experiment
from journal.serve.models import EMBEDDED
from journal.theory.gpu_table import GPU_KINDS, find_gpu
from journal.theory.headroom import Choice
from journal.units import data_size

CLOUDS = ("vast", "runpod", "lambda", "paperspace")
# Our names of GPUs, and SkyPilot's.
SKYPILOT = {
    "T4": "T4",
    "L4": "L4",
    "A10G": "A10G",
    "A10": "A10",
    "RTX 3090": "RTX3090",
    "RTX 4090": "RTX4090",
    "RTX 5090": "RTX5090",
    "A100 40GB": "A100",
    "A40": "A40",
    "L40": "L40",
    "L40S": "L40S",
    "RTX A6000": "RTXA6000",
    "RTX 6000 Ada": "RTX6000-Ada",
    "A100 80GB": "A100-80GB",
    "H100 PCIe": "H100",
    "H100 SXM": "H100-SXM",
    "GH200": "GH200",
    "H200": "H200",
    "B200": "B200",
}
HEADER = "# Written by `journal rent`"
IDLE_MINUTES = 20  # after its work, before the machine ends itself
DISK_GB = 100  # for the system, vLLM and its compiled kernels; the weights come on top
GB = 10**9
WORK_FAILED = 100  # of `sky launch`, where the machine came up and the task on it failed
NOTHING_THERE = 23  # of rsync


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """A machine to rent for an experiment: `count` GPUs of the kind `gpu`, for `hours` at most.
    `name` is the machine's and the task's; `task` the text of the task file; `hints` say which GPUs
    fit, and which models are not known."""

    name: str
    gpu: str
    count: int
    cloud: str | None
    hours: float
    task: str
    hints: tuple[str, ...] = field(default=())


def rental(
    path_or_name: str,
    *,
    gpu: str | None = None,
    cloud: str | None = None,
    hours: float = 4.0,
) -> Rental:
    """The machine and the task file for an experiment. `gpu` is SkyPilot's name of a GPU, with
    `:N` for N of them; without it the smallest GPU known here on which the largest cell fits.
    The experiment runs for `hours` at most.

    Raises SpecError for an experiment that no rented machine could run, or where `gpu` is needed.
    """
    experiment, path = load_experiment(path_or_name), Path(path_or_name)
    path = path if path.is_file() else shipped()[path_or_name]
    _check(experiment, cloud, hours)
    gpus = max(engine.gpu_count for engine in experiment.engines)
    fitting = [name for name in SKYPILOT if all(_fits(experiment, name))]
    known = all(_choice(experiment, engine, "T4") for engine in experiment.engines)
    if gpu is None and not fitting:
        raise SpecError(
            f"no GPU known here is sure to hold {experiment.name}: name one with --gpu, such as "
            "A100-80GB"
        )
    chosen, _, number = (gpu or SKYPILOT[fitting[0]]).partition(":")
    chosen, count = _skypilot(chosen), _count(number, gpus)
    if count < gpus:
        raise SpecError(
            f"--gpu {gpu} is {count} GPUs, and {experiment.name} spreads a model over {gpus}"
        )
    name = "journal-" + (_slug(path.stem) or "experiment")
    return Rental(
        name=name,
        gpu=chosen,
        count=count,
        cloud=cloud,
        hours=hours,
        task=_task(name, f"{chosen}:{count}", cloud, hours, path, _disk_gb(experiment)),
        hints=tuple(_hints(experiment, chosen, fitting, known)),
    )


def _check(experiment: Experiment, cloud: str | None, hours: float) -> None:
    if cloud is not None and cloud not in CLOUDS:
        raise SpecError(f"--cloud {cloud!r} is not known here: it is one of {', '.join(CLOUDS)}")
    if not 0 < hours < 1000:
        raise SpecError(f"--hours {hours} is not a time to rent for: give hours, such as 4")
    for engine in experiment.engines:
        if engine.model == EMBEDDED:
            raise SpecError(f"{EMBEDDED} is small enough for this machine: journal run")
        if Path(engine.model).expanduser().is_dir():
            raise SpecError(
                f"{engine.model} is a directory of this machine, which a rented one does not have: "
                "use the model's name on the hub"
            )


def _count(number: str, gpus: int) -> int:
    if not number:
        return gpus
    if not number.isascii() or not number.isdecimal() or int(number) == 0:
        raise SpecError(f"--gpu ends in {number!r}: write a GPU and how many, such as A100-80GB:2")
    return int(number)


def _skypilot(gpu: str) -> str:
    """SkyPilot's name of a GPU that is named in its way or in ours."""
    for name in SKYPILOT.values():
        if name.lower() == gpu.lower():
            return name
    try:
        return SKYPILOT.get(find_gpu(gpu).name, gpu)
    except SpecError:
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*", gpu):
            return gpu
        raise


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")


# ---- what fits ---------------------------------------------------------------------------------


def _choice(experiment: Experiment, engine: Engine, kind: str) -> Choice | None:
    """The fit of the largest cell of `engine` on as many GPUs of that kind as it asks for; None
    where that is not known."""
    grid = experiment.grid
    context = max(grid.prompt_tokens) + max(grid.output_tokens)
    try:
        advice = fit(
            engine.model,
            gpu=kind,
            context=context,
            batch=max(grid.batch),
            tensor_parallel=engine.tensor_parallel,
            pipeline_parallel=engine.pipeline_parallel,
        )
    except UsageError:
        return None
    choices = advice.places[0].fit.choices
    wanted = (engine.quantisation or "fp16").lower()
    packed = "awq" if wanted == "bitsandbytes" else wanted
    return next((one for one in choices if packed.startswith(one.precision)), choices[0])


def _fits(experiment: Experiment, kind: str) -> Iterator[bool]:
    for engine in experiment.engines:
        choice = _choice(experiment, engine, kind)
        yield choice is not None and choice.fits


def _hints(experiment: Experiment, gpu: str, fitting: Sequence[str], known: bool) -> Iterator[str]:
    grid = experiment.grid
    largest = f"{max(grid.batch)} x {max(grid.prompt_tokens) + max(grid.output_tokens):,} tokens"
    kind = next((name for name, theirs in SKYPILOT.items() if theirs == gpu), None)
    for engine in experiment.engines:
        choice = None if kind is None else _choice(experiment, engine, kind)
        if choice is not None and not choice.fits:
            wanted = data_size(choice.needed_bytes)
            yield (
                f"{engine.model} does not hold its largest cell ({largest}) on {gpu}: that wants "
                f"{wanted} per GPU, so requests would wait"
            )
    if not known:
        yield "The sizes of a model are not known here, nor whether it fits: see journal fit"
    elif kind is None:
        yield f"{gpu} is not in the table of GPUs, so whether the models fit is not known"
    if fitting:
        names = ", ".join(SKYPILOT[name] for name in fitting)
        yield f"The largest cell ({largest}) fits on: {names}"


def _disk_gb(experiment: Experiment) -> int:
    whole = [
        replace(engine, tensor_parallel=1, pipeline_parallel=1) for engine in experiment.engines
    ]
    choices = [_choice(experiment, engine, GPU_KINDS[0].name) for engine in whole]
    weights = sum(choice.weight_bytes for choice in choices if choice is not None)
    return DISK_GB + max(50, round(1.5 * weights / GB))


# ---- the task file -----------------------------------------------------------------------------


def _task(name: str, gpus: str, cloud: str | None, hours: float, path: Path, disk_gb: int) -> str:
    folder = _checkout()
    there = f"~/{_slug(path.stem) or 'experiment'}.toml"
    infra = f"\n  infra: {cloud}" if cloud else ""
    workdir = f"\nworkdir: {json.dumps(str(folder))}" if folder else ""
    package = ".[vllm]" if folder else _released()
    return f"""\
{HEADER}. With SkyPilot (https://docs.skypilot.co) set up for your cloud:
#
#   sky launch -c {name} THIS_FILE --secret HF_TOKEN     # the token only for gated models
#   rsync -az {name}:journal-home/ {name}/               # the journal, back to here
#   sky down {name}
#   journal merge {name}/journal.db
#
# `journal rent --launch` does the first three. The experiment is stopped after {hours:g} h, and the
# machine ends itself {IDLE_MINUTES} minutes after its work: fetch the journal before.
name: {name}{workdir}
resources:{infra}
  accelerators: {gpus}
  disk_size: {disk_gb}
  autostop:
    idle_minutes: {IDLE_MINUTES}
    down: true
secrets:
  HF_TOKEN: ""
file_mounts:
  {there}: {json.dumps(str(path.resolve()))}
setup: |
  set -e
  python3 -m pip install --quiet uv
  python3 -m uv venv --quiet --python 3.12 ~/journal-env
  python3 -m uv pip install --quiet --python ~/journal-env/bin/python {shlex.quote(package)}
run: |
  set -e
  export PATH=~/journal-env/bin:$PATH
  journal doctor --home ~/journal-home
  timeout --kill-after=300 {round(hours * 3600)} journal run {there} --home ~/journal-home
"""


def _released() -> str:
    return f"serving-journal[vllm]=={distribution('serving-journal').version}"


def _checkout() -> Path | None:
    """The directory of this package's source; None where it was not installed as editable."""
    origin = json.loads(distribution("serving-journal").read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlsplit(origin["url"]).path))


def write_task(rented: Rental, path: Path) -> None:
    """Write the task file. Raises UsageError where a file of another origin is there."""
    try:
        ours = path.is_file() and path.read_bytes().startswith(HEADER.encode())
        if path.exists() and not ours:
            raise UsageError(
                f"{path} is there already and no task of ours: name another with --out"
            )
        write_private(path, rented.task)
    except OSError as error:
        why = f"{path} cannot be written ({error.strerror}): name another with --out"
        raise UsageError(why) from None


# ---- there and back ------------------------------------------------------------------------------


def launch(rented: Rental, task: Path, folder: Path, *, say: Callable[[str], None]) -> bool:
    """Hand the task to SkyPilot, copy the journal of the run into `folder`, and end the machine.
    Returns whether the experiment ended well; `say` receives a line for each step.

    Raises MissingExtra without SkyPilot, and JournalError where the journal could not be fetched
    from a machine that did its work (it is then left to end itself), or where it is not sure that
    the machine is gone.
    """
    sky = shutil.which("sky")
    if sky is None:
        raise MissingExtra("journal rent --launch", "rent")
    token = ["--secret", "HF_TOKEN"] if os.environ.get("HF_TOKEN") else []
    say(f"renting {rented.count} x {rented.gpu} as {rented.name}")
    ended = _run(sky, "launch", "-y", "-c", rented.name, *token, str(task))
    say(f"fetching the journal into {folder}")
    make_folder(folder)
    source = f"{rented.name}:journal-home/"
    fetched = _run("rsync", "-az", source, f"{folder}/")
    if fetched not in (0, NOTHING_THERE) and ended in (0, WORK_FAILED):
        raise JournalError(
            f"the journal could not be fetched: try `rsync -az {source} {folder}/` within "
            f"{IDLE_MINUTES} minutes, then `sky down {rented.name}`"
        )
    say(f"ending {rented.name}")
    if _run(sky, "down", "-y", rented.name) != 0:
        raise JournalError(
            f"it is not sure that {rented.name} is gone: look with `sky status`, and in your "
            "cloud's console"
        )
    return ended == 0


def _run(*command: str) -> int:
    try:
        return subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        raise JournalError(f"{command[0]} is not installed here: install it") from None
