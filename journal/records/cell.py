"""Cells: points of the grid of an experiment, each tried once."""

from dataclasses import dataclass, replace

from journal.records.experiment import Engine, Load, Slo
from journal.records.load_shape import Closed, LoadShape, load_shape
from journal.records.workload import RANDOM_TOKENS, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the grid, tried once. `batch` (requests in flight) and `rate` (offered
    requests/s) are its load shape as files and databases store it, and one of them is None; code
    reads `shape` instead. In conversations `batch` is the number of users and `prompt_tokens` the
    part of a prompt that a turn adds. Where the workload has prompts of one's own, `prompt_tokens`
    is the median that the server counted, and until it has, an estimate from their characters. A
    length is None where another tool's file does not tell it, and so are both `batch` and `rate`.
    `identity` is a hash of all that defines the cell, the repeat included: equal identities are the
    same measurement."""

    experiment: str
    model: str
    quantisation: str | None
    engine: Engine | None
    batch: int | None
    rate: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    load: Load
    slo: Slo | None = None
    repeat: int = 0
    seed: int = 0
    identity: str = ""
    workload: Workload = RANDOM_TOKENS

    @property
    def shape(self) -> LoadShape:
        """The load shape: a closed loop with its batch, an open loop with its rate or ramp, or
        users in conversation."""
        users, load = self.workload.is_conversation, self.load
        return load_shape(self.batch, self.rate, load.burstiness, users=users, ramp=load.ramp)

    def __str__(self) -> str:
        """A cell in a few words: model, load, lengths in tokens, variant of its requests."""
        variant = "" if self.load.variant is None else f", {self.load.variant}"
        return f"{self.model}, {self.shape.label}, {self.lengths_label}{variant}"

    @property
    def planned_lengths(self) -> tuple[int, int]:
        """The tokens of prompt and output. Raises ValueError for a run of another tool that lacks
        one: such a cell was never planned here."""
        if self.prompt_tokens is None or self.output_tokens is None:
            raise ValueError(f"{self}: a cell without its lengths cannot be sent")
        return self.prompt_tokens, self.output_tokens

    @property
    def whole_tokens(self) -> int | None:
        """The tokens of prompt and output together; None where one is not known."""
        if self.prompt_tokens is None or self.output_tokens is None:
            return None
        return self.prompt_tokens + self.output_tokens

    @property
    def lengths_label(self) -> str:
        """The lengths in a sentence: "128 + 64 tokens", "1280 (640 shared) + 16 tokens"."""
        lengths = self.prompt_tokens, self.output_tokens
        prompt, output = ("?" if length is None else length for length in lengths)
        shared = self.workload.shared_prefix
        return f"{prompt}{f' ({shared} shared)' if shared else ''} + {output} tokens"

    @property
    def convoy(self) -> bool | None:
        """Whether the streams of a closed loop begin together; None in open loop and for a single
        stream, which have nothing to begin together."""
        shape = self.shape
        return self.load.convoy if isinstance(shape, Closed) and shape.batch > 1 else None

    @property
    def lasts_s(self) -> float | None:
        """The time in s for which requests are sent, where the server decides how many these are;
        None where their number is known. `load.requests` is that number once the cell has run."""
        return None if self.shape.is_open else self.load.duration_s

    @property
    def spread_streams(self) -> int:
        """The number of streams that begin one after another and are kept apart; 0 without."""
        shape = self.shape
        if not isinstance(shape, Closed) or self.convoy is not False or self.workload.is_own:
            return 0
        return shape.batch

    def under(self, shape: LoadShape) -> "Cell":
        """The same cell under another load; the identity stays that of the old cell."""
        load = self.load
        if shape.burstiness is not None:
            load = replace(load, burstiness=shape.burstiness)
        return replace(self, batch=shape.batch, rate=shape.rate, load=load)
