"""Workloads, which say what is sent to a server: random tokens, or prompts of one's own."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Gt, Le, MaxLen, MinLen

OWN = "prompts"  # what the labels of prompts of one's own begin with
MOST_TOKENS = 100_000_000
MOST_PREFIXES = 100_000
MOST_TURNS = 1000
MOST_PARTS = 100
BUILT_IN = "text:"  # what the names of the built-in texts begin with
TASK = "task:"  # what the names of tasks of an evaluation begin with, which another tool asked
HUB = "hub:"  # what the names of data sets on the Hugging Face hub begin with
Length: TypeAlias = Annotated[int, Gt(0), Le(MOST_TOKENS)] | Annotated[str, MinLen(1)]
FORBID_EXTRA = {"extra": "forbid"}  # read by pydantic where plan/experiment_file.py parses a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a mix: a share of the requests in proportion to its `weight`, with lengths of its
    own in tokens. A length is a number, or a text: "64..256" (uniform, both ends included),
    "2048~0.5" (log-normal with that mean and coefficient of variation), or "@FILE" (drawn from a
    file with one number on each line)."""

    __pydantic_config__: ClassVar = FORBID_EXTRA

    prompt_tokens: Length
    output_tokens: Length
    weight: Annotated[float, Gt(0), Le(1e6)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The prompts of a load, and the end of their answers; docs/workloads.md describes every field.

    Without `prompts` they are random tokens of the cell's lengths. `prompts` is the path of a file,
    the name of a built-in text, "text:en" or "text:zh", or that of a data set on the hub,
    "hub:OWNER/NAME/CONFIG:SPLIT:COLUMN", of which all but the owner and the name may be left out.
    Its lines are sent in order, or in an order of the cell's seed (`shuffle`): all of them once
    (`all_lines`), else as many as the load's `requests`, and only with `cycle` any of them twice.
    `api` None leaves the choice to the prompts and the server. With `natural_end` the model ends
    its answers itself, and the requested output length is only the longest. Answers to a built-in
    text are as long as its lines say (`line_lengths`), else as long as the cell asks.

    The first `shared_prefix` tokens of each random prompt are one of `prefixes` beginnings, which
    the prompts take in turn. A run has beginnings of its own, and sends each of them once before
    it measures.

    `trace` is the path of a file that says when requests come and how long they are; its times are
    divided by `speed`, and it is taken from `from_s` to `until_s` (None: its end) of its own time.

    With `turns` above 1 the requests are conversations of so many turns (of prompts of one's own:
    at most so many), each turn with all that was said before it; a user thinks for `think_s`
    seconds between an answer and the next turn.

    `mix` has the parts of random requests whose lengths differ in kind; the lengths of the cell are
    then their means.

    `content`, the SHA-256 of the file in hex, is None until the file has been read, before the
    experiment begins.
    """

    __pydantic_config__: ClassVar = FORBID_EXTRA

    prompts: Annotated[str, MinLen(1)] | None = None
    api: Literal["chat", "completions"] | None = None
    natural_end: bool = False
    shuffle: bool = False
    cycle: bool = False
    all_lines: bool = True
    line_lengths: bool = True
    shared_prefix: Annotated[int, Ge(0), Le(MOST_TOKENS)] = 0
    prefixes: Annotated[int, Gt(0), Le(MOST_PREFIXES)] = 1
    trace: Annotated[str, MinLen(1)] | None = None
    speed: Annotated[float, Gt(0), Le(1e6)] = 1.0
    from_s: Annotated[float, Ge(0), Le(1e12)] = 0.0
    until_s: Annotated[float, Gt(0), Le(1e12)] | None = None
    turns: Annotated[int, Gt(0), Le(MOST_TURNS)] = 1
    think_s: Annotated[float, Ge(0), Le(86_400.0)] = 0.0
    mix: Annotated[tuple[Part, ...], MaxLen(MOST_PARTS)] = ()
    content: str | None = None

    @property
    def is_own(self) -> bool:
        """Whether its prompts are given as texts, so that only the server counts their tokens."""
        return self.prompts is not None

    @property
    def is_named(self) -> bool:
        """Whether its prompts have a name that is no path: a built-in text, or a data set."""
        return self.prompts is not None and self.prompts.startswith((BUILT_IN, HUB))

    @property
    def task(self) -> str | None:
        """The task of an evaluation, which another tool asked; None for any other workload."""
        is_task = self.prompts is not None and self.prompts.startswith(TASK)
        return self.prompts.removeprefix(TASK) if self.prompts is not None and is_task else None

    @property
    def is_built_in(self) -> bool:
        """Whether its prompts are a text that comes with the program."""
        return self.prompts is not None and self.prompts.startswith(BUILT_IN)

    @property
    def has_line_lengths(self) -> bool:
        """Whether an answer is as long as its line says, where that says it."""
        return self.line_lengths or not self.is_built_in

    @property
    def varies(self) -> bool:
        """Whether its requests have lengths that are not those of the cell."""
        return self.trace is not None or self.is_conversation or bool(self.mix)

    @property
    def is_conversation(self) -> bool:
        """Whether its requests are turns of conversations."""
        return self.turns > 1

    @property
    def name(self) -> str:
        """The name of the prompts: "random tokens", "text:en", that of the data set, or that of the
        file or trace."""
        if self.task is not None:
            return self.task
        if self.prompts is None:
            return "random tokens" if self.trace is None else PurePath(self.trace).name
        return self.prompts if self.is_named else PurePath(self.prompts).name

    @property
    def label(self) -> str:
        """The kind of prompts, with all but their content that sets the workload apart."""
        name = self.task or (OWN if self.is_own else "random tokens")
        shared = f"{self.prefixes} x {self.shared_prefix} shared tokens"
        marks = [
            shared if self.shared_prefix else None,
            "trace" if self.trace else None,
            f"mix of {len(self.mix)}" if self.mix else None,
            f"{self.turns} turns, {self.think_s:g} s to think" if self.turns > 1 else None,
            self.api,
            "natural end" if self.natural_end else None,
            None if self.has_line_lengths else "lengths of the cell",
        ]
        marks += ["shuffled" if self.shuffle else None, "cycled" if self.cycle else None]
        return ", ".join([name, *(mark for mark in marks if mark)])


RANDOM_TOKENS = Workload()
