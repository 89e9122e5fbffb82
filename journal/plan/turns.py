"""Conversations of one's own: lines of messages, divided into the turns of a user."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from journal.errors import SpecError
from journal.plan.prompt_file import Line, read_lines


def conversations_of(path: Path, turns: int) -> Iterator[tuple[Line, ...]]:
    """The conversations in the file at `path`, each as its first turns, up to `turns` of them.
    Where `turns` is 1, each line is one request, as it is. Raises SpecError, naming the line, for
    one that cannot be sent."""
    for line in read_lines(path, all_turns=turns > 1):
        yield turns_in(path, line)[:turns] if turns > 1 else (line,)


def turns_in(path: Path, line: Line) -> tuple[Line, ...]:
    """The turns of a line: a turn begins with a message of the user and has those that follow up to
    the assistant's, whose answers are the model's to give. What comes before the first question
    goes with it. Raises SpecError for a line without messages, and for a tool's message, which
    answers what the model may not ask."""
    here = f"{path}: line {line.number} cannot be sent in turns:"
    if "messages" not in line.fields:
        raise SpecError(f"{here} it has a prompt, and conversations are made of messages")
    turns: list[list[Any]] = [[]]
    for message in line.fields["messages"]:
        asked = any(one["role"] == "user" for one in turns[-1])
        if message["role"] == "tool":
            raise SpecError(f"{here} it has a message of a tool")
        if message["role"] == "assistant" and asked:
            turns.append([])
        else:
            turns[-1].append(message)
    asking = [turn for turn in turns if any(one["role"] == "user" for one in turn)]
    if not asking:
        raise SpecError(f"{here} nobody asks anything in its messages")
    return tuple(
        replace(line, fields={**line.fields, "messages": turn}, turn=number)
        for number, turn in enumerate(asking, start=1)
    )
