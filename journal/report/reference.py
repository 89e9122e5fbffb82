"""The page docs/metrics.md on metrics and doubts, written from their tables."""

from collections.abc import Iterable, Sequence
from typing import get_args

from journal.doubts.loading import DRIFT_CHANCE, DRIFT_CHANGE
from journal.doubts.rules import RULES
from journal.metrics.inference import BEYOND, BEYOND_OPEN, OPEN_REQUESTS
from journal.metrics.row import Metric, Section
from journal.metrics.slowness import PARTS
from journal.metrics.statistics import LEAST_GROUPS, MOST_GROUPS, needed_samples
from journal.metrics.table import rows as metric_rows
from journal.units import percent

_HEAD = """\
<!-- Written by `make docs` from journal.report.reference; a test checks that it is up to date. -->
# Metrics and doubts

Every figure that the journal gives is defined here, once. The page is written from the tables in
the code that compute the figures, so that it says the same as they do.

- Times come from one monotonic clock and are in seconds. Sums of tokens are by the server's own
  usage.
- Warm-up never counts. A failed request counts in `requests`, `errors` and `duration_s`; it has
  no latency, and adds no tokens.
- What was not measured is absent, and a doubt says why. It is never 0.
- "Better" says which way people want a figure: lower or higher; where it is empty, neither.
- Raw samples are kept: `journal recompute` computes every figure again from them.
"""

_SECTIONS: dict[Section, str] = {
    "latency": """\
In open loop every latency counts from the time at which the request was *meant* to go. A client
that waits for a slow server before it sends the next request would otherwise leave out just the
requests that would have waited longest. In closed loop a request is meant to go when it goes.

Three names for what happens between tokens are kept apart. **ICL** is the gap between chunks, as
they arrive. **ITL** is the gap per token, and exists only where the tokens in each chunk are known:
because the server says so, or because its usage counts exactly as many tokens as there were chunks.
**TPOT** is one number for each request, and needs neither. Where every chunk holds one token, ICL
and ITL are the same. Where a first chunk holds k tokens, TPOT, which divides by all tokens but
one, is below the mean ITL.

**TTFT** is the time to the first token of any kind, thoughts and tool calls included; **TTFO** is
the time to the first token of the answer. Other tools use these names otherwise:

| here | GuideLLM | AIPerf | inference-perf |
| --- | --- | --- | --- |
| TTFT | TTFT, thoughts by version | TTFT, thoughts included | TTFT, thoughts by version |
| TTFO | – | TTFO | – |
| ICL: gap between chunks | – | ICL | ITL |
| ITL: gap per token where the tokens in each chunk are known | – | – | – |
| TPOT: (last - first) / (tokens - 1) | ITL | ITL, to the end of the request | TPOT |
| E2E / tokens (not given here) | TPOT | – | normalized TPOT |
""",
    "throughput": """\
Over the measured span, from the first measured request sent to the last one over, unless a name
begins with `steady_`. Ramp-up and drain make a short run's throughput lower than a long one's;
the steady state leaves them out.
""",
    "memory": """\
From readings inside the measured span. A server such as vLLM reserves its KV-cache pool at the
start, so VRAM is flat however long the prompts are: what grows is the share of the pool in use.
""",
    "theory": """\
Arithmetic beside measurement: what the model's config.json and the GPU's data sheet say, and how
many times that was measured. Absent where the config or the GPU is not known. The formulas and
their sources are in `journal.theory`; [vram.md](vram.md) explains them.
""",
    "server": """\
From the server's /metrics, where it has one. Counters are compared between the last reading
before the measured span and the first one after it.
""",
    "start": """\
All runs that one engine served have the figures of its one start. A start is **cold** where it
downloaded weights or compiled code anew, **warm** where it did neither; the two are never compared
with each other. The phases are the durations that the engine itself logs, so they do not sum to
the whole: importing its libraries is in none of them.
""",
    "energy": """\
From NVML. Counter and power are interpolated at both ends of the measured span, and absent where
the readings cover less than 95% of it.
""",
    "cost": """\
From `price_per_hour` under `[host]` in the experiment, or the setting `JOURNAL_PRICE_PER_HOUR`:
`12.5 CNY`, `¥12.5`, `$1.2`, or a bare number of USD. `usd_per_hour` and `JOURNAL_USD_PER_HOUR` are
the old names. No currency is converted into another.
""",
    "quality": """\
From the check that `quality_check = true` asks for: a short passage of Faraday's The Chemical
History of a Candle (1861), given to the server once for each start of an engine.
""",
    "client": """\
The load generator's look at itself. When it is busy, its own lateness is in every latency.
""",
}


def metrics_page() -> str:
    """The Markdown of docs/metrics.md, from the tables of metrics, statistics and doubts."""
    parts = [_HEAD]
    for section in get_args(Section):
        rows = _rows(metric for metric in metric_rows() if metric.section == section)
        header = ("name", "unit", "better", "formula", "meaning")
        parts.append(f"## {section.capitalize()}\n\n{_SECTIONS[section]}\n{_table(header, rows)}")
    return "\n".join([*parts, _percentiles(), _intervals(), _steady_state(), _doubts()])


