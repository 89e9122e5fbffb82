"""The commands in Chinese: their help, and the errors of their options."""

import inspect
import sys
from typing import Any, cast

from journal.errors import UsageError
from journal.language import catalogue, translated

# What Typer itself says in its help, by the names of its constants for that.
FRAME = {
    "ARGUMENTS_PANEL_TITLE": "参数",
    "OPTIONS_PANEL_TITLE": "选项",
    "COMMANDS_PANEL_TITLE": "命令",
    "ERRORS_PANEL_TITLE": "错误",
    "DEFAULT_STRING": "[默认：{}]",
    "ENVVAR_STRING": "[环境变量：{}]",
    "REQUIRED_LONG_STRING": "[必需]",
    "ABORTED_TEXT": "已中止。",
    "RICH_HELP": "用 [blue]'{command_path} {help_option}'[/] 查看帮助。",
}


def run_in_chinese(command: Any) -> int:
    """Run `command`, the root of a tree of Click commands, with its help in Chinese; return its
    exit code. Raises UsageError for options that do not parse."""
    from typer import Abort, BadParameter, rich_utils

    for name, text in FRAME.items():
        setattr(rich_utils, name, text)
    _usage_in_chinese()
    put_into_chinese(command)
    family = {kind.__name__: kind for kind in BadParameter.__mro__}
    refused = cast(type[BadParameter], family["ClickException"])  # Typer exports its children only
    try:
        return int(command.main(standalone_mode=False) or 0)
    except Abort:
        print(FRAME["ABORTED_TEXT"], file=sys.stderr)
        return 1
    except refused as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed
            return 2
        raise UsageError(error.format_message()) from None


def _usage_in_chinese() -> None:
    """Have the line of a command's usage begin in Chinese."""
    from typer import Context

    base: Any = Context.__mro__[1]  # Click's own, which Typer does not export
    plain = base.formatter_class

    class Formatter(plain):  # type: ignore[misc, valid-type]
        def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
            super().write_usage(prog, args, prefix or "用法：")

    base.formatter_class = Formatter


def put_into_chinese(command: Any) -> None:
    """Put the help of `command`, of its options and of the commands below it into Chinese."""
    for name in ("help", "epilog", "short_help"):
        if text := getattr(command, name, None):
            setattr(command, name, chinese_help(text))
    for holder in (command, *command.params):
        if panel := getattr(holder, "rich_help_panel", None):
            holder.rich_help_panel = catalogue().get(panel, panel)
    command.options_metavar = "[选项]"
    if hasattr(command, "subcommand_metavar"):
        command.subcommand_metavar = "命令 [参数]..."
    for option in command.params:
        if getattr(option, "help", None):
            option.help = chinese_help(option.help)
        if option.name == "help":
            option.help = "显示帮助并退出。"
    for below in getattr(command, "commands", {}).values():
        put_into_chinese(below)


def chinese_help(text: str) -> str:
    """A help text in Chinese, paragraph by paragraph; examples stand as they are."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        part if part.lstrip().startswith("- `") else translated(" ".join(part.split()), "zh")
        for part in paragraphs
    )
