"""Traces of arrivals: files that say when requests came and how long they were, read line by line.

Four forms are known by their keys or columns: Mooncake's JSON lines (`timestamp` in ms,
`input_length`, `output_length`, `hash_ids`), BurstGPT's CSV (`Timestamp` in s, `Request tokens`,
`Response tokens`), Azure's CSV (`TIMESTAMP`, `ContextTokens`, `GeneratedTokens`), and JSON lines of
one's own (`at_s`, `prompt_tokens`, `output_tokens`, or a prompt as in prompt_file.py).
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from journal.errors import SpecError
from journal.records.workload import MOST_TOKENS, Workload

BLOCK_TOKENS = 512  # of one hash id in Mooncake's traces
PROMPTS = ("prompt", "messages", "body")  # the keys of lines that bring their prompts along


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace: the time at which it is due in s, its lengths in tokens, and the ids
    of the blocks of BLOCK_TOKENS that its prompt is made of (empty: it shares nothing)."""

    at_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


class _Odd(ValueError):
    """A line that is no arrival."""


def arrivals_of(workload: Workload) -> tuple[Arrival, ...]:
    """The arrivals of a workload's trace between `from_s` and `until_s`, in the order of time;
    their times count from the first of them, divided by `speed`. Raises SpecError, naming the line,
    for a file that cannot be read, and where no request came in that time."""
    return _window(workload)


def has_prompts(path: Path) -> bool:
    """Whether the first line of a trace brings its prompt along. Raises SpecError for a file that
    cannot be read."""
    for _, entry in _entries(path):
        return any(name in entry for name in PROMPTS)
    raise SpecError(f"{path} has no line to send")


@lru_cache(maxsize=2)
def _window(workload: Workload) -> tuple[Arrival, ...]:
    """The arrivals, kept by all of the workload: its `content` tells versions of one file apart."""
    assert workload.trace is not None
    name, from_s, speed = workload.trace, workload.from_s, workload.speed
    every = sorted(_read(Path(name)), key=lambda one: one.at_s)
    began_s = every[0].at_s if every else 0.0
    end_s = float("inf") if workload.until_s is None else workload.until_s
    chosen = [one for one in every if from_s <= one.at_s - began_s < end_s]
    if not chosen:
        raise SpecError(
            f"{name} has no request from {from_s:g} s to {end_s:g} s of its time: give other "
            "--from and --until"
        )
    first_s = chosen[0].at_s
    return tuple(
        Arrival((one.at_s - first_s) / speed, one.prompt_tokens, one.output_tokens, one.blocks)
        for one in chosen
    )


def _read(path: Path) -> Iterator[Arrival]:
    reader: Callable[[Mapping[str, Any]], Arrival | None] | None = None
    for number, entry in _entries(path):
        try:
            reader = _reader(entry) if reader is None else reader
            arrival = reader(entry)
        except KeyError as error:
            raise SpecError(f"{path}: line {number} lacks {error.args[0]!r}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise SpecError(f"{path}: line {number} is no arrival: {error}") from None
        if arrival is not None:
            yield arrival


def _entries(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                rows = csv.DictReader(file, strict=True)
                for row in rows:
                    yield rows.line_num, row
                return
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, _object(path, number, text)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{path} cannot be read as a trace: {error}") from error


def _object(path: Path, number: int, text: str) -> Mapping[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: line {number} is not JSON ({error})") from None
    if not isinstance(entry, dict):
        raise SpecError(f"{path}: line {number} is not an object with the keys of a trace")
    return entry


def _reader(entry: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], Arrival | None]:
    """The reader of the form that the first line is of."""
    forms = {
        "timestamp": _mooncake,
        "Timestamp": _burstgpt,
        "TIMESTAMP": _azure,
        "at_s": _own,
    }
    for key, reader in forms.items():
        if key in entry:
            return reader
    raise _Odd(f"it has none of {', '.join(forms)}, by which the forms of traces are told apart")


def _mooncake(entry: Mapping[str, Any]) -> Arrival:
    blocks = entry.get("hash_ids", ())
    if not isinstance(blocks, list | tuple) or not all(type(one) is int for one in blocks):
        raise _Odd(f"hash_ids = {str(blocks)[:60]} are not whole numbers")
    return Arrival(
        _number(entry, "timestamp") / 1e3,
        _tokens(entry, "input_length"),
        _tokens(entry, "output_length"),
        tuple(blocks),
    )


def _burstgpt(entry: Mapping[str, Any]) -> Arrival | None:
    """A row of BurstGPT; None for one without an answer, which is a failure of that service."""
    if _number(entry, "Response tokens") == 0:
        return None
    lengths = _tokens(entry, "Request tokens"), _tokens(entry, "Response tokens")
    return Arrival(_number(entry, "Timestamp"), *lengths)


def _azure(entry: Mapping[str, Any]) -> Arrival:
    text = str(entry["TIMESTAMP"]).strip()
    whole, _, fraction = text.partition(".")
    digits = "".join(letter for letter in fraction if letter.isdigit())
    at_s = (datetime.fromisoformat(whole) - datetime(2000, 1, 1)).total_seconds()
    at_s += float(f"0.{digits}") if digits else 0.0
    return Arrival(at_s, _tokens(entry, "ContextTokens"), _tokens(entry, "GeneratedTokens"))


def _own(entry: Mapping[str, Any]) -> Arrival:
    lengths = _tokens(entry, "prompt_tokens"), _tokens(entry, "output_tokens")
    return Arrival(_number(entry, "at_s"), *lengths)


def _number(entry: Mapping[str, Any], key: str) -> float:
    value = entry[key]
    number = float(value)
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise _Odd(f"{key} = {str(value)[:60]} is not a number from 0 up")
    return number


def _tokens(entry: Mapping[str, Any], key: str) -> int:
    number = _number(entry, key)
    if number != int(number) or not 0 < number <= MOST_TOKENS:
        raise _Odd(
            f"{key} = {str(entry[key])[:60]} is not a whole number from 1 to {MOST_TOKENS:,}"
        )
    return int(number)
