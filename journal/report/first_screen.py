"""The first screen of a log, of at most MOST_WORDS words for a day of any length: the user's own
words, what the runs show, what changed, the doubts, and what to try next.

Only valid runs are quoted here, and only differences that the test sees.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from shlex import quote

from journal import units
from journal.compare.bottleneck import bottleneck
from journal.compare.comparison import ComparisonRow
from journal.compare.difference import difference
from journal.compare.knee import THROUGHPUT, batch_steps, knee
from journal.compare.limit_evidence import Among
from journal.compare.next_change import next_change
from journal.compare.points import Points, lines, points
from journal.compare.setups import setups_of
from journal.compare.trade_off import waited_out
from journal.plan.experiment_file import shipped
from journal.records.run import ExperimentRecord, Record
from journal.report.change_words import advice_sentences
from journal.report.day import Day
from journal.report.document import Block, Paragraph, Quote, Text, Verbatim, say
from journal.report.places import Places
from journal.report.sections.batching import gained, latency_sentences
from journal.report.sections.own_words import label_of
from journal.report.sections.side_by_side import Beside, common, ratio_sentences, verdict_of
from journal.report.sections.since import Change, beyond_noise, change_sentence, comparisons
from journal.report.status_counts import status_counts

MOST_WORDS = 300
MOST_OWN_WORDS = 60
SHORT_ID = 8
MOST_FLAGS = 3  # named, the most frequent ones


def first_screen(day: Day, shown: Sequence[Record], named: Places) -> tuple[Block, ...]:
    """The blocks of the first screen; `shown` are the runs of the log that its tables show."""
    valid = valid_points(shown)
    blocks: list[Block] = list(_own_words(day))
    if not day.records:
        return tuple(blocks)
    for about, sentences in (
        ("first.found", tuple(found(valid, named))),
        ("first.since", tuple(_since(day))),
        ("first.doubts", tuple(_doubts(day.records))),
    ):
        if sentences:
            blocks.append(Paragraph(sentences, say(about)))
    why, command = _next(day, valid)
    blocks += [Paragraph((why,), say("first.ahead")), Verbatim((command,))]
    return tuple(blocks)


def _own_words(day: Day) -> Iterator[Block]:
    """The beginnings of the user's own words, of MOST_OWN_WORDS words together."""
    left = MOST_OWN_WORDS
    for note in day.notes:
        text = _beginning(note.text, left)
        if text:
            yield Quote(label_of(note, day), text)
            left -= counted_words(text)


def counted_words(text: str) -> int:
    """The number of words in `text`, of which two Chinese letters count as one."""
    han = sum("\u3400" <= char <= "\u9fff" for char in text)
    return len("".join(" " if "\u3400" <= c <= "\u9fff" else c for c in text).split()) + han // 2


