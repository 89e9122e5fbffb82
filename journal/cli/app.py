"""The `journal` command: parse, make one call of the library, render. Nothing else lives here."""

import gc
import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import journal
from journal.cli.ask import ask
from journal.cli.chat import chat
from journal.cli.check import check
from journal.cli.compare import compare
from journal.cli.dashboards import dashboards
from journal.cli.demo import demo
from journal.cli.doctor import doctor
from journal.cli.exchange import compact, export, import_, merge
from journal.cli.explain import explain
from journal.cli.exporter import exporter
from journal.cli.fake_server import fake_server
from journal.cli.fit import fit
from journal.cli.log import checklist, log, note
from journal.cli.plan import plan
from journal.cli.quiz import answer, quiz
from journal.cli.recompute import recompute
from journal.cli.rent import rent
from journal.cli.run import run
from journal.cli.runs import runs, show
from journal.cli.serve import serve
from journal.cli.tag import tag
from journal.cli.trace import trace
from journal.cli.tries import try_
from journal.cli.ui import sync, ui
from journal.cli.verify import verify
from journal.cli.watch import watch
from journal.cli.whatif import whatif
from journal.errors import DamagedRow, EngineError, JournalError, UsageError
from journal.language import language, translated
from journal.redaction import hidden, shown_url

COLLECTED_AFTER = 100_000  # new objects: the records of a journal are many, and none is garbage

_UsageError: Any = typer.BadParameter.__base__  # its name depends on the version of typer


class _Commands(TyperGroup):
    """The commands. What is wrong with their options is told without the secrets in addresses."""

    def invoke(self, ctx: Any) -> Any:
        """Invoke the command that was asked for."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            error.message = _shown(error.message)
            raise


def _shown(text: str) -> str:
    """`text`, in which the addresses of the command line stand without their secrets."""
    for word in sys.argv:
        if "://" in word:
            text = text.replace(word, shown_url(word))
    return hidden(text)


app = typer.Typer(
    name="journal",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The lab journal for LLM serving: measure a vLLM server's memory, latency and "
    "throughput, record every run, and write the day's learning log.",
    epilog="First steps: `journal run` measures a small real model here; `journal log --open` "
    "shows what came of it.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(journal.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command, panel in (
    (run, "Measure"),
    (plan, "Measure"),
    (try_, "Measure"),
    (doctor, "Serve"),
    (fit, "Serve"),
    (explain, "Serve"),
    (rent, "Serve"),
    (serve, "Serve"),
    (ask, "Serve"),
    (watch, "Serve"),
    (exporter, "Serve"),
    (dashboards, "Serve"),
    (chat, "Serve"),
    (runs, "Look"),
    (show, "Look"),
    (log, "Look"),
    (compare, "Look"),
    (check, "Look"),
    (whatif, "Look"),
    (checklist, "Look"),
    (quiz, "Look"),
    (answer, "Look"),
    (ui, "Look"),
    (note, "Keep"),
    (tag, "Keep"),
    (import_, "Keep"),
    (export, "Keep"),
    (merge, "Keep"),
    (compact, "Keep"),
    (verify, "Keep"),
    (sync, "Keep"),
    (recompute, "Keep"),
    (demo, "Try"),
    (fake_server, "Try"),
):
    app.command(command.__name__.rstrip("_").replace("_", "-"), rich_help_panel=panel)(command)
app.add_typer(trace, name="trace", rich_help_panel="Try")


def _without_secrets(_kind: type[BaseException], error: BaseException, _at: object) -> None:
    """Print the traceback of a fault of this program, as Python does, without secrets."""
    import traceback

    print(hidden("".join(traceback.format_exception(error))), end="", file=sys.stderr)


def _warned(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print the warning of a damaged row as a sentence; other warnings are of other libraries."""
    from journal.cli.render import echo, plain

    if issubclass(category, DamagedRow):
        echo(f"journal: {plain(str(message))}", file=sys.stderr)


def _run() -> None:
    """The command that was asked for, in the user's language."""
    if language() == "en":
        app()
        return
    from journal.cli.in_chinese import run_in_chinese

    sys.exit(run_in_chinese(typer.main.get_command(app)))


def _in_words(error: JournalError) -> str:
    """The sentence of an error in the user's language; in English where that is what is wrong."""
    from journal.cli.render import plain

    said = _shown(str(error))
    try:
        return plain(translated(said))
    except UsageError:
        return plain(said)


def main() -> None:
    """The entry point. Every JournalError becomes one sentence on stderr and its exit code."""
    gc.set_threshold(COLLECTED_AFTER)
    sys.excepthook = _without_secrets
    warnings.filterwarnings("always", category=DamagedRow)
    warnings.showwarning = _warned
    try:
        _run()
    except JournalError as error:
        from journal.cli.render import plain, put

        if isinstance(error, EngineError) and error.log_tail:
            for line in error.log_tail.rstrip().split("\n"):
                print(plain(line), file=sys.stderr)
        put(f"journal: {_in_words(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(translated("journal: stopped"), file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output went away
        sys.exit(141)
