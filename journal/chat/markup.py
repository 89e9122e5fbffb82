"""Conversations of the chat page as HTML, in which a model's words cannot act.

A model's words are untrusted. Their Markdown is rendered, their HTML is shown as text, and pictures
(which would be fetched from anywhere) are links. Each piece is one line of HTML: Gradio reads its
messages as Markdown, and Markdown leaves such a line alone.
"""

from functools import cache
from html import escape
from typing import TYPE_CHECKING

from journal.language import translated
from journal.records.notebook import Interaction
from journal.units import number, rate, seconds, unbroken

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

CSS = """
.asked { white-space: pre-wrap }
.thoughts { white-space: pre-wrap; opacity: .6; font-size: .9em; margin-bottom: .6em }
.facts { margin-top: .6em; font-size: .8em; opacity: .75; font-variant-numeric: tabular-nums }
.failed { color: var(--error-text-color); margin-top: .4em; font-size: .9em }
.waiting { opacity: .6 }
.secondary-wrap input { margin-right: 2rem }
.dark { color-scheme: dark }
#left .icon-button-wrapper, #right .icon-button-wrapper { display: none }
@media (max-width: 768px) {
    .column:has(+ .column #right) #left, #right { height: calc(50vh - 195px) !important }
}
"""


def question_html(text: str) -> str:
    """A question as it was typed, as one line of HTML."""
    return _line("asked", escape(text))


def answer_html(answer: Interaction, *, ended: bool, unkept: str | None = None) -> str:
    """An answer under its thoughts, with its model, TTFT, rate and tokens below, as one line of
    HTML. `unkept` says why the journal could not keep it."""
    html = _line("answer", _markdown().render(answer.answer))
    if not answer.answer and not ended:
        html = _line("waiting", "…")
    if answer.thoughts:
        html = _line("thoughts", escape(answer.thoughts)) + html
    failed = "".join(
        _line("failed", escape(translated(why)))
        for why in (answer.error, answer.note, unkept)
        if why
    )
    facts = unbroken(facts_line(answer, ended=ended))
    return html + failed + _line("facts", escape(facts))


def facts_line(answer: Interaction, *, ended: bool) -> str:
    """The numbers of one answer in a line: its model, TTFT, tokens/s after the first, tokens."""
    parts = [answer.model, f"TTFT {seconds(answer.ttft_s)}"]
    if ended:
        tokens, prompt = number(answer.output_tokens), number(answer.prompt_tokens)
        parts += [rate(answer.tokens_per_s), translated(f"{tokens} tokens (prompt: {prompt})")]
    if answer.finish_reason == "length":
        parts.append(translated("cut at the length that was asked for"))
    return " · ".join(parts)


def _line(kind: str, html: str) -> str:
    return f'<div class="{kind}">{html.strip()}</div>'.replace("\n", "&#10;")


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return (
        MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table").disable("image")
    )
