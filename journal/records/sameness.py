"""Sameness of runs: one table of the fields of an experiment, of its cells and of their
surroundings, with the questions for which each counts, and the reason.

The table lies among the records since rooms on every level ask it: plan for identities, doubts
for changes around a run, store for earlier measurements, compare for setups, pairs and points.
No room keeps a list of its own.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal, TypeAlias

from journal.records.cell import Cell
from journal.records.load_shape import LENGTH_AXES
from journal.records.run import Record
from journal.records.workload import Workload

# identity: is it the same measurement, so that a resumed experiment need not repeat it?
# repeats:  is it another try of the same cell, in one experiment?
# setup:    is it the same server, so that a log may show its figures as one server's?
# pairing:  is it the same cell on the two sides of a comparison?
# place:    was it measured before, however the engine was started then?
# point:    do its figures go into one mean, with others of its setup?
# resume:   is it the same experiment, run again?
Question: TypeAlias = Literal["identity", "repeats", "setup", "pairing", "place", "point", "resume"]
Part: TypeAlias = Literal["experiment", "cell", "engine", "load", "slo", "workload"]
Environment: TypeAlias = Mapping[str, str | int | float | None]

_SAME_CELL: tuple[Question, ...] = ("identity", "repeats", "pairing")
_SAME_LOAD: tuple[Question, ...] = (*_SAME_CELL, "place", "point")
_SAME_MODEL: tuple[Question, ...] = (*_SAME_CELL, "setup", "place")
_SAME_SERVER: tuple[Question, ...] = (*_SAME_CELL, "setup")
_BY_PARTS: tuple[Question, ...] = ("identity", "repeats")
_ALWAYS = object()


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, and the questions for which a difference in it counts. At the value
    `left_out_at` the field is left out of an identity, so that a field that was added later leaves
    the identities of older cells as they were."""

    part: Part
    name: str
    counts_for: tuple[Question, ...]
    reason: str
    left_out_at: object = _ALWAYS


BY_CELLS = "by the identities of the cells that it plans"

