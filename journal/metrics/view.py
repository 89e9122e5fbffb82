"""The samples of one run as arrays, each built once and only when it is read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from journal.metrics.arrays import Array, Index, Mask
from journal.metrics.gaps import Gaps, chunk_tokens, gaps_between, streamed_tokens
from journal.metrics.held_back import Holding, holding
from journal.metrics.inference import Units, describe, slow_steps, units
from journal.metrics.pace import Pace, pace
from journal.metrics.slowness import without_prompts
from journal.metrics.window import Series, Span, steady_closed, steady_open
from journal.records.figure import Figure
from journal.records.load_shape import Closed
from journal.records.request import Trace
from journal.records.samples import Samples
from journal.theory.predictions import ServedModel, served_model
from journal.theory.slope import Slope, kv_slope

T = TypeVar("T")


class Reading(Protocol):
    """A reading at one time, `at_s`."""

    @property
    def at_s(self) -> float: ...


class Sample(NamedTuple):
    """Values, and for each the index among `View.done` of the request that it comes from (same
    shape, never decreasing). `lengths`, `least_error`: as in `describe`. `waits`: they are waits
    for the server, in which streams may differ for good and which may change by themselves."""

    values: Array
    owner: Index
    lengths: Array | None = None
    least_error: float = 0.0
    waits: bool = False


def column(numbers: Iterable[float | None]) -> Array:
    """`numbers` as an array, with NaN for None."""
    return np.array([np.nan if number is None else number for number in numbers], dtype=float)


class View:
    """The samples of one run as arrays.

    `measured` are the traces without warm-up, in order of index; `done` are those of them that were
    answered: they did not fail, nor were they abandoned. Arrays of requests have one element for
    each of `done`, those of chunks one for each of their chunks, in the same order; NaN: not known.
    Times are in s on the clock of the run."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.cell = samples.cell
        traces = sorted(samples.traces, key=lambda trace: trace.index)
        self.measured: tuple[Trace, ...] = tuple(t for t in traces if not t.warmup)
        self.done: tuple[Trace, ...] = tuple(t for t in self.measured if t.answered)
        self._made: dict[Callable[[View], Any], Any] = {}
        self._described: dict[Source, tuple[Sample, dict[str, Figure]]] = {}

    @classmethod
    def of(cls, run: "Samples | View") -> "View":
        """The view of a run's samples; a view is returned as it is, with the arrays it has."""
        return run if isinstance(run, View) else cls(run)

    # ---- requests ----

    @cached_property
    def scheduled_s(self) -> Array:
        """The scheduled time of each request."""
        return column(trace.scheduled_s for trace in self.done)

    @cached_property
    def start_s(self) -> Array:
        """The time at which each request was sent."""
        return column(trace.start_s for trace in self.done)

    @cached_property
    def end_s(self) -> Array:
        """The time at which each answer was complete."""
        return column(trace.end_s for trace in self.done)

    @cached_property
    def first_s(self) -> Array:
        """The time of each first chunk."""
        return column(trace.chunk_s[0] if trace.chunk_s else None for trace in self.done)

    @cached_property
    def last_s(self) -> Array:
        """The time of each last chunk."""
        return column(trace.chunk_s[-1] if trace.chunk_s else None for trace in self.done)

    @cached_property
    def output_tokens(self) -> Array:
        """The output tokens of each request by the server's usage; without it as `tokens_by` of
        its trace says."""
        return column(trace.tokens for trace in self.done)

    @cached_property
    def prompt_tokens(self) -> Array:
        """The prompt tokens of each request by the server's usage."""
        return column(trace.prompt_tokens for trace in self.done)

    @property
    def median_prompt_tokens(self) -> int | None:
        """The prompt tokens requested of a median request: those of the cell where all prompts are
        equally long; None where they are not known."""
        asked = sorted(trace.prompt_tokens_asked for trace in self.done)
        workload = self.cell.workload
        differ = self.cell.load.length_spread or workload.varies
        return asked[(len(asked) - 1) // 2] if differ and asked else self.cell.prompt_tokens

    @cached_property
    def output_chars(self) -> Array:
        """The characters of each answer."""
        return column(trace.output_chars for trace in self.done)

    @cached_property
    def e2e_s(self) -> Array:
        """The end-to-end latency of each request, from its scheduled time."""
        return self.end_s - self.scheduled_s

    @cached_property
    def ttft_s(self) -> Array:
        """The time to first token of each request, from its scheduled time."""
        return self.first_s - self.scheduled_s

    @cached_property
    def ttfo_s(self) -> Array:
        """The time to the first chunk of each answer itself, thoughts left out."""
        return column(trace.ttfo_s for trace in self.done)

    @cached_property
    def streamed_tokens(self) -> Array:
        """The output tokens of each request without the thoughts that the server counted and did
        not stream."""
        return column(map(streamed_tokens, self.done))

    @cached_property
    def tpot_s(self) -> Array:
        """The time per output token after those of the first read of each request, in s; NaN where
        it is not known: see `Pace`, and where the way here held the answers back. In another tool's
        file the first chunk is taken to hold one token, as the tool takes it."""
        known = self.pace.is_known | (self.samples.readings.imported & ~self.pace.mostly_at_once)
        known &= not self.holding.is_held
        return np.where(known, self.pace.least_s, np.nan)

    @property
    def tpot_of_slo_s(self) -> Array:
        """The time per output token of each request as an SLO takes it, in s: a single token has
        none, and breaks no limit."""
        return np.where(self.output_tokens == 1, 0.0, self.tpot_s)

    @cached_property
    def pace(self) -> Pace:
        """The bounds of the time per token of each request."""
        return pace(
            self.chunk_s,
            self.chunk_owner,
            self.chunk_tokens,
            self.streamed_tokens,
            self.end_s - self.start_s,
        )

    @cached_property
    def holding(self) -> Holding:
        """Whether the way here held answers back until they were over, as far as can be seen."""
        return holding(self.samples, self.measured)

    # ---- chunks ----

    @cached_property
    def chunks(self) -> Index:
        """The number of chunks of each request."""
        return np.array([len(trace.chunk_s) for trace in self.done], dtype=np.int64)

    @cached_property
    def chunk_owner(self) -> Index:
        """The index among `done` of the request of each chunk."""
        return np.repeat(np.arange(len(self.done)), self.chunks)

    @cached_property
    def chunk_s(self) -> Array:
        """The time of each chunk."""
        times = chain.from_iterable(trace.chunk_s for trace in self.done)
        return np.fromiter(times, dtype=float, count=int(self.chunks.sum()))

    @cached_property
    def chunk_tokens(self) -> Array:
        """The tokens in each chunk; NaN: not known.

        Where the server does not give them, but its usage counts as many tokens as there were
        chunks, each chunk holds one, since a chunk with content holds at least one.
        """
        known = map(chunk_tokens, self.done)
        return np.fromiter(chain.from_iterable(known), dtype=float, count=len(self.chunk_s))

    @cached_property
    def gaps(self) -> Gaps:
        """The gaps between the chunks of each request, and when each ended."""
        return gaps_between(self.chunk_s, self.chunk_owner)

    @cached_property
    def icl(self) -> Sample:
        """The gaps between the chunks of each request, in s."""
        return Sample(self.gaps.gap_s, self.gaps.owner)

    @cached_property
    def itl(self) -> Sample:
        """The gaps per token in s: k tokens that come in one chunk share its gap evenly. Tokens of
        a first chunk have no gap; a chunk without tokens begins or ends none. An answer that came
        in one read, or was held back, has no gaps."""
        streamed = ~self.pace.in_one_read & (not self.holding.is_held)
        holds = (self.chunk_tokens > 0) & streamed[self.chunk_owner]
        if len(holds) and np.all(holds) and np.all(self.chunk_tokens == 1):
            return self.icl
        tokens = self.chunk_tokens[holds].astype(np.int64)
        owner = self.chunk_owner[holds]
        gaps = gaps_between(self.chunk_s[holds], owner)
        shared = tokens[1:][owner[1:] == owner[:-1]]
        return Sample(np.repeat(gaps.gap_s / shared, shared), np.repeat(gaps.owner, shared))

    # ---- time ----

    @cached_property
    def beside(self) -> tuple[Trace, ...]:
        """The traces that are not measured and were in flight beside the measured ones: the fillers
        of a closed loop. A warm-up is over before."""
        begin_s = min((trace.start_s for trace in self.measured), default=np.inf)
        return tuple(t for t in self.samples.traces if t.warmup and t.end_s > begin_s)

    @cached_property
    def fillers(self) -> "View":
        """The traces of `beside` as a view of their own, in which they count as measured."""
        counted = tuple(replace(trace, warmup=False) for trace in self.beside)
        return View(replace(self.samples, traces=counted))

    @cached_property
    def span(self) -> Span | None:
        """The measured span; None without measured requests.

        It begins with the first of them, and ends when as many requests were sent as are measured
        and the next one goes: where streams are kept busy after the last measured request was
        sent, its time is that of so many requests and no ramp is in it. Where nothing more is sent,
        it ends with the last measured request. Failed requests are included.
        """
        if not self.measured:
            return None
        start_s = min(trace.start_s for trace in self.measured)
        sent_s = np.sort(self.loop_start_s[self.loop_start_s >= start_s])
        count = len(self.measured)
        if len(sent_s) > count:
            return Span(start_s, float(sent_s[count]))
        return Span(start_s, max(trace.end_s for trace in self.measured))

    @cached_property
    def all_start_s(self) -> Array:
        """The times at which measured requests were sent, failed ones included."""
        return column(trace.start_s for trace in self.measured)

    @cached_property
    def all_end_s(self) -> Array:
        """The times at which measured requests ended, failed ones included."""
        return column(trace.end_s for trace in self.measured)

    @cached_property
    def loop_start_s(self) -> Array:
        """The times at which measured requests and those beside them were sent."""
        return np.append(self.all_start_s, [trace.start_s for trace in self.beside])

    @cached_property
    def loop_end_s(self) -> Array:
        """The times at which measured requests and those beside them ended."""
        return np.append(self.all_end_s, [trace.end_s for trace in self.beside])

    @cached_property
    def steady(self) -> Span | None:
        """The steady state of the load, from the first start to the last end of measured requests
        at most; None where it had none."""
        shape = self.cell.shape
        if not isinstance(shape, Closed):
            return steady_open(self.all_start_s, self.all_end_s)
        steady = steady_closed(self.loop_start_s, self.loop_end_s, shape.batch)
        if steady is None:
            return None
        start_s = max(steady.start_s, float(self.all_start_s.min()))
        end_s = min(steady.end_s, float(self.all_end_s.max()))
        return Span(start_s, end_s) if end_s > start_s else None

    @cached_property
    def in_steady(self) -> Mask:
        """Whether each request of `done` ran wholly inside the steady state."""
        if self.steady is None:
            return np.zeros(len(self.done), dtype=bool)
        return (self.start_s >= self.steady.start_s) & (self.end_s <= self.steady.end_s)

    # ---- readings ----

    def server(self, name: str) -> Series:
        """The readings of the field `name` of ServerReading."""
        return _series(self.samples.readings.server, name)

    def process(self, name: str) -> Series:
        """The readings of the field `name` of ProcessReading."""
        return _series(self.samples.readings.process, name)

    def gpus(self, name: str) -> list[Series]:
        """The readings of the field `name` of GpuReading, one series for each GPU."""
        readings = self.samples.readings.gpu
        devices = sorted({reading.device for reading in readings})
        return [_series([r for r in readings if r.device == d], name) for d in devices]

    # ---- theory ----

    @cached_property
    def gpu_count(self) -> int:
        """The number of GPUs (or, on the CPU, of processes) that share the model: by the setup of
        a managed engine, else the number of GPUs that were read, at least 1."""
        if self.cell.engine is not None:
            return self.cell.engine.gpu_count
        return max(1, len({reading.device for reading in self.samples.readings.gpu}))

    @cached_property
    def served(self) -> ServedModel | None:
        """The model as it is served, for predictions; None where its sizes are not known."""
        return served_model(self.samples.facts, self.cell.engine, self.gpu_count)

    @cached_property
    def kv_slope(self) -> Slope | None:
        """The KV cache of a token on one GPU, by the slope over the tokens in flight."""
        return kv_slope(self.samples.readings.server, self.samples.traces, self.samples.facts)

    # ---- independence ----

    @cached_property
    def is_done(self) -> Mask:
        """Which of `measured` did not fail."""
        return np.array([trace.answered for trace in self.measured], dtype=bool)

    @cached_property
    def units(self) -> Units:
        """The groups of `measured` that are independent of each other; how slowly the steps of the
        server change is read from the gaps inside the steady state."""
        run = units(self.all_start_s, self.all_end_s, self.cell.shape.batch)
        (at_s, gaps_s, owner), steady = self.gaps, self.steady or Span(-np.inf, np.inf)
        inside = (at_s >= steady.start_s) & (at_s <= steady.end_s)
        if isinstance(self.cell.shape, Closed):
            inside = without_prompts(inside, at_s, gaps_s, (*self.measured, *self.beside))
        return slow_steps(at_s[inside], gaps_s[inside], owner[inside], run)

    # ---- summaries ----

    def once(self, of: Callable[["View"], T]) -> T:
        """What `of` makes of this view, computed once."""
        if of not in self._made:
            self._made[of] = of(self)
        made: T = self._made[of]
        return made

    def described(self, source: "Source") -> dict[str, Figure]:
        """The statistics (`inference.describe`) of the sample that `source` takes from this view,
        computed once."""
        if source not in self._described:
            sample = source(self)
            same = (figures for other, figures in self._described.values() if other is sample)
            self._described[source] = sample, next(same, {}) or self._describe(sample)
        return self._described[source][1]

    def _describe(self, sample: Sample) -> dict[str, Figure]:
        values, owner, lengths, least_error, waits = sample
        run, done = self.units, self.is_done
        of = run.stream[done] if waits else None
        return describe(values, owner, run.group[done], run, lengths, least_error, of)


Source = Callable[[View], Sample]


def per_request(values: Array) -> Sample:
    """The sample of those of `values`, one for each request, that are known."""
    known = np.flatnonzero(~np.isnan(values))
    return Sample(values[known], known)


def _series(readings: Sequence[Reading], name: str) -> Series:
    known = [(r.at_s, value) for r in readings if (value := getattr(r, name)) is not None]
    table = np.array(sorted(known), dtype=float).reshape(-1, 2)
    return Series(table[:, 0], table[:, 1])
