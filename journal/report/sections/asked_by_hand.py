"""Questions that a person asked by hand, with the times and tokens of their answers."""

from collections.abc import Iterator

from journal import units
from journal.records.notebook import Interaction
from journal.report.day import Day
from journal.report.document import Box, Column, Section, Spoken, Table, say

MOST = 12  # the last so many are shown
LONGEST = 80  # characters of a question


def asked_by_hand_section(day: Day) -> Section | None:
    """A section with a row for each question; None where nothing was asked by hand."""
    if not day.questions:
        return None
    titles = ("at", "model", "question", "prompt", "output", "ttft", "rate")
    columns = tuple(
        Column(say(f"byhand.{title}"), numeric=place > 2) for place, title in enumerate(titles)
    )
    shown = day.questions[-MOST:]
    rows = tuple(tuple(_row(question, day)) for question in shown)
    left_out = say("byhand.earlier", shown=str(MOST), n=f"{len(day.questions):,}")
    caption = (left_out,) if len(shown) < len(day.questions) else ()
    return Section(2, say("byhand.heading"), (Table(columns, rows, caption),))


def _row(question: Interaction, day: Day) -> Iterator[Box]:
    yield Box(day.clock(question.asked_at), say(f"byhand.from.{question.source}"))
    yield Box(question.model)
    yield Box(_question(question), Spoken(question.error) if question.error else "")
    yield Box(units.number(question.prompt_tokens))
    yield Box(units.number(question.output_tokens))
    yield Box(units.seconds(question.ttft_s))
    yield Box(units.rate(question.tokens_per_s))


def _question(question: Interaction) -> str:
    """The beginning of the question, in one line."""
    text = " ".join(question.messages[-1]["content"].split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
