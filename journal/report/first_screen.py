"""The first screen of a log, of at most MOST_WORDS words for a day of any length: the user's own
words, what the runs show, what changed, the doubts, and what to try next.

Only valid runs are quoted here, and only differences that the test sees.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from journal.compare.bottleneck import Bottlenecks
from journal.compare.comparison import Comparison, ComparisonRow
from journal.compare.knee import batch_steps, knee
from journal.compare.next_change import next_change
from journal.compare.points import Points, lines
from journal.records.doubt import Doubt
from journal.records.experiment import Experiment
from journal.records.run import Record
from journal.report.again import again
from journal.report.change_words import advice_sentences
from journal.report.day import Day
from journal.report.document import Block, Paragraph, Quote, Text, Verbatim, say
from journal.report.findings import claims_of, found, valid_points
from journal.report.phrases import words
from journal.report.places import Places
from journal.report.sections.own_words import label_of
from journal.report.sections.since import Change, beyond_noise, change_sentence
from journal.report.status_counts import status_counts

MOST_WORDS = 300
MOST_OWN_WORDS = 60
AROUND = 25  # the title and the lead
LABEL = 4  # above each of the user's own words
SHORT_ID = 8
MOST_FLAGS = 3  # named, the most frequent ones

Step: TypeAlias = tuple[Text, str | None]  # why, and the command where one is known


def first_screen(
    day: Day,
    shown: Sequence[Record],
    limits: Bottlenecks,
    named: Places,
    compared_days: Sequence[Comparison],
) -> tuple[Block, ...]:
    """The blocks of the first screen; `shown` are the runs of the log that its tables show,
    `limits` their bottlenecks, and `compared_days` the comparisons with earlier days."""
    if not day.records:
        return tuple(_own_words(day, MOST_OWN_WORDS))
    valid = valid_points(shown)
    blocks: list[Block] = []
    for about, sentences in (
        ("first.found", tuple(found(valid, named, claims_of(day, shown)))),
        ("first.since", tuple(_since(compared_days))),
        ("first.doubts", tuple(_doubts(day.records))),
    ):
        if sentences:
            blocks.append(Paragraph(sentences, say(about)))
    why, command = _next(day, valid, limits)
    blocks.append(Paragraph((why,), say("first.ahead")))
    blocks += [Verbatim((command,))] if command else []
    return (*_own_words(day, MOST_WORDS - AROUND - _words_of(blocks)), *blocks)


def _words_of(blocks: Sequence[Block]) -> int:
    """The words of paragraphs and commands, in English, which has more of them than Chinese."""
    english = words("en")
    texts = [
        english.paragraph((block.about, *block.sentences), str)
        for block in blocks
        if block.kind == "paragraph"
    ]
    texts += [english.say(block.lines, str) for block in blocks if block.kind == "verbatim"]
    return sum(map(counted_words, texts))


def _own_words(day: Day, room: int) -> Iterator[Block]:
    """The beginnings of the user's own words, of as many words together as there is `room` for,
    and of MOST_OWN_WORDS at most."""
    left = min(room, MOST_OWN_WORDS)
    for note in day.notes:
        text = _beginning(note.text, left - LABEL)
        if text:
            yield Quote(label_of(note, day), text)
            left -= counted_words(text) + LABEL


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


def _since(compared_days: Sequence[Comparison]) -> Iterator[Text]:
    """The number of figures that got worse or better since they were measured last, in cells whose
    runs are all valid, and the greatest of these changes."""
    cells = 0
    worse: list[Change] = []
    better: list[Change] = []
    for comparison in compared_days:
        rows = (row for row in comparison.judged if all(r.status == "valid" for r in _runs(row)))
        sound = {id(row) for row in rows}
        cells += sum(id(row) in sound for row in comparison.rows)
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


def _next(day: Day, valid: Points, limits: Bottlenecks) -> Step:
    """What to try next: first what is missing, then what intervals leave open, then what was not
    varied."""
    if not day.experiments:
        return say("first.next.first"), "journal run"
    undone = next((e for e in day.experiments if e.status == "interrupted"), None)
    if undone is not None:
        return say("first.next.resume"), again(undone.experiment, "--resume")
    by_id = {begun.id: begun for begun in day.experiments}
    known = [i for p in valid if (i := p.records[0].experiment_id) in by_id]
    last = next((id_ for id_ in reversed(by_id) if id_ in known), None)
    if last is None:
        return _without_doubt(day.records)
    own = tuple(point for point in valid if point.records[0].experiment_id == last)
    return _further(by_id[last].experiment, own, limits)


def _without_doubt(records: Sequence[Record]) -> Step:
    """What to do about runs of which none is valid: the words of the gravest and most frequent
    doubt, and the command that shows a run with it in full."""
    cast: dict[str, list[tuple[Record, Doubt]]] = {}
    for record in records:
        for doubt in record.doubts:
            if doubt.severity != "note":
                cast.setdefault(doubt.name, []).append((record, doubt))
    if not cast:
        lost = next((one for one in records if one.status != "valid"), records[-1])
        return say("first.next.doubt"), f"journal show {lost.id[:SHORT_ID]}"
    ways = (cast[name] for name in sorted(cast))
    most = max(ways, key=lambda own: (own[0][1].severity == "invalid", len(own)))
    record, doubt = most[0]
    counts = {"n": f"{len(most):,}", "all": f"{len(records):,}"}
    return say("first.next.doubted", **counts, doubt=doubt), f"journal show {record.id[:SHORT_ID]}"


def _further(experiment: Experiment, own: Points, limits: Bottlenecks) -> Step:
    """What to try next of an experiment that has valid runs."""
    advised = _advised(own, limits)
    if advised is not None:
        return advised
    for line in lines(own, "batch"):
        steps = batch_steps(line)
        if steps and knee(line) is None:
            if all(step.goes_on for step in steps):
                last = line[-1].load
                loads = f"{last:g},{last * 2:g}"
                return say("first.next.batch"), again(experiment, "--concurrency", loads)
            repeats = max(3, *(len(point.good) + 2 for point in line))
            return say("first.next.repeats"), again(experiment, "--repeats", f"{repeats}")
    if not lines(own, "batch"):
        load = next((one for point in own if (one := point.batch) is not None), 1)
        return say("first.next.vary"), again(experiment, "--concurrency", f"{load},{load * 4}")
    length = own[0].prompt_tokens
    if length is not None and not lines(own, "prompt_tokens"):
        lengths = f"{length},{length * 4}"
        return say("first.next.lengths"), again(experiment, "--prompt-tokens", lengths)
    search = ("--slo-tpot-ms", "50", "--find-capacity", "concurrency")
    return say("first.next.capacity"), again(experiment, *search)


def _advised(own: Points, limits: Bottlenecks) -> Step | None:
    """The change that a measured bottleneck calls for, of the cell with the highest load that has
    one, and the command that tries it; None where none calls for a change."""
    for point in reversed(own):
        last = point.good[-1]
        change = next_change(last, limits.of(last))
        if change is not None:
            advice, expected, *_ = advice_sentences(change)
            told = say("first.next.change", advice=advice, expected=expected)
            return told, f"journal try {last.id[:SHORT_ID]}"
    return None