FIELDS = (
    Field("experiment", "name", ("resume",), "experiments of other names are other experiments"),
    Field("experiment", "question", (), "words"),
    Field("experiment", "hypothesis", (), "words"),
    Field("experiment", "engines", (), BY_CELLS),
    Field("experiment", "grid", (), BY_CELLS),
    Field("experiment", "load", (), BY_CELLS),
    Field("experiment", "slo", (), BY_CELLS),
    Field("experiment", "predict", (), "what is expected changes no figure"),
    Field("experiment", "claims", (), "what is expected changes no figure"),
    Field("experiment", "usd_per_hour", (), "a price changes no measured figure"),
    Field("experiment", "price_per_hour", (), "a price changes no measured figure"),
    Field("experiment", "card_rates", (), "a data sheet changes no measured figure"),
    Field("experiment", "source", (), "the text of the file, comments included"),
    Field("experiment", "command", (), "how it was asked for; what was asked for are its cells"),
    Field("experiment", "find_capacity", ("resume",), "its cells are where a search begins"),
    Field("experiment", "needed_vram", ("resume",), "its cells are what a search is about"),
    Field("experiment", "quality_check", (), "a check of the engine beside the cells"),
    Field("experiment", "workload", (), BY_CELLS),
    Field("experiment", "trial", (), "by its engines, which differ in what is tried"),
    Field("cell", "experiment", (), "a name that people give"),
    Field("cell", "model", _SAME_MODEL, "another model is another server"),
    Field("cell", "quantisation", _SAME_MODEL, "other weights, other speed"),
    Field("cell", "engine", _BY_PARTS, "by its own fields, below"),
    Field("cell", "batch", _SAME_LOAD, "the load shape"),
    Field("cell", "rate", _SAME_LOAD, "the load shape"),
    Field("cell", "prompt_tokens", _SAME_LOAD, "the work of the server"),
    Field("cell", "output_tokens", _SAME_LOAD, "the work of the server"),
    Field("cell", "load", _BY_PARTS, "by its own fields, below"),
    Field("cell", "slo", _BY_PARTS, "by its own fields, below"),
    Field("cell", "workload", _BY_PARTS, "by its own fields, below"),
    Field("cell", "repeat", ("identity",), "tells the tries of one cell apart"),
    Field("cell", "seed", ("identity",), "goes with the repeat: each try has prompts of its own"),
    Field("cell", "identity", (), "made of all the others"),
    Field("engine", "model", _BY_PARTS, "else it counts as the cell's, which endpoints have too"),
    Field("engine", "revision", _SAME_SERVER, "other weights"),
    Field("engine", "quantisation", _BY_PARTS, "else it counts as the cell's"),
    Field("engine", "dtype", _SAME_SERVER, "bytes of a weight, and which kernels run"),
    Field("engine", "tensor_parallel", _SAME_SERVER, "over how many GPUs a layer is spread"),
    Field("engine", "pipeline_parallel", _SAME_SERVER, "over how many GPUs layers are spread", 1),
    Field("engine", "executor", _SAME_SERVER, "how the parts talk to each other", None),
    Field("engine", "max_model_len", _SAME_SERVER, "how the KV pool is laid out"),
    Field("engine", "gpu_memory_utilization", _SAME_SERVER, "the size of the KV pool"),
    Field("engine", "kv_cache_memory_bytes", _SAME_SERVER, "the size of the KV pool"),
    Field("engine", "prefix_caching", _SAME_SERVER, "whether a prompt is read at all"),
    Field("engine", "trust_remote_code", _SAME_SERVER, "whose code runs"),
    Field("engine", "flags", _SAME_SERVER, "any flag may change the speed"),
    Field("engine", "env", _SAME_SERVER, "any variable may change the speed"),
    Field("engine", "python", (), "a path; the versions there are in the environment"),
    Field("engine", "start_timeout_s", (), "how long a start is waited for"),
    Field("load", "requests", _SAME_LOAD, "how long the run lasts, and what its tails hold"),
    Field("load", "warmup", (*_SAME_CELL, "point"), "how cold the server is when it is measured"),
    Field("load", "repeats", (), "how often the same cell is tried"),
    Field("load", "seed", (), "the cell's own seed counts"),
    Field("load", "burstiness", (*_SAME_CELL, "point"), "the load shape, of an open loop"),
    Field("load", "timeout_s", (), "when a request is given up; the error is recorded"),
    Field("load", "processes", (), "how the client sends; a late client is a doubt"),
    Field("load", "max_error_rate", (), "when a cell is given up; the errors are recorded"),
    Field("load", "interleave", (), "the order of the cells"),
    Field(
        "load",
        "convoy",
        (*_SAME_CELL, "point"),
        "whether prompts are read together: TTFT and TPOT differ many times over. Runs of journals "
        "that know no such field were convoys, and keep their identities as such",
        True,
    ),
    Field("load", "length_spread", (*_SAME_CELL, "point"), "what is asked of the server", 0.0),
    Field("load", "body", (*_SAME_CELL, "point"), "what is asked of the server", {}),
    Field("load", "abandon_after_s", (*_SAME_CELL, "point"), "which answers end", None),
    Field("load", "ramp", (*_SAME_CELL, "point"), "how the rate changes", None),
    Field("load", "duration_s", (*_SAME_CELL, "point"), "how long the run lasts", None),
    Field("load", "variants", (), "cells of their own, whose bodies count"),
    Field("load", "variant", (), "a name that people give; the body counts"),
    Field("load", "max_in_flight", (*_SAME_CELL, "point"), "when a request may go", None),
    Field("slo", "ttft_ms", (*_SAME_CELL, "point"), "what goodput counts as good"),
    Field("slo", "tpot_ms", (*_SAME_CELL, "point"), "what goodput counts as good"),
    Field("slo", "e2e_ms", (*_SAME_CELL, "point"), "what goodput counts as good"),
    Field("slo", "good_fraction", (*_SAME_CELL, "point"), "when a load counts as held"),
    Field("workload", "prompts", (), "a path; the content of the file counts"),
    Field("workload", "content", _SAME_LOAD, "the prompts themselves", None),
    Field("workload", "api", _SAME_LOAD, "a chat template adds to each prompt", None),
    Field(
        "workload", "natural_end", _SAME_LOAD, "who ends an answer, the model or its length", False
    ),
    Field("workload", "shuffle", _SAME_LOAD, "which prompts meet each other", False),
    Field("workload", "cycle", _SAME_LOAD, "a prompt sent twice may be cached", False),
    Field("workload", "shared_prefix", _SAME_LOAD, "how much of a prompt a cache can spare", 0),
    Field("workload", "prefixes", _SAME_LOAD, "how much of the pool the beginnings take", 1),
    Field("workload", "trace", (), "a path; the content of the file counts"),
    Field("workload", "speed", _SAME_LOAD, "when requests come", 1.0),
    Field("workload", "from_s", _SAME_LOAD, "which requests of a trace", 0.0),
    Field("workload", "until_s", _SAME_LOAD, "which requests of a trace", None),
    Field("workload", "mix", _SAME_LOAD, "the lengths that meet each other", ()),
    Field("workload", "turns", _SAME_LOAD, "how much was said before a turn", 1),
    Field("workload", "think_s", _SAME_LOAD, "how many users wait for an answer at a time", 0.0),
    Field("workload", "all_lines", (), "the number of requests counts"),
    Field("workload", "line_lengths", _SAME_LOAD, "how long each answer is asked to be", True),
)