def _rows(metrics: Iterable[Metric]) -> list[Sequence[str]]:
    """One row for each metric; the statistics of one family that share their words share a row."""
    shared: dict[tuple[str, ...], list[Metric]] = {}
    for metric in metrics:
        better = "" if metric.better == "neither" else metric.better
        words = (metric.unit, better, metric.formula, metric.meaning)
        shared.setdefault((metric.family if metric.statistic else metric.name, *words), []).append(
            metric
        )
    return [
        (" ".join([f"`{first.name}`", *(f"`.{other.statistic}`" for other in rest)]), *words)
        for (_, *words), (first, *rest) in shared.items()
    ]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _percentiles() -> str:
    levels = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
    needs = ((name, f"{needed_samples(at):,}") for name, at in levels.items())
    return f"""\
## How many samples a percentile needs

A percentile interpolates linearly between the two samples around it (numpy's default). It is given
only where, with 99% confidence, at least two samples lie beyond the true percentile: the least n
with `p^n + n (1 - p) p^(n - 1) <= 0.01`. That is where the early-stopping rule of MLPerf's load
generator begins. With fewer samples, a p99 is little more than the maximum.

{_table(("percentile", "samples"), needs)}
TTFT, TPOT and E2E have one sample for each request, ICL and ITL one for each gap. The gaps of one
request are not independent of each other, so that 662 gaps of 20 requests say less about p99 than
662 gaps of 662 requests. The number of gaps decides whether the percentile is given; how far to
trust it is shown by its interval, which counts waves or blocks of requests.
"""


def _intervals() -> str:
    return f"""\
## Intervals

Intervals are 95%. They say how much a figure would move if *other requests of the same kind* had
been drawn in the same run. They do not hold what changes from run to run (clocks, heat, placement):
for that, set `load.repeats` and compare repeats, whose interval is Student's t. How often each kind
of interval is right was simulated: [calibration.md](calibration.md).

Requests that are in flight together share the server's steps and its queue, and are alike. What is
independent is the *wave* in a closed loop (as many requests in order of start as the batch), and in
an open loop a *block* of neighbours, longer than the requests in flight. Whole waves or blocks form
{LEAST_GROUPS} to {MOST_GROUPS} groups. With fewer than {LEAST_GROUPS} waves, or in open loop with
fewer than {OPEN_REQUESTS} requests, there is no interval, and the note `interval_refused` says so.

- **Means** of latencies: Student's t over the groups. The upper end is that of the excess over the
  least value on the logarithmic scale, in open loop the lower end too: latencies are skewed. First
  tokens meet few of a server's steps: their mean is at least as uncertain as the gaps between
  chunks make it.
- **Percentiles**: the t interval of the share of requests below, read back through the quantile
  function (Woodruff, 1952); where slow noise or a queue may lie beyond all values of the run, that
  of the groups' own percentiles if it is wider. From {BEYOND} waves beyond the percentile on, in
  open loop (above the median) from {BEYOND_OPEN} requests. None where a median lies between two
  kinds of requests, since a few more of either would move it from one to the other.
- **Throughput** in closed loop: work / time in flight over the groups, at the concurrency that was
  reached (Little's law), and wider where requests of different length leave streams idle at the
  end. In open loop the schedule sets it: no interval.
- **Fractions** of requests: Wilson's score interval of as many independent requests as the scatter
  between the groups leaves; where all are alike, of as many as there are waves or blocks.

All of them are wider where the server's steps change slowly, which the gaps between chunks of
requests that are in flight together show, or in open loop where the latency itself does (of a
median: where the share of requests below it does, if that is less): by the power of the low
frequencies of {PARTS} parts of the run (`journal/metrics/slowness.py`). Of answers of different
length that holds for the time per token, since the lengths are drawn one by one.

TTFT is wider too where it changes slowly by itself, from wave to wave, and where the streams of a
closed loop differ in it for good: requests that came while a long prompt was read are read together
after it, and streams of equally long answers stay together (`journal/metrics/between_streams.py`).
"""


def _steady_state() -> str:
    return f"""\
## Steady state

In closed loop: from the moment at which as many requests are in flight as the batch, until one
ends that no other replaces. In open loop: from the first answer to the last request sent. Requests
are in the steady state if they began and ended in it. Tokens are, if their chunk arrived in it.

Drift is looked for in TPOT and E2E, in open loop also in TTFT: by a self-normalised test (after
Shao and Zhang, 2010) on up to 40 medians of neighbouring requests, at least a whole unit of them
(a wave, in open loop as many as are in flight), which takes 20 units, at
{percent(DRIFT_CHANCE)} over all of them, together with a change of the median of
{percent(DRIFT_CHANGE)} or more. In closed loop that is inside the steady state, without the first
request of each stream, since those begin all at once. In open loop each request is compared with
those that met as many in flight (by isotonic regression), so that a queue that comes and goes is
no drift. [How often these are right](calibration.md) is simulated.
"""


def _doubts() -> str:
    rows = [(f"`{rule.name}`", rule.threshold, rule.reason) for rule in RULES]
    rows.append(
        (
            "`absent`",
            "something that a meter or the server does not give",
            "It says which, and why.",
        )
    )
    return f"""\
## Doubts

A run carries every reason not to take it at face value. A *note* is worth knowing, a *flag* makes
the run `flagged`, and an *invalid* one is not to be believed. A run without any success has
`failed`. Each doubt ends with what to do; the client's own saturation is always named first.

{_table(("doubt", "when", "why there"), rows)}"""
