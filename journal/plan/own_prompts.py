"""Prompts of one's own: the workload settled before anything starts, and its requests."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

from journal.errors import SpecError
from journal.paths import anything_is_at, file_is_at
from journal.plan.dialect import in_dialect
from journal.plan.hub_prompts import full_name, hub_file
from journal.plan.mix import content_of, means
from journal.plan.prompt_file import Line, read_lines
from journal.plan.spool import Spool
from journal.plan.trace_file import arrivals_of, has_prompts
from journal.plan.turns import conversations_of
from journal.records.cell import Cell
from journal.records.engine import Endpoint
from journal.records.experiment import Experiment
from journal.records.request import Request
from journal.records.workload import BUILT_IN, HUB, Workload
from journal.serve.engines.vllm.request_fields import of_exact_length, of_running_usage

LANGUAGES = ("en", "zh")
# Characters of a token in an estimate, before a server has counted: English text has about four,
# Chinese between one and two.
CHARACTERS_OF_A_TOKEN = 4.0
WIDE_CHARACTERS_OF_A_TOKEN = 1.5


def with_workload(experiment: Experiment) -> Experiment:
    """`experiment` with the facts that only the file of its prompts can give: the hash of its
    content, the number of its lines and their lengths. An experiment of random tokens, and one
    whose facts are known, are returned as they are.

    Raises SpecError, naming the line, for a file that cannot be sent, and for a load that does not
    go with it.
    """
    workload = experiment.workload
    if workload.mix:
        return _mixed(experiment)
    if workload.content is not None or (workload.prompts, workload.trace) == (None, None):
        return experiment
    if workload.trace is not None:
        return _replayed(experiment, workload)
    if workload.prompts is not None and workload.prompts.startswith(HUB):
        workload = replace(workload, prompts=full_name(workload.prompts))
    path = path_of(workload)
    digest = _digest(path)
    count, prompt_tokens, outputs, chats = _surveyed(workload, path)
    load = experiment.load
    if workload.all_lines and not workload.cycle:
        load = replace(load, requests=count)
    _check(experiment, count, load.requests)
    grid = replace(experiment.grid, prompt_tokens=(prompt_tokens,))
    if outputs is not None:
        grid = replace(grid, output_tokens=(outputs,))
    workload = replace(workload, content=digest, api="chat" if chats else workload.api)
    return replace(experiment, workload=workload, grid=grid, load=replace(load, convoy=True))


def _mixed(experiment: Experiment) -> Experiment:
    """`experiment` with the mean lengths of its mix, and the hash of its files of lengths. Raises
    SpecError for a length that cannot be drawn, and for a load that does not go with a mix."""
    workload, grid = experiment.workload, experiment.grid
    others = {
        "prompts": workload.prompts,
        "a trace": workload.trace,
        "a shared prefix": any(grid.shared_prefix),
        "length_spread": experiment.load.length_spread,
        "a search for the needed VRAM": experiment.needed_vram,
    }
    for name, given in others.items():
        if given:
            raise SpecError(f"a mix has lengths of its own: leave {name} out, or the mix")
    prompt_tokens, output_tokens = means(workload.mix)
    lengths = {"prompt_tokens": (prompt_tokens,), "output_tokens": (output_tokens,)}
    return replace(
        experiment,
        workload=replace(workload, content=content_of(workload.mix)),
        grid=replace(grid, **lengths),
    )


def _replayed(experiment: Experiment, workload: Workload) -> Experiment:
    """`experiment` with the load of its trace: an open loop whose requests come when the trace
    says, at a mean rate that follows from it. Raises SpecError for a load of another kind."""
    assert workload.trace is not None
    path = Path(workload.trace)
    _check_replay(experiment)
    workload = replace(workload, content=_digest(path))
    if has_prompts(path):
        workload = replace(workload, prompts=workload.trace)
        _, prompt_tokens, output_tokens, chats = _surveyed(workload, path)
        workload = replace(workload, api="chat" if chats else workload.api)
    else:
        every = arrivals_of(workload)
        prompt_tokens = _median([one.prompt_tokens for one in every])
        output_tokens = _median([one.output_tokens for one in every])
    times_s = due_times(workload)
    if len(times_s) < 2 or times_s[-1] <= 0:
        raise SpecError(f"{path} has no two requests at different times between --from and --until")
    grid = replace(
        experiment.grid,
        rate=((len(times_s) - 1) / times_s[-1],),
        prompt_tokens=(prompt_tokens,),
        output_tokens=experiment.grid.output_tokens if output_tokens is None else (output_tokens,),
    )
    load = replace(experiment.load, requests=len(times_s), length_spread=0.0)
    return replace(experiment, workload=workload, grid=grid, load=load)


def _check_replay(experiment: Experiment) -> None:
    """Refuse (SpecError) a load that does not go with a trace."""
    others = {
        "rates": experiment.grid.rate,
        "prompts": experiment.workload.prompts,
        "a shared prefix": experiment.grid.shared_prefix,
        "a search for capacity": experiment.find_capacity,
        "a search for the needed VRAM": experiment.needed_vram,
        "a shuffle": experiment.workload.shuffle,
        "a cycle": experiment.workload.cycle,
    }
    for name, given in others.items():
        if given:
            raise SpecError(f"a trace says when requests come and what they are: leave {name} out")


def due_times(workload: Workload) -> list[float]:
    """The times at which the requests of a trace are due, in s from the first."""
    if not workload.is_own:
        return [one.at_s for one in arrivals_of(workload)]
    times_s = [line.at_s for line in _of_trace(workload) if line.at_s is not None]
    return [(at_s - times_s[0]) / workload.speed for at_s in times_s]


def _of_trace(workload: Workload) -> Iterator[Line]:
    """The lines of a trace with prompts between `from_s` and `until_s` of its own time. Raises
    SpecError for a line without a time, and for one that is due before the line before it."""
    path, began_s, last_s = path_of(workload), None, 0.0
    end_s = float("inf") if workload.until_s is None else workload.until_s
    for line in read_lines(path):
        if line.at_s is None or line.at_s < last_s:
            raise SpecError(
                f"{path}: line {line.number} cannot be sent: each line of a trace needs an at_s, "
                "not before that of the line before it"
            )
        last_s = line.at_s
        began_s = line.at_s if began_s is None else began_s
        if workload.from_s <= line.at_s - began_s < end_s:
            yield line


def check_unchanged(workload: Workload) -> None:
    """Refuse (SpecError) a file of prompts, or a trace, that has changed since it was settled."""
    if workload.content is None:
        return
    if workload.mix:
        if content_of(workload.mix) != workload.content:
            raise SpecError("the lengths of the mix have changed since the experiment began")
        return
    path = path_of(workload) if workload.trace is None else Path(workload.trace)
    if _digest(path) != workload.content:
        raise SpecError(f"{path} has changed since the experiment began: run it again")


def path_of(workload: Workload) -> Path:
    """The file of a workload's prompts. Raises SpecError for a built-in text that does not
    exist, and as `hub_file` does for a data set."""
    assert workload.prompts is not None
    if workload.prompts.startswith(HUB):
        return hub_file(workload.prompts)
    if not workload.prompts.startswith(BUILT_IN):
        return Path(workload.prompts)
    language = workload.prompts.removeprefix(BUILT_IN)
    if language not in LANGUAGES:
        known = " and ".join(f"{BUILT_IN}{one}" for one in LANGUAGES)
        raise SpecError(f"there is no built-in text {workload.prompts!r}: there are {known}")
    return Path(__file__).with_name(f"texts.{language}.jsonl")


def own_requests(cell: Cell, endpoint: Endpoint, spool: Spool | None) -> Iterator[Request]:
    """The measured requests of one run of `cell`, in the order of their index, which begins with
    0; their bodies lie in `spool` (None: in memory). Raises SpecError where the file has changed
    since it was settled."""
    workload = cell.workload
    path = path_of(workload)
    check_unchanged(workload)
    groups = [
        [_unplaced(line, cell, endpoint, spool) for line in conversation]
        for conversation in _taken(workload, path, cell.load.requests)
    ]
    if spool is not None:
        spool.close()
    ordered = (
        replace(one, conversation=number if workload.is_conversation else None)
        for number, group in enumerate(_order(cell, len(groups)))
        for one in groups[group]
    )
    for index, request in enumerate(islice(ordered, cell.load.requests)):
        yield replace(request, index=index)


def _unplaced(line: Line, cell: Cell, endpoint: Endpoint, spool: Spool | None) -> Request:
    """The request of a line, before it has its place among the others."""
    natural_end, (_, tokens) = cell.workload.natural_end, cell.planned_lengths
    if line.output_tokens is not None and cell.workload.has_line_lengths:
        tokens = line.output_tokens
    fields = body_of(line, endpoint, tokens, natural_end=natural_end)
    fields = in_dialect(fields, endpoint.facts.request_fields, cell.load.body)
    body = json.dumps(fields, separators=(",", ":")).encode()
    return Request(
        index=0,
        body=body if spool is None else spool.add(body),
        prompt_tokens=_estimated(line),
        output_tokens=tokens,
        natural_end=natural_end,
        turn=line.turn,
        think_s=cell.workload.think_s,
    )


def body_of(
    line: Line, endpoint: Endpoint, output_tokens: int, *, natural_end: bool
) -> dict[str, Any]:
    """The body of a line's request: its own fields as they are, over those that a measurement
    needs. A `whole` body keeps its sampling; only the model, the stream and, where it has none, the
    longest output are set."""
    needed: dict[str, Any] = {"model": endpoint.model, "stream": True}
    needed["stream_options"] = {"include_usage": True}
    if endpoint.extensions:
        needed |= of_running_usage() if natural_end else of_exact_length()
    fields = dict(line.fields)
    if endpoint.api == "chat" and "prompt" in fields:
        fields["messages"] = [{"role": "user", "content": fields.pop("prompt")}]
    if line.whole:
        longest = {} if line.output_tokens is not None else {"max_tokens": output_tokens}
        return {**fields, **longest, **needed}
    return {**needed, "temperature": 0.0, "max_tokens": output_tokens, **fields}


def _digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hex. Raises SpecError where it cannot be read, and for a
    device or a pipe, which may never end and cannot be read twice."""
    if anything_is_at(path) and not file_is_at(path):
        raise SpecError(f"{path} is no plain file, which is read several times: save it as one")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SpecError(f"the prompts {path} cannot be read: {error.strerror}") from error