@dataclass(frozen=True, slots=True)
class Surrounding:
    """A fact of the place of a run, by its name in the environment (`*` stands for any text). Where
    it `counts`, a difference in it makes another setup, a condition that a comparison names, and a
    doubt in mid-experiment; else it makes none of these."""

    name: str
    counts: bool
    reason: str


SURROUNDINGS = (
    Surrounding("engine_version", True, "another version of the server, by its own answer"),
    Surrounding("host", True, "another machine"),
    Surrounding("user", False, "a user's name changes no figure"),
    Surrounding("os", True, "its libraries and scheduler"),
    Surrounding("kernel", True, "its scheduler and network"),
    Surrounding("machine", True, "another kind of processor"),
    Surrounding("container", True, "limits and network of its own"),
    Surrounding("wsl", True, "a virtual machine with a driver of its own"),
    Surrounding("python", True, "the client's interpreter, which takes the times"),
    Surrounding("cpu", True, "client and server run on it"),
    Surrounding("cpu_*", True, "how much of the processor client and server have"),
    Surrounding("memory_*", True, "how much memory the host or its container has"),
    Surrounding("version_journal", True, "the meter itself"),
    Surrounding("version_openai", False, "a measured request does not go through it"),
    Surrounding("version_mlflow", False, "a run goes there once it is over"),
    Surrounding("version_mlflow_skinny", False, "a run goes there once it is over"),
    Surrounding("version_nvidia_ml_py", False, "a binding: the GPU's driver gives the figures"),
    Surrounding("engine_python", True, "the interpreter that the server's scheduler runs in"),
    Surrounding("version_vllm*", True, "the server"),
    Surrounding("version_torch", True, "the server's kernels"),
    Surrounding("version_transformers", True, "the server's tokenizer and model code"),
    Surrounding("gpus", True, "how many GPUs there are"),
    Surrounding("gpu_absent", False, "our sentence on why there is none; `gpus` is what counts"),
    Surrounding("gpu_driver", True, "what runs the kernels"),
    Surrounding("gpu_cuda", True, "what runs the kernels"),
    Surrounding("gpu_*_name", True, "another kind of GPU"),
    Surrounding("gpu_*_uuid", True, "another GPU of the kind: its cooling and clocks are its own"),
    Surrounding("gpu_*_total_bytes", True, "how much memory a GPU has"),
    Surrounding("sent_sha256", False, "what was sent: the workload is a field of the cell"),
    Surrounding("git_*", False, "the commit of the directory that `journal run` was called in"),
    Surrounding("doctor_*", False, "when and how the host was looked over"),
    Surrounding("tool", True, "another tool counts and times in its own way"),
    Surrounding("tool_version", True, "and so may its next version"),
)