def _beginning(text: str, most: int) -> str:
    """The beginning of `text` on one line, with an ellipsis where it is cut to `most` words."""
    line = " ".join(text.split())
    if counted_words(line) <= most:
        return line
    end = len(line)
    while end > 0 and counted_words(line[:end]) >= most:
        end -= max(1, end // 20)
    cut = line[:end].rstrip()
    return f"{cut}…" if cut else ""


def valid_points(records: Sequence[Record]) -> Points:
    """The points of the valid runs among `records`: a flagged one is never quoted here."""
    valid = [record for record in records if record.status == "valid"]
    return points(zip(valid, setups_of(valid), strict=True))


def found(valid: Points, named: Places) -> Iterator[Text]:
    """The claims of the day, each with its figure and the price beside the gain."""
    claims = (*_of_setups(valid, named), *_of_batches(valid, named))
    if claims:
        yield from claims
    elif not valid:
        yield say("first.none_valid")
    elif len(valid) == 1:
        yield _one(valid, named)
    else:
        yield say("first.nothing", cells=f"{len(valid)}")


def _of_setups(valid: Points, named: Places) -> Iterator[Text]:
    """The claim on the two setups whose throughput differs most at one cell."""
    pairs = [Beside(group[0], other) for group in common(valid) for other in group[1:]]
    apart = [
        (ratio, pair)
        for pair in pairs
        if (ratio := pair.ratio(THROUGHPUT)) and verdict_of(ratio) == "other"
    ]
    if not apart:
        return
    _, pair = max(apart, key=lambda item: max(item[0].value, 1 / item[0].value))
    labels = named.labels[pair.other.setup], named.labels[pair.first.setup]
    point = pair.other
    load = say(f"at.{point.shape.axis}", n=f"{point.load:g}")
    prompt = say("at.prompt_tokens", n=units.whole(point.prompt_tokens))
    place = load if point.prompt_tokens is None else say("at.both", a=load, b=prompt)
    yield say("first.setups", a=labels[0], b=labels[1], place=place)
    yield from ratio_sentences("throughput", THROUGHPUT, pair)
    tpot = pair.ratio("tpot_s.p50")
    if tpot is not None and verdict_of(tpot) == "other":
        yield from ratio_sentences("tpot", "tpot_s.p50", pair)


def _of_batches(valid: Points, named: Places) -> Iterator[Text]:
    """The claim on the line of batches whose throughput grows most, and what it does to TPOT."""
    grown = []
    for line in lines(valid, "batch"):
        gain = difference(line[0].figure(THROUGHPUT), line[-1].figure(THROUGHPUT))
        if gain and gain.verdict == "rises" and not any(map(waited_out, line)):
            grown.append((gain.ratio, line))
    if grown:
        line = max(grown, key=lambda item: item[0])[1]
        yield named.about(line[0], "batch")
        yield from gained(line[0], line[-1], "batch")
        yield from latency_sentences(line[0], line[-1], "tpot")


def _one(valid: Points, named: Places) -> Text:
    point = valid[0]
    return say(
        "first.one",
        place=named.cell(point),
        rate=units.rate(point.value(THROUGHPUT)),
        ttft=units.seconds(point.value("ttft_s.p50")),
        tpot=units.seconds(point.value("tpot_s.p50")),
    )


def _since(day: Day) -> Iterator[Text]:
    """The number of figures that got worse or better since they were measured last, in cells whose
    runs are all valid, and the greatest of these changes."""
    cells = 0
    worse: list[Change] = []
    better: list[Change] = []
    for comparison in comparisons(day):
        sound = {id(row) for row in comparison.rows if all(r.status == "valid" for r in _runs(row))}
        cells += len(sound)
        for changes, is_worse in ((worse, True), (better, False)):
            beyond = beyond_noise(comparison, worse=is_worse)
            changes += [change for change in beyond if id(change[0]) in sound]
    if not cells:
        return
    if not worse and not better:
        yield say("first.unchanged", cells=f"{cells}")
        return
    counts = {"worse": f"{len(worse)}", "better": f"{len(better)}", "cells": f"{cells}"}
    yield say("first.changed", **counts)
    yield change_sentence((worse or better)[0])


def _runs(row: ComparisonRow) -> Iterator[Record]:
    return (record for pair in row.match.pairs for side in pair for record in side)


def _doubts(records: Sequence[Record]) -> Iterator[Text]:
    """The day's doubts in one line: how many runs are doubted, and by which rules."""
    if all(record.status == "valid" for record in records):
        yield say("first.all_valid", n=f"{len(records):,}")
        return
    flags = Counter(
        name
        for record in records
        for name in {doubt.name for doubt in record.doubts if doubt.severity != "note"}
    )
    most = sorted(flags.items(), key=lambda item: (-item[1], item[0]))
    shown = tuple(f"{name} ×{count:,}" for name, count in most[:MOST_FLAGS])
    more = (say("more", n=f"{len(most) - MOST_FLAGS}"),) if len(most) > MOST_FLAGS else ()
    parts = status_counts(records)
    key = "first.doubted" if most else "first.counted"
    yield say(key, counts=parts, flags=(*shown, *more))


def _next(day: Day, valid: Points) -> tuple[Text, str]:
    """What to try next and why: first what is missing, then what intervals leave open, then what
    was not varied."""
    if not day.experiments:
        return say("first.next.first"), "journal run"
    undone = next((e for e in day.experiments if e.status == "interrupted"), None)
    if undone is not None:
        return say("first.next.resume"), f"{_command(undone)} --resume"
    by_id = {begun.id: begun for begun in day.experiments}
    known = [i for p in valid if (i := p.records[0].experiment_id) in by_id]
    last = next((id_ for id_ in reversed(by_id) if id_ in known), None)
    if last is None:
        lost = next((r for r in day.records if r.status != "valid"), day.records[-1])
        return say("first.next.doubt"), f"journal show {lost.id[:SHORT_ID]}"
    own = tuple(point for point in valid if point.records[0].experiment_id == last)
    return _further(by_id[last], own)


def _further(begun: ExperimentRecord, own: Points) -> tuple[Text, str]:
    """What to try next of an experiment that has valid runs."""
    command = _command(begun)
    advised = _advised(own)
    if advised is not None:
        return advised
    for line in lines(own, "batch"):
        steps = batch_steps(line)
        if steps and knee(line) is None:
            if all(step.goes_on for step in steps):
                last = line[-1].load
                return say("first.next.batch"), f"{command} --concurrency {last:g},{last * 2:g}"
            repeats = max(3, *(len(point.good) + 2 for point in line))
            return say("first.next.repeats"), f"{command} --repeats {repeats}"
    if not lines(own, "batch"):
        load = next((one for point in own if (one := point.batch) is not None), 1)
        return say("first.next.vary"), f"{command} --concurrency {load},{load * 4}"
    length = own[0].prompt_tokens
    if length is not None and not lines(own, "prompt_tokens"):
        return say("first.next.lengths"), f"{command} --prompt-tokens {length},{length * 4}"
    return say("first.next.capacity"), f"{command} --slo-tpot-ms 50 --find-capacity concurrency"


def _advised(own: Points) -> tuple[Text, str] | None:
    """The change that a measured bottleneck calls for, of the cell with the highest load that has
    one, and the command that tries it; None where none calls for a change."""
    among = Among(record for point in own for record in point.good)
    for point in reversed(own):
        last = point.good[-1]
        change = next_change(last, bottleneck(last, among))
        if change is not None:
            advice, expected, *_ = advice_sentences(change)
            told = say("first.next.change", advice=advice, expected=expected)
            return told, f"journal try {last.id[:SHORT_ID]}"
    return None


def _command(begun: ExperimentRecord) -> str:
    """The command that runs an experiment again: by its name where it ships with the journal."""
    experiment = begun.experiment
    if not experiment.engines:
        return "journal run --endpoint URL"
    name = experiment.name if experiment.name in shipped() else f"{experiment.name}.toml"
    return f"journal run {quote(name)}"
