"""The `journal` command: parse, make one call of the library, render. Nothing else lives here."""

import atexit
import gc
import sys
import warnings
from functools import cache
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

import journal
from journal.errors import DamagedRow, EngineError, JournalError, UsageError
from journal.language import language, translated
from journal.redaction import hidden, shown_url

COLLECTED_AFTER = 250_000  # new objects: the records of a journal are many, and none is garbage

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


if TYPE_CHECKING:
    app: typer.Typer

_COMMANDS = (  # each with its module in journal/cli, and its panel in the help
    ("run", "run", "Measure"),
    ("plan", "plan", "Measure"),
    ("try", "tries", "Measure"),
    ("doctor", "doctor", "Serve"),
    ("fit", "fit", "Serve"),
    ("explain", "explain", "Serve"),
    ("rent", "rent", "Serve"),
    ("serve", "serve", "Serve"),
    ("ask", "ask", "Serve"),
    ("watch", "watch", "Serve"),
    ("exporter", "exporter", "Serve"),
    ("dashboards", "dashboards", "Serve"),
    ("chat", "chat", "Serve"),
    ("runs", "runs", "Look"),
    ("show", "runs", "Look"),
    ("log", "log", "Look"),
    ("compare", "compare", "Look"),
    ("check", "check", "Look"),
    ("whatif", "whatif", "Look"),
    ("checklist", "log", "Look"),
    ("quiz", "quiz", "Look"),
    ("answer", "quiz", "Look"),
    ("ui", "ui", "Look"),
    ("note", "log", "Keep"),
    ("tag", "tag", "Keep"),
    ("import", "exchange", "Keep"),
    ("export", "exchange", "Keep"),
    ("merge", "exchange", "Keep"),
    ("compact", "exchange", "Keep"),
    ("verify", "verify", "Keep"),
    ("sync", "ui", "Keep"),
    ("recompute", "recompute", "Keep"),
    ("demo", "demo", "Try"),
    ("fake-server", "fake_server", "Try"),
    ("trace", "trace", "Try"),
)


def __getattr__(name: str) -> Any:
    """`app` is the whole command."""
    if name != "app":
        raise AttributeError(f"module 'journal.cli.app' has no attribute {name!r}")
    return _app()


@cache
def _app(only: str | None = None) -> typer.Typer:
    """The whole command, or only its command `only`: to get all of them ready takes Typer some
    time, and a command line asks for one."""
    app = typer.Typer(
        name="journal",
        cls=_Commands,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="The lab journal for LLM serving: measure a vLLM server's memory, latency and "
        "throughput, record every run, and write the day's learning log.",
        epilog="First steps: `journal demo` shows a recorded day in seconds; `journal run` "
        "measures a small real model here; `journal log --open` shows what came of it.",
    )
    app.callback()(_options)
    for name, module, panel in _COMMANDS:
        if only in (None, name):
            function = f"{name}_" if iskeyword(name) else name.replace("-", "_")
            command = getattr(import_module(f"journal.cli.{module}"), function)
            if isinstance(command, typer.Typer):
                app.add_typer(command, name=name, rich_help_panel=panel)
            else:
                app.command(name, rich_help_panel=panel)(command)
    return app


def _asked() -> typer.Typer:
    """As much of the command as the command line asks for."""
    word = next(iter(sys.argv[1:]), None)
    return _app(word if any(word == name for name, *_ in _COMMANDS) else None)


def _version(wanted: bool) -> None:
    if wanted:
        print(journal.__version__)
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


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
        _asked()()
        return
    from journal.cli.in_chinese import run_in_chinese

    sys.exit(run_in_chinese(typer.main.get_command(_asked())))


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
    atexit.register(gc.freeze)  # else Python would look for garbage among all objects as it ends
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
