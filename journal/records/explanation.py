"""The explanation of an engine's log: where the memory went, how long its start took, why it
ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from journal.records.engine import StartPhases


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence of which `template` is known, such as "this vLLM knows no flag {0}", and the
    values in it. Each language has a template of its own for it."""

    template: str
    values: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return " ".join(self.template.format(*self.values).split())


@dataclass(frozen=True, slots=True, kw_only=True)
class RankMemory:
    """The memory of one process of an engine by its log, in bytes of one GPU, and the tokens of its
    KV pool; None: not logged.

    `graph_estimate_bytes` is the part of `activation_bytes` that only estimates the graphs,
    `consumed_bytes` is weights and context together, as some versions log them, `total_bytes` the
    memory of its GPU, `free_bytes` what was free of it before the start.
    """

    weights_bytes: int | None = None
    kv_pool_bytes: int | None = None
    kv_pool_tokens: int | None = None
    activation_bytes: int | None = None
    graph_estimate_bytes: int | None = None
    graph_bytes: int | None = None
    context_bytes: int | None = None
    consumed_bytes: int | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What a log says about the last start in it; None: the log does not say.

    Bytes are those of one GPU, the one with the least KV pool; `kv_pool_bytes` and `kv_pool_tokens`
    are summed over the engines of data parallelism. `activation_bytes` is the peak as the engine
    gives it, of which `graph_estimate_bytes` only estimates the graphs. `ranks` has the same by
    process. `longest` is the context that the engine serves, in tokens, and `at_once` the number of
    such requests that its KV pool holds. `serves` is whether the start came to its end, `phase` how
    far it came. `cause_words` and `remedy_words` say why the engine ended and what to change.
    """

    engine_version: str | None = None
    weights_bytes: int | None = None
    kv_pool_bytes: int | None = None
    kv_pool_tokens: int | None = None
    activation_bytes: int | None = None
    graph_estimate_bytes: int | None = None
    graph_bytes: int | None = None
    context_bytes: int | None = None
    phases: StartPhases | None = None
    ranks: Mapping[str, RankMemory] = field(default_factory=dict)
    longest: int | None = None
    at_once: float | None = None
    serves: bool = False
    phase: str | None = None
    cause_words: Phrase | None = None
    remedy_words: Phrase | None = None

    @property
    def cause(self) -> str | None:
        return None if self.cause_words is None else self.cause_words.text

    @property
    def remedy(self) -> str | None:
        return None if self.remedy_words is None else self.remedy_words.text
