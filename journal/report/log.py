"""The log of a day, a week or an experiment as files: Markdown with its figures beside it, and
one HTML file that needs nothing else."""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, tzinfo
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from journal import units
from journal.errors import JournalError, UsageError
from journal.language import LANGUAGES, chosen, language, shipped_text
from journal.paths import is_written_in_place
from journal.private import make_folder
from journal.report.day import Day, collect, last_day
from journal.report.document import Drawing, Own, Page
from journal.report.extent import collect_experiment, collect_week
from journal.report.figures import draw, inline, standalone
from journal.report.kept import copied_if_edited, take_in
from journal.report.phrases import TEMPLATES, Words, words
from journal.report.questions import log_page
from journal.report.regions import NEW, UNSEALED, marked_place, sealed
from journal.report.sections.own_words import without_blanks
from journal.report.text import fenced, markdown, visible
from journal.store.journal_file import read
from journal.store.lock_files import locked
from journal.tracking.addresses import asked_uri, ui_address

if TYPE_CHECKING:
    from jinja2 import Environment

    from journal.records.run import Record
    from journal.store.rows import Journal


OPTION = re.compile(r"(?<!\S)--[\w-]+")  # which stays on one line
PAGE_LANG = re.compile(r'<html lang="([a-zA-Z-]+)"')


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of a log. `edited` is a copy of a Markdown file that was changed outside the places
    for the user's own words, as it was before it was written anew; None where it was not
    changed."""

    markdown: Path
    html: Path
    figures: tuple[Path, ...]
    edited: Path | None = None

    def __str__(self) -> str:
        """The text of the log, as Markdown."""
        return self.markdown.read_text(encoding="utf-8", errors="replace")

    def _repr_html_(self) -> str:
        """The page of the log in a notebook, in a frame of its own."""
        page = escape(self.html.read_text(encoding="utf-8", errors="replace"))
        return f'<iframe srcdoc="{page}" sandbox width="100%" height="800"></iframe>'


def log(
    home: str | Path = "lab",
    day: date | None = None,
    *,
    week: bool = False,
    experiment: str | None = None,
    lang: str | None = None,
    zone: tzinfo | None = None,
) -> LogFiles:
    """Write the log of `day` (None: the last on which anything began), of its whole week, or of
    `experiment` (a name or an id) with all its runs, under `home`/log. Days are those of `zone`
    (None: this machine's). `lang` is en or zh; None: the one that JOURNAL_LANG asks for, else the
    one in which that log was written before, else that of the locale. What the user wrote into a
    log is kept. Raises NotFound when nothing began then, and UsageError for another language, or
    for an experiment together with a day."""
    if experiment is not None and (week or day is not None):
        raise UsageError("--experiment has its own days: leave out the date and --week")
    home, tracking = Path(home), ui_address(asked_uri() or "")

    def written(store: "Journal") -> LogFiles:
        if experiment is not None:
            return write_experiment_log(store, home, experiment, zone, lang, tracking)
        if week:
            return write_week_log(store, home, day, zone, lang, tracking)
        return write_log(store, home, day, zone, lang, tracking)

    return read(home, written)


def write_log(
    store: "Journal",
    home: Path,
    day: date | None = None,
    zone: tzinfo | None = None,
    lang: str | None = None,
    tracking: str | None = None,
    read: "Sequence[Record]" = (),
) -> LogFiles:
    """Write the log of `day` (None: the last on which anything began) under `home`/log.

    The day is one of `zone` (None: this machine's). `lang` is as for `log`. With `tracking`, the
    address of MLflow's UI, the log links to its pages. `read` are all runs of an experiment, where
    they were read already. The same runs give the same bytes; each file is replaced whole. What
    the user wrote into the Markdown is kept: their words in the places for them go into the
    journal first, and a file that was changed elsewhere is copied beside itself. Raises NotFound
    when nothing began on that day, and UsageError for another language.
    """
    language(lang)
    folder = Path(home) / "log"
    with locked(Path(home) / "log.lock"):
        day = last_day(store, zone) if day is None else day
        path, edited = folder / f"{day}.md", None
        while True:
            before = _content(path)
            if before is not None:
                edited = take_in(store, path, before, day) or edited
            collected = replace(collect(store, day, zone, read), tracking=tracking)
            files, texts = _drawn(collected, folder, lang)
            if _content(path) == before:  # else it was saved by its editor just now
                break
        for path, text in texts.items():
            write_text(path, text)
        return replace(files, edited=edited)


def write_week_log(
    store: "Journal",
    home: Path,
    day: date | None = None,
    zone: tzinfo | None = None,
    lang: str | None = None,
    tracking: str | None = None,
) -> LogFiles:
    """Write the log of the week of `day` (None: the last on which anything began), as `write_log`
    does that of a day, to `home`/log/YYYY-Www.md and .html. Raises NotFound when nothing began in
    that week, and UsageError for another language."""
    language(lang)
    day = last_day(store, zone) if day is None else day
    return _write_whole(replace(collect_week(store, day, zone), tracking=tracking), home, lang)


def write_experiment_log(
    store: "Journal",
    home: Path,
    experiment: str,
    zone: tzinfo | None = None,
    lang: str | None = None,
    tracking: str | None = None,
) -> LogFiles:
    """Write the log of an experiment (the newest of that name, or an id), with all its runs on
    whatever days, to `home`/log/experiment-NAME-ID.md and .html. Raises NotFound when there is no
    such experiment, and UsageError for another language."""
    language(lang)
    collected = collect_experiment(store, experiment, zone)
    return _write_whole(replace(collected, tracking=tracking), home, lang)


def _write_whole(whole: Day, home: Path, lang: str | None) -> LogFiles:
    with locked(Path(home) / "log.lock"):
        files, texts = _drawn(whole, Path(home) / "log", lang)
        before = _content(files.markdown)
        edited = None if before is None else copied_if_edited(files.markdown, before)
        for path, text in texts.items():
            write_text(path, text)
    return replace(files, edited=edited)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _drawn(day: Day, folder: Path, lang: str | None) -> tuple[LogFiles, dict[Path, str]]:
    """The files of the log of `day` under `folder`, and the text of each."""
    whole, beside = log_page(day), folder / day.stem
    speak = words(lang_of(folder / f"{day.stem}.html", lang))
    drawings = {panel.name: draw(panel, speak) for panel in panels(whole)}
    figures = {beside / f"{name}.svg": standalone(drawn) for name, drawn in drawings.items()}
    files = LogFiles(folder / f"{day.stem}.md", folder / f"{day.stem}.html", tuple(figures))
    texts = {
        **figures,
        files.markdown: as_markdown(whole, speak, beside.name),
        files.html: as_html(whole, speak, drawings),
    }
    return files, texts


def lang_of(page: Path, lang: str | None = None) -> str:
    """The language of the log whose HTML is `page`: `lang`, else the one that JOURNAL_LANG asks
    for, else that of the page as it stands there, else that of the locale."""
    if (asked := chosen(lang)) is not None:
        return asked
    with suppress(OSError), page.open(encoding="utf-8", errors="replace") as file:
        match = PAGE_LANG.search(file.read(400))
        if match and (code := match[1].split("-")[0]) in LANGUAGES:
            return code
    return language()


def panels(whole: Page) -> list[Drawing]:
    """All panels of a page, in order."""
    blocks = (block for section in whole.sections for block in section.blocks)
    return [panel for block in blocks if block.kind == "plot" for panel in block.panels]


def as_markdown(whole: Page, language: Words, figures: str) -> str:
    """`whole` as Markdown whose figures lie in the folder `figures` beside it."""
    environment = _environment(language, markdown, html=False)
    environment.filters |= {"fenced": fenced, "quoted": _quoted}
    environment.filters["marked"] = lambda own: marked_place(
        own.name, own.text, _hint(own, language)
    )
    template = environment.get_template("log.md.j2")
    text = template.render(page=whole, figures=figures, unsealed=UNSEALED).rstrip() + "\n"
    return sealed(text) if figures else text


def _hint(own: Own, language: Words) -> str:
    return language.phrases["notes.new" if own.name.startswith(NEW) else "notes.kept"]


def as_html(whole: Page, language: Words, drawings: Mapping[str, str]) -> str:
    """`whole` as one HTML file that loads nothing; `drawings` are its panels, by name."""
    from markupsafe import Markup

    environment = _environment(language, _escaped, html=True)
    environment.filters["visible"] = lambda text: visible(text, keep="\n\t")
    environment.filters["options_whole"] = lambda text: Markup(
        OPTION.sub(r"<span>\g<0></span>", escape(text, quote=False))
    )
    environment.filters["drawn"] = lambda panel: Markup(inline(drawings[panel.name]))
    return (
        environment.get_template("log.html.j2").render(page=without_blanks(whole)).rstrip() + "\n"
    )


def _environment(language: Words, escaped: Callable[[str], str], *, html: bool) -> "Environment":
    """The templates; `text | say` gives the words of a Text, values made safe by `escaped`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from journal.report.compiled_templates import compiled_templates

    safe = (lambda text: Markup(units.unbroken(text))) if html else str
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=html,  # Markdown has an escape of its own
        bytecode_cache=compiled_templates(),
    )
    environment.filters["say"] = lambda text: safe(language.say(text, escaped))
    environment.filters["shipped"] = lambda text: shipped_text(text, language.lang)
    environment.filters["verbatim"] = lambda lines: "\n".join(
        language.say(line, str) for line in lines
    )
    environment.filters["paragraph"] = lambda texts: safe(language.paragraph(texts, escaped))
    environment.globals["phrase"] = language.phrases.__getitem__
    return environment


def _escaped(text: str) -> str:
    return escape(visible(text))


def _quoted(text: str) -> str:
    """The user's own words as lines of a Markdown quotation."""
    return "\n".join(f"> {markdown(line.strip())}".rstrip() for line in text.strip().split("\n"))


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` by `text` at once, so that nobody ever reads half of it; a new
    file or directory is readable by its owner alone. A device or a pipe is written to. Raises
    JournalError where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if is_written_in_place(path):
            path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
            return
        make_folder(path.parent)
        try:
            temporary.touch(mode=0o600)
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written ({error.strerror}): make room for it, or its directory "
            "writable, and try again"
        ) from error
