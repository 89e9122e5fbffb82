"""A kind of engine, as the rooms that start, follow and read one need it.

All knowledge of vLLM is in `vllm/`, and `vllm/vllm.py` combines it into the one kind that there is.
Another kind is another `EngineKind`.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from re import Pattern
from typing import Literal, Protocol

from journal.errors import EngineError
from journal.records.engine import EngineFacts, MetricNames
from journal.records.experiment import Engine
from journal.records.explanation import Explanation


class Command(Protocol):
    """The argv that serves `model` (a path or hub name) as `name` at `host` and `port`. `longest`
    is the context in tokens of the model's config (None: not known)."""

    def __call__(
        self,
        engine: Engine,
        *,
        python: str,
        model: str,
        name: str,
        host: str,
        port: int,
        version: str,
        on_cpu: bool,
        longest: int | None,
    ) -> list[str]: ...


class ContextTokens(Protocol):
    """The longest prompt and output together that `engine` serves under its command; None where
    that is not known before it starts."""

    def __call__(self, engine: Engine, longest: int | None, *, on_cpu: bool) -> int | None: ...


class Failure(Protocol):
    """The error to raise, with its cause, when `event` happened to an engine that has logged
    `text`."""

    def __call__(self, event: str, text: str, log_path: Path) -> EngineError: ...


@dataclass(frozen=True, kw_only=True)
class EngineKind:
    """`name` is that of the program in sentences.

    Its build: `packages` are the distributions that bring it, the newest series first; `oldest`
    the first version that is served, `install` how to get one, `device` the device of the build
    whose packages have these versions.

    Its command line: `command`, `context_tokens`; flags that the journal chooses itself
    (`reserved_flags`), that would show a secret (`secret_flags`), or that a field of the
    experiment stands for (`field_flags`, by flag); `weight_files` are patterns of the files that
    an engine may load weights from, of which the folder of its model has one (empty: it may have
    none).

    Its environment: variables that are always set, the one that carries the API key, the one that
    allows a context beyond the model's own when it is "1", the one that takes models from another
    hub than Hugging Face's when it is true (None: there is none), and those that would override
    what an engine asks for.

    Its log: `phases` of a start in their order, each begun by a line that its pattern finds;
    `fetching` is the phase in which weights may be downloaded, and `loading` the one after it;
    `facts` reads lines of a start, `failure` those of an engine that ended, `explanation` those of
    any.

    Its /metrics: `metric_names`.
    """

    name: str
    packages: tuple[str, ...]
    oldest: tuple[int, ...]
    install: str
    device: Callable[[Mapping[str, str | None]], Literal["cpu", "cuda", "other"]]
    command: Command
    context_tokens: ContextTokens
    reserved_flags: frozenset[str]
    secret_flags: frozenset[str]
    field_flags: Mapping[str, str]
    weight_files: Callable[[Engine], tuple[str, ...]]
    fixed_variables: Mapping[str, str]
    key_variable: str
    long_context_variable: str | None
    other_hub_variable: str | None
    overriding_variables: Callable[[Engine], frozenset[str]]
    phases: tuple[tuple[Pattern[str], str], ...]
    fetching: str | None
    loading: str | None
    facts: Callable[[Iterable[str]], EngineFacts]
    failure: Failure
    explanation: Callable[[Iterable[str]], Explanation]
    metric_names: MetricNames

    def phase(self, line: str) -> str | None:
        """The phase of a start that this line of the log begins; None where it begins none."""
        return next((name for pattern, name in self.phases if pattern.search(line)), None)

    def passed(self, phase: str) -> int:
        """The number of phases of a start that are reached in `phase`, with that one."""
        names = [name for _, name in self.phases]
        return names.index(phase) + 1 if phase in names else 0

    def version(self, versions: Mapping[str, str | None]) -> str | None:
        """The version of the installed engine, from any distribution that brings it; None without
        one."""
        return next((version for name in self.packages if (version := versions.get(name))), None)
