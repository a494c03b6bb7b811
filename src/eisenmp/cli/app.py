"""The commands' names, and what goes for all of them."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any, Final

import click

import eisenmp
from eisenmp.cli.exits import INTERRUPTED, BadCall, code_of
from eisenmp.errors import nearest

__all__ = ["cli", "start"]

_COMMANDS: Final = {
    "demo": "demo",
    "doctor": "doctor",
    "map": "map",
    "resume": "resume",
    "retry": "retry",
    "run": "run",
    "results": "results",
    "status": "status",
    "top": "top",
}  # name -> module here


class _Commands(click.Group):
    """Loads a command when it is asked for, so that none of them waits for the imports of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"eisenmp.cli.{_COMMANDS[cmd_name]}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            raise BadCall(f"no command '{name}'{nearest(name, _COMMANDS)}; there are: {', '.join(sorted(_COMMANDS))}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all went well; 1 an item failed, or the doctor found something broken; 2 the call was wrong; "
    "3 input or output failed; 130 Ctrl-C; 141 the reader of the output has left.",
)
@click.version_option(eisenmp.__version__, "-V", "--version", prog_name="eisenmp")
def cli() -> None:
    """Spread work over every CPU core: lines of files over a Python function, or whole manager programs."""


def start(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    try:
        return code_of(partial(cli.main, arguments, prog_name="eisenmp", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
