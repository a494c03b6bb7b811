"""``eisenmp run``: a manager program with other settings."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from eisenmp.cli.script import run_script

__all__ = ["command", "set_option"]


def _complete_setting(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from eisenmp.settings import Settings

    return [CompletionItem(f"{name}=") for name in Settings._fields if name.startswith(incomplete)]


set_option = click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    shell_complete=_complete_setting,
    help="A setting in the place of the program's own, any number of times: --set NUM_PROCS=4. Values are Python "
    "literals (4, None, 2.5), anything else is a text. Other names than those of settings go to the toolbox.",
)


@click.command("run", context_settings={"ignore_unknown_options": True}, no_args_is_help=True)
@set_option
@click.argument("manager", metavar="MANAGER.py", type=click.Path())
@click.argument("arguments", metavar="[ARGS...]", nargs=-1, type=click.UNPROCESSED)
def command(manager: str, arguments: tuple[str, ...], settings: tuple[str, ...]) -> int:
    """Run a program that uses eisenmp, with settings overridden.

    The program runs as it would under python, as __main__ and with ARGS as its arguments. Whatever it says about the
    settings named by --set, its jobs start with the values given here. --set comes before MANAGER.py.

    The exit code is the program's; 1 when it raises.

    \b
    Examples:
      eisenmp run --set NUM_PROCS=1 manager.py
      eisenmp run --set START_METHOD=forkserver --set INFO_ENABLE=True manager.py --verbose
    """
    return run_script(manager, arguments, settings)


command.allow_interspersed_args = False  # what follows MANAGER.py belongs to it
