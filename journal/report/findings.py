"""The findings of a log in a few sentences: the greatest differences that the test sees, each with
its figures, and the claims that were decided.

Only valid runs are quoted here.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from journal import units
from journal.compare.claims import Judged, judged_claim
from journal.compare.difference import difference
from journal.compare.knee import THROUGHPUT
from journal.compare.points import Points, lines, points
from journal.compare.setups import setups_of
from journal.compare.trade_off import waited_out
from journal.records.claim import Verdict
from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.report.day import Day
from journal.report.document import Text, say
from journal.report.places import Places
from journal.report.sections.batching import gained, latency_sentences
from journal.report.sections.own_predictions import claim_sentence, estimate_words
from journal.report.sections.side_by_side import (
    METRICS,
    common,
    ratio_sentences,
    setups_judged,
)

MOST_FINDINGS = 2
LATENCIES = ("ttft", "tpot")
LOADS_OF = {"batch": "load", "rate": "load", "prompt_tokens": "prompt_tokens"}
DECIDED: tuple[Verdict, ...] = ("refuted", "supported")


class ClaimMade(NamedTuple):
    """A claim of `experiment` as it was judged; `quoted` is whether it rests on valid runs alone,
    `among` are the points of its experiment."""

    judged: Judged
    experiment: Experiment
    among: Points

    @property
    def quoted(self) -> bool:
        """Whether all runs that the verdict rests on are valid."""
        own = (point for part in self.judged.parts for point in part.points)
        return all(record.status == "valid" for point in own for record in point.good)


def valid_points(records: Sequence[Record]) -> Points:
    """The points of the valid runs among `records`: a flagged one is never quoted here."""
    measured = zip(records, setups_of(records), strict=True)
    return points(pair for pair in measured if pair[0].status == "valid")


def claims_of(day: Day, shown: Sequence[Record]) -> tuple[ClaimMade, ...]:
    """The claims of the day's experiments, judged by all good runs of `shown` as the sections of
    the log judge them; those that nothing was measured for are left out."""
    measured = list(zip(shown, setups_of(shown), strict=True))
    made = []
    for begun in day.experiments:
        experiment = begun.experiment
        own = points(p for p in measured if p[0].experiment_id == begun.id and experiment.claims)
        good = tuple(point for point in own if point.good)
        for claim in experiment.claims:
            judged = judged_claim(claim, good, experiment.compared)
            if judged.parts:
                made.append(ClaimMade(judged, experiment, good))
    return tuple(made)


def found(valid: Points, named: Places, claims: Sequence[ClaimMade] = ()) -> Iterator[Text]:
    """The findings of the day, each with its figures and the price beside the gain, and its
    `claims`. What is not said here is not denied: only where the test sees no difference at all
    do the sentences say so."""
    setups = tuple(_of_setups(valid, named))
    kinds = (
        setups,
        _of_batches(valid, named),
        _of_latency(valid, named, "rate"),
        _of_latency(valid, named, "prompt_tokens"),
    )
    seen = [sentences for kind in kinds if (sentences := tuple(kind))]
    if seen:
        yield from chain.from_iterable(seen[:MOST_FINDINGS])
        if not setups and (shared := common(valid)):
            yield say("first.setups_open", cells=f"{len(shared)}")
    elif not valid:
        yield say("first.none_valid")
    elif len(valid) == 1:
        yield _one(valid, named)
    else:
        yield say("first.nothing", cells=f"{len(valid)}")
    if valid:
        yield from _of_claims(claims, named)


def _of_setups(valid: Points, named: Places) -> Iterator[Text]:
    """The finding on the two setups that differ most at one cell: in throughput, or where that is
    alike in latency."""
    verdicts = setups_judged(common(valid))
    keys = {name: key for key, name in METRICS.items()}
    apart = [
        (abs(math.log(judged.ratio.value)), pair, keys[name])
        for (pair, name), judged in verdicts.items()
        if name in keys and judged.verdict == "other"
    ]
    if not apart:
        return
    leading = next(key for key in METRICS if key in {one[2] for one in apart})
    _, pair, _ = max((one for one in apart if one[2] == leading), key=lambda one: one[0])
    labels = named.labels[pair.other.setup], named.labels[pair.first.setup]
    point = pair.other
    load = say(f"at.{point.shape.axis}", n=point.load_text)
    prompt = say("at.prompt_tokens", n=units.whole(point.prompt_tokens))
    place = load if point.prompt_tokens is None else say("at.both", a=load, b=prompt)
    yield say("first.setups", a=labels[0], b=labels[1], place=place)
    for key in dict.fromkeys((leading, "tpot")):
        judged = verdicts.get((pair, METRICS[key]))
        if judged is not None and judged.verdict == "other":
            yield from ratio_sentences(key, METRICS[key], pair, verdicts)


def _of_batches(valid: Points, named: Places) -> Iterator[Text]:
    """The finding on the line of batches whose throughput grows most, and what it does to TPOT;
    where none grows, on latency."""
    grown = []
    for line in lines(valid, "batch"):
        gain = difference(line[0].figure(THROUGHPUT), line[-1].figure(THROUGHPUT))
        if gain and gain.verdict == "rises" and not any(map(waited_out, line)):
            grown.append((gain.ratio, line))
    if not grown:
        yield from _of_latency(valid, named, "batch")
        return
    line = max(grown, key=lambda item: item[0])[1]
    yield named.about(line[0], "batch")
    yield from gained(line[0], line[-1], "batch")
    yield from latency_sentences(line[0], line[-1], "tpot")


def _of_latency(valid: Points, named: Places, axis: str) -> Iterator[Text]:
    """The finding on the line along `axis` whose latency changes most, where the test sees it."""
    moved = [
        (abs(math.log(change.ratio)), line, name)
        for line in lines(valid, axis)
        for name in LATENCIES
        if (change := difference(*(p.figure(f"{name}_s.p50") for p in (line[0], line[-1]))))
        and change.seen
    ]
    if not moved:
        return
    _, line, name = max(moved, key=lambda item: item[0])
    ends = {"first": line[0], "last": line[-1]}
    loads = {end: f"{getattr(p, LOADS_OF[axis]):,g}" for end, p in ends.items()}
    yield named.about(line[0], axis)
    yield say(f"first.span.{axis}", **loads)
    yield from latency_sentences(line[0], line[-1], name)


def _one(valid: Points, named: Places) -> Text:
    point = valid[0]
    return say(
        "first.one",
        place=named.cell(point),
        rate=units.rate(point.value(THROUGHPUT)),
        ttft=units.seconds(point.value("ttft_s.p50")),
        tpot=units.seconds(point.value("tpot_s.p50")),
    )


def _of_claims(claims: Sequence[ClaimMade], named: Places) -> Iterator[Text]:
    """The number of claims by verdict, and one that was refuted and one that was supported; those
    that rest on flagged runs are only counted."""
    quoted = [one for one in claims if one.quoted]
    if quoted:
        verdicts = [one.judged.verdict for one in quoted]
        counts = {name: f"{verdicts.count(name)}" for name in DECIDED}
        open_ = sum(verdict not in DECIDED for verdict in verdicts)
        yield say("first.claims", n=f"{len(quoted)}", open=f"{open_}", **counts)
    for verdict in DECIDED:
        one = next((one for one in quoted if one.judged.verdict == verdict), None)
        if one is not None:
            judged, experiment, among = one
            yield say(
                f"first.claim.{verdict}",
                claim=claim_sentence(judged, experiment, among, named),
                estimate=estimate_words(judged, judged.parts[0], judged.claim),
            )
    if len(claims) > len(quoted):
        yield say("first.claims_flagged", n=f"{len(claims) - len(quoted)}")