@cache
def counting(part: Part, question: Question) -> tuple[str, ...]:
    """The fields of `part` that count for `question`, in the order of the table."""
    return tuple(row.name for row in FIELDS if row.part == part and question in row.counts_for)


def counting_fields(cell: Cell, question: Question) -> dict[str, str | int | float | None]:
    """The fields of a cell and of its load that count for `question`, with their values; the
    burstiness of a closed loop is None. A single stream and an open loop have no convoy, but in
    pairs: there one side has one value, so that it is named where the other has another. Prompts of
    one's own are what they are, however many tokens a server finds in them."""
    values = {name: getattr(cell, name) for name in counting("cell", question)}
    values |= {name: getattr(cell.load, name) for name in counting("load", question)}
    if cell.lasts_s is not None and "requests" in values:
        values["requests"] = asked_requests(cell)
    if "burstiness" in values:
        values["burstiness"] = cell.shape.burstiness
    if "body" in values:
        values["body"] = json.dumps(values["body"], sort_keys=True) if values["body"] else None
    if "convoy" in values and question != "pairing":
        values["convoy"] = cell.convoy
    if cell.workload.is_own:
        values["prompt_tokens"] = None
    return {**values, "workload": workload_key(cell.workload, question)}


def asked_requests(cell: Cell) -> int:
    """The number of requests that a cell asks for; 0 where it asks for a time instead."""
    return cell.load.requests if cell.lasts_s is None else 0


def workload_key(workload: Workload, question: Question = "place") -> str | None:
    """The label of a workload and a hash of all of it that counts for `question`; None for random
    tokens."""
    own = {
        row.name: value
        for row in FIELDS
        if row.part == "workload" and question in row.counts_for
        if (value := getattr(workload, row.name)) != row.left_out_at
    }
    if not own:
        return None
    text = json.dumps(own, sort_keys=True, default=asdict)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{workload.label} ({digest[:8]})"


def definition(cell: Cell, question: Literal["identity", "repeats"] = "identity") -> dict[str, Any]:
    """All fields of a cell and of its parts that count for `question`, as plain values by part and
    name."""
    parts = asdict(cell)
    parts["load"]["convoy"] = cell.convoy is not False  # one stream has nothing to be spread from
    parts["load"]["requests"] = asked_requests(cell)
    kept = {name: parts[name] for name in counting("cell", question)}
    for row in FIELDS:
        own = kept.get(row.part)
        if own is None:  # a field of the cell itself, or of a part that the cell lacks
            continue
        if question not in row.counts_for or own[row.name] == row.left_out_at:
            del own[row.name]
    for name in LENGTH_AXES:  # a length that is not known was 0 when the first identities were made
        kept[name] = 0 if kept[name] is None else kept[name]
    if cell.workload.is_own:
        del kept["prompt_tokens"]
    if not kept["workload"]:
        del kept["workload"]
    return kept


def surrounding(name: str) -> Surrounding | None:
    """The row of SURROUNDINGS for `name` of an environment; None where it has none."""
    return next((row for row in SURROUNDINGS if fnmatchcase(name, row.name)), None)


@cache
def _counts(name: str) -> bool:
    row = surrounding(name)
    return row is None or row.counts


def counted(environment: Environment) -> dict[str, str | int | float | None]:
    """The part of an environment that counts, without values of None. A name that has no row, such
    as one of another version of this journal, counts."""
    known = ((name, value) for name, value in environment.items() if value is not None)
    return {name: value for name, value in known if _counts(name)}


def surroundings(record: Record) -> dict[str, str | int | float | None]:
    """The part of a run's environment that counts, and the version of its server."""
    return counted({"engine_version": record.facts.version, **record.environment})
