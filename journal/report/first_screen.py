"""The first screen of a log, of at most MOST_WORDS words for a day of any length: the user's own
words, what the runs show, what changed, the doubts, and what to try next.

Only valid runs are quoted here, and only differences that the test sees.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from shlex import quote

from journal.compare.bottleneck import Bottlenecks
from journal.compare.comparison import ComparisonRow
from journal.compare.knee import batch_steps, knee
from journal.compare.next_change import next_change
from journal.compare.points import Points, lines
from journal.plan.experiment_file import shipped
from journal.records.run import ExperimentRecord, Record
from journal.report.change_words import advice_sentences
from journal.report.day import Day
from journal.report.document import Block, Paragraph, Quote, Text, Verbatim, say
from journal.report.findings import claims_of, found, valid_points
from journal.report.phrases import words
from journal.report.places import Places
from journal.report.sections.own_words import label_of
from journal.report.sections.since import Change, beyond_noise, change_sentence, comparisons
from journal.report.status_counts import status_counts

MOST_WORDS = 300
MOST_OWN_WORDS = 60
AROUND = 25  # the title and the lead
LABEL = 4  # above each of the user's own words
SHORT_ID = 8
MOST_FLAGS = 3  # named, the most frequent ones


def first_screen(
    day: Day, shown: Sequence[Record], limits: Bottlenecks, named: Places
) -> tuple[Block, ...]:
    """The blocks of the first screen; `shown` are the runs of the log that its tables show, and
    `limits` their bottlenecks."""
    if not day.records:
        return tuple(_own_words(day, MOST_OWN_WORDS))
    valid = valid_points(shown)
    blocks: list[Block] = []
    for about, sentences in (
        ("first.found", tuple(found(valid, named, claims_of(day, shown)))),
        ("first.since", tuple(_since(day))),
        ("first.doubts", tuple(_doubts(day.records))),
    ):
        if sentences:
            blocks.append(Paragraph(sentences, say(about)))
    why, command = _next(day, valid, limits)
    blocks += [Paragraph((why,), say("first.ahead")), Verbatim((command,))]
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


def _next(day: Day, valid: Points, limits: Bottlenecks) -> tuple[Text, str]:
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
    return _further(by_id[last], own, limits)


def _further(begun: ExperimentRecord, own: Points, limits: Bottlenecks) -> tuple[Text, str]:
    """What to try next of an experiment that has valid runs."""
    command = _command(begun)
    advised = _advised(own, limits)
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


def _advised(own: Points, limits: Bottlenecks) -> tuple[Text, str] | None:
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


def _command(begun: ExperimentRecord) -> str:
    """The command that runs an experiment again: by its name where it ships with the journal."""
    experiment = begun.experiment
    if not experiment.engines:
        return "journal run --endpoint URL"
    name = experiment.name if experiment.name in shipped() else f"{experiment.name}.toml"
    return f"journal run {quote(name)}"