def _surveyed(workload: Workload, path: Path) -> tuple[int, int, int | None, bool]:
    """The number of requests in a file, the median of their prompts' estimated tokens, and of their
    output tokens where each line gives them and they count, and whether they are chats. Raises
    SpecError for a line that cannot be sent."""
    prompts: list[int] = []
    outputs: list[int] = []
    first = None
    for line in chain.from_iterable(conversations_of(path, workload.turns)):
        first = line if first is None else first
        _check_api(workload, path, line, first)
        prompts.append(_estimated(line))
        if line.output_tokens is not None and workload.has_line_lengths:
            outputs.append(line.output_tokens)
    if first is None:
        raise SpecError(f"{path} has no line to send")
    output_tokens = _median(outputs) if len(outputs) == len(prompts) else None
    return len(prompts), _median(prompts), output_tokens, first.api == "chat"


def _check_api(workload: Workload, path: Path, line: Line, first: Line) -> None:
    """Refuse a line that the part of the API does not take to which the others go."""
    here = f"{path}: line {line.number} cannot be sent:"
    if workload.api == "completions" and line.api == "chat":
        raise SpecError(f"{here} it has messages, which go to --api chat only")
    if workload.api == "chat" and not isinstance(line.fields.get("prompt", ""), str):
        raise SpecError(f"{here} its prompt is token ids, which go to --api completions only")
    if workload.api is None and line.api != first.api:
        raise SpecError(
            f"{here} it goes to {line.api} and line {first.number} to {first.api}: give --api chat "
            "to send all of them as messages"
        )


