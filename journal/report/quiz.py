"""Quizzes from one's own runs: the questions of a day, answers with units, and those that were
right."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journal import units
from journal.compare.points import points
from journal.compare.setups import setups_of
from journal.errors import NotFound, UsageError
from journal.records.notebook import Note
from journal.report.document import Text, say
from journal.report.phrases import words
from journal.report.quiz_kinds import Posed, posed_by

if TYPE_CHECKING:
    from journal.store.rows import Journal

SHOWN = "--show"
# A note that keeps an answer is the command that gave it.
KEPT = re.compile(r"journal answer ([a-z_]+) (.+)")
NUMBER = re.compile(r"([+-]?(?:\d[\d,_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*)", re.DOTALL)
_TIMES = {"us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DECIMAL = {f"{letter}b": 1000.0**n for n, letter in enumerate(("", "k", "m", "g", "t"))}
_BINARY = {f"{letter}ib": 1024.0**n for n, letter in enumerate(("k", "m", "g", "t"), start=1)}
_SIZES = {"": 1.0, "bytes": 1.0, "byte": 1.0, **_DECIMAL, **_BINARY}
_RATES = {"": 1.0, "tok/s": 1.0, "tokens/s": 1.0, "token/s": 1.0}
_COUNTS = {"": 1.0, "x": 1.0, "times": 1.0, "requests": 1.0, "request": 1.0, "倍": 1.0, "个": 1.0}
UNITS = {"bytes": _SIZES, "s": _TIMES, "tok/s": _RATES, "1": _COUNTS}
EXAMPLES = {"bytes": "12 GiB", "s": "3 ms", "tok/s": "1,200 tok/s", "1": "171"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuizQuestion:
    """One question about the experiment with the id `experiment_id`, which began on `day`. `unit`
    is bytes, s, tok/s or 1; an answer counts as right within the relative `tolerance`. `solved`: it
    was answered rightly before its worked answer was `shown`. `posed` has its values and the
    answer."""

    name: str
    day: date
    experiment_id: str
    unit: str
    tolerance: float
    solved: bool
    shown: bool
    posed: Posed

    def text(self, lang: str = "en") -> str:
        """The question in `lang` (en or zh)."""
        return _said(say(f"quiz.{self.name}", **self.posed.values), lang)

    def hint(self, lang: str = "en") -> str:
        """A hint in `lang`."""
        return _said(say(f"quiz.{self.name}_hint", **self.posed.values), lang)

    def worked(self, lang: str = "en") -> str:
        """The answer worked out in the journal's own values, and what the theory leaves out."""
        values = self.posed.values
        parts = say(f"quiz.{self.name}_worked", **values), say(f"quiz.{self.name}_left", **values)
        return words(lang).paragraph(parts, str)

    def as_json(self, lang: str = "en") -> dict[str, Any]:
        """The question as plain JSON values; with the answer once it was solved or shown."""
        known = self.solved or self.shown
        return {
            "name": self.name,
            "day": self.day.isoformat(),
            "experiment_id": self.experiment_id,
            "question": self.text(lang),
            "unit": self.unit,
            "tolerance": self.tolerance,
            "hint": self.hint(lang),
            "solved": self.solved,
            "shown": self.shown,
            "answer": self.posed.answer if known else None,
            "worked": self.worked(lang) if known else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class QuizAnswer:
    """The answer to a `question`: what was `given`, in SI units (None: the worked answer was asked
    for), and whether it is `right`."""

    question: QuizQuestion
    given: float | None
    right: bool

    def text(self, lang: str = "en") -> str:
        """The verdict in `lang`: the worked answer, or how far off it was at least and the hint."""
        if self.given is None:
            return self.question.worked(lang)
        if not self.right:
            within = units.percent(self.question.tolerance)
            missed = say("quiz.wrong" if self.question.tolerance else "quiz.not_it", within=within)
            return words(lang).paragraph((missed, self.question.hint(lang)), str)
        return words(lang).paragraph((say("quiz.right"), self.question.worked(lang)), str)

    def as_json(self, lang: str = "en") -> dict[str, Any]:
        """The answer as plain JSON values."""
        return {
            "name": self.question.name,
            "given": self.given,
            "right": self.right,
            "text": self.text(lang),
        }


def quiz(
    home: str | Path = "lab", day: date | None = None, zone: tzinfo | None = None
) -> tuple[QuizQuestion, ...]:
    """The questions that the runs of `day` pose (None: of the last day with runs), each kind from
    the last experiment that can; empty where none can. Days are those of `zone` (None: this
    machine's). Raises NotFound where there are no runs."""
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        return _of_day(store, day, zone)


def answer_quiz(
    name: str,
    answer: str | None,
    home: str | Path = "lab",
    day: date | None = None,
    zone: tzinfo | None = None,
) -> QuizAnswer:
    """Judge `answer`, a number with a unit such as "93,184" or "12 GiB", to the question `name` of
    `day` as `quiz` poses it. A right answer is kept as a note on its experiment, and so is that the
    worked answer was shown (`answer` None), after which an answer earns nothing. Raises NotFound
    for a question that is not posed, UsageError for what is no number with a fitting unit."""
    from journal.store.notes import add_note
    from journal.store.store import open_store

    with open_store(Path(home)) as store:
        questions = {question.name: question for question in _of_day(store, day, zone)}
        if name not in questions:
            listed = ", ".join(questions) or "none"
            raise NotFound(f"there is no question {name[:60]!r} on that day: there are {listed}")
        question = questions[name]
        given = None if answer is None else value_of(answer, question.unit)
        right = given is not None and is_right(question.posed, given)
        if (right or given is None) and not (question.solved or question.shown):
            add_note(store, _note(question, answer))
        return QuizAnswer(question=question, given=given, right=right)


def is_right(question: Posed, given: float) -> bool:
    """Whether `given`, in SI units, is within the tolerance of the answer."""
    return abs(given - question.answer) <= (question.tolerance + 1e-9) * abs(question.answer)


def value_of(text: str, unit: str) -> float:
    """The number in `text` in SI units; `unit` is that of the question. kB, MB and GB are powers of
    1,000, KiB, MiB and GiB of 1,024. A time needs its unit. Raises UsageError for other text."""
    plain = unicodedata.normalize("NFKC", text).strip()
    found = NUMBER.fullmatch(plain)
    named = "" if found is None else re.sub(r"/(tok|token|step)$", "", found[2].strip().lower())
    factor = UNITS[unit].get(named)
    if found is None or factor is None:
        raise UsageError(
            f"{text[:60]!r} is not an answer to this question: write a number and its unit, such "
            f"as {EXAMPLES[unit]}"
        )
    return float(re.sub("[,_]", "", found[1])) * factor


def earned(store: "Journal", before: datetime | None = None) -> dict[str, tuple[str, Note]]:
    """The parts of the structure that right answers before `before` are about, each with the name
    of the question and the first note that keeps such an answer. Every one is judged again, by what
    was stored when it was given, so that a note that was changed by hand proves nothing."""
    from journal.store.notes import notes

    parts: dict[str, tuple[str, Note]] = {}
    shown = set()
    for note in notes(store):
        kept = _kept(note)
        if kept is None or (before is not None and note.written_at >= before):
            continue
        name, answer = kept
        if answer == SHOWN:
            shown.add((note.experiment_id, name))
        elif (note.experiment_id, name) not in shown:
            question = next(
                (one for one in _posed(store, note) if one.name == name and one.part not in parts),
                None,
            )
            if question and _holds(question, answer):
                parts[question.part] = name, note
    return parts


def _holds(question: Posed, answer: str) -> bool:
    try:
        return is_right(question, value_of(answer, question.unit))
    except UsageError:
        return False


def _kept(note: Note) -> tuple[str, str] | None:
    """The name and the answer that a note keeps; None for any other note."""
    match = KEPT.fullmatch(note.text.strip())
    return (match[1], match[2].strip("'")) if match and note.experiment_id else None


def _posed(store: "Journal", note: Note) -> Iterator[Posed]:
    """The questions that the experiment of `note` could pose when it was written."""
    runs = store.runs(experiment_id=note.experiment_id, until=note.written_at)
    return posed_by(points(zip(runs, setups_of(runs), strict=True)))


def _note(question: QuizQuestion, answer: str | None) -> Note:
    import secrets
    from datetime import UTC

    written = SHOWN if answer is None else f"'{answer.strip()}'"
    return Note(
        id=secrets.token_hex(8),
        day=question.day,
        text=f"journal answer {question.name} {written}",
        written_at=datetime.now(UTC),
        experiment_id=question.experiment_id,
    )


def _of_day(store: "Journal", day: date | None, zone: tzinfo | None) -> tuple[QuizQuestion, ...]:
    from journal.store.days import bounds
    from journal.store.history import last_began
    from journal.store.notes import notes

    if day is None:
        last = last_began(store)
        if last is None:
            raise NotFound("there are no runs to ask about: `journal run` makes some")
        day = last.astimezone(zone).date()
    since, until = bounds(day, zone)
    found: dict[str, tuple[str, Posed]] = {}
    for begun in store.experiments(since, until):
        runs = store.runs(experiment_id=begun.id)
        found |= {
            one.name: (begun.id, one)
            for one in posed_by(points(zip(runs, setups_of(runs), strict=True)))
        }
    kept = notes(store, day)
    return tuple(_question(id_, one, day, kept) for id_, one in found.values())


def _question(experiment_id: str, one: Posed, day: date, kept: Sequence[Note]) -> QuizQuestion:
    """The question with what is kept of it: the first note counts."""
    answers = [
        answer[1]
        for note in kept
        if note.experiment_id == experiment_id
        and (answer := _kept(note))
        and answer[0] == one.name
        and (answer[1] == SHOWN or _holds(one, answer[1]))
    ]
    return QuizQuestion(
        name=one.name,
        day=day,
        experiment_id=experiment_id,
        unit=one.unit,
        tolerance=one.tolerance,
        solved=bool(answers) and answers[0] != SHOWN,
        shown=bool(answers) and answers[0] == SHOWN,
        posed=one,
    )


def _said(text: Text, lang: str) -> str:
    return words(lang).say(text, str)
