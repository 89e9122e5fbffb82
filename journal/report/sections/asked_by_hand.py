"""The questions of a day that a person asked by hand, and what their answers took."""

from collections.abc import Iterator

from journal import units
from journal.records.notebook import Interaction
from journal.report.day import Day
from journal.report.document import Box, Column, Section, Table, say

MOST = 12  # the last so many are shown
LONGEST = 80  # characters of a question


def answer(day: Day) -> Section | None:
    """A row for each question; None where nothing was asked by hand."""
    if not day.asked:
        return None
    titles = ("at", "model", "question", "prompt", "output", "ttft", "rate")
    columns = tuple(
        Column(say(f"byhand.{title}"), numeric=place > 2) for place, title in enumerate(titles)
    )
    shown = day.asked[-MOST:]
    rows = tuple(tuple(_row(each, day)) for each in shown)
    left_out = say("byhand.earlier", shown=str(MOST), n=f"{len(day.asked):,}")
    caption = (left_out,) if len(shown) < len(day.asked) else ()
    return Section(2, say("byhand.heading"), (Table(columns, rows, caption),))


def _row(asked: Interaction, day: Day) -> Iterator[Box]:
    yield Box(day.clock(asked.asked_at), say(f"byhand.from.{asked.source}"))
    yield Box(asked.model)
    yield Box(_question(asked), asked.error or "")
    yield Box(units.number(asked.prompt_tokens))
    yield Box(units.number(asked.output_tokens))
    yield Box(units.seconds(asked.ttft_s))
    yield Box(units.rate(asked.tokens_per_s))


def _question(asked: Interaction) -> str:
    """The beginning of what was asked, in one line."""
    text = " ".join(asked.messages[-1]["content"].split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