def _check(experiment: Experiment, lines: int, requests: int) -> None:
    """Refuse (SpecError) a load that does not go with a file of so many lines."""
    workload = experiment.workload
    noun = "turns" if workload.is_conversation else "lines"
    if requests > lines and not workload.cycle:
        raise SpecError(
            f"{workload.name} has {lines} {noun} for {requests} requests: ask for fewer "
            "(--requests), or allow lines to be sent again (--cycle)"
        )
    if experiment.needed_vram:
        raise SpecError(
            "a search for the needed VRAM needs prompts of exact lengths: leave prompts out"
        )
    if experiment.find_capacity is not None and not workload.cycle:
        raise SpecError(
            "a search for capacity sends as many requests as it needs: allow lines to be sent "
            "again (--cycle)"
        )


def _taken(workload: Workload, path: Path, requests: int) -> Iterable[tuple[Line, ...]]:
    """The lines, or conversations of them, that a run of so many requests may send: all of them
    where they are shuffled."""
    if workload.trace is not None:
        return ((line,) for line in _of_trace(workload))
    groups = conversations_of(path, workload.turns)
    return groups if workload.shuffle else islice(groups, requests)


def _order(cell: Cell, lines: int) -> Sequence[int]:
    """The number of the line, counted from 0, of each request of `cell`, or of as many
    conversations."""
    requests, order = cell.load.requests, list(range(lines))
    chosen: list[int] = []
    for turn in range(-(-requests // lines)):
        if cell.workload.shuffle:
            Random(f"lines {cell.seed} {turn}").shuffle(order)
        chosen += order
    return chosen[:requests]


def _estimated(line: Line) -> int:
    """The tokens of a line's prompt by its characters; of token ids, their number."""
    prompt = line.fields.get("prompt")
    if isinstance(prompt, list):
        return len(prompt)
    said = (message.get("content") for message in line.fields.get("messages", ()))
    text = prompt if prompt is not None else "".join(map(_text, said))
    wide = sum(ord(letter) > 0x2E80 for letter in text)
    narrow = len(text) - wide
    return max(1, round(narrow / CHARACTERS_OF_A_TOKEN + wide / WIDE_CHARACTERS_OF_A_TOKEN))


def _text(content: Any) -> str:
    """The words of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _median(numbers: Sequence[int]) -> int:
    return sorted(numbers)[(len(numbers) - 1) // 2]
