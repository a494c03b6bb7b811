"""``eisenmp demo``: the examples."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import click
from click.shell_completion import CompletionItem

from eisenmp.cli.exits import BadCall
from eisenmp.cli.run import set_option
from eisenmp.cli.script import run_script
from eisenmp.errors import nearest

__all__ = ["command", "examples"]

_FIRST: Final = "anagrams"


def examples() -> dict[str, Path]:
    """Name -> manager program. An installed package has them inside, a working copy beside it."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "examples", package.parents[1] / "examples"):
        found = {path.parent.name: path for path in sorted(folder.glob("*/manager.py"))}
        if found:
            return found
    return {}


def _complete_name(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in examples() if name.startswith(incomplete)]


@click.command("demo", context_settings={"ignore_unknown_options": True})
@click.option("-l", "--list", "only_list", is_flag=True, help="List the examples and where they are; run none.")
@set_option
@click.argument("name", required=False, shell_complete=_complete_name)
@click.argument("arguments", metavar="[ARGS...]", nargs=-1, type=click.UNPROCESSED)
def command(name: str | None, arguments: tuple[str, ...], only_list: bool, settings: tuple[str, ...]) -> int:
    """Run an example; without a NAME, anagrams.

    Some need their data: pip install 'eisenmp[examples]'. ARGS are the example's own, such as --help or --workers 2.

    \b
    Examples:
      eisenmp demo --list
      eisenmp demo primes --workers 2
    """
    found = examples()
    if not found:
        raise BadCall("the examples are not here; they are the folder 'examples' of eisenmp's source")
    if only_list:
        for each, path in found.items():
            click.echo(f"{each:<10} {_summary(path)}\n{'':<10} {path}")
        return 0
    name = name or _FIRST
    if name not in found:
        raise BadCall(f"no example '{name}'{nearest(name, found)}; there are: {', '.join(found)}")
    return run_script(str(found[name]), arguments, settings)


def _summary(path: Path) -> str:
    """The first line of its docstring."""
    return (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n")[0]


command.allow_interspersed_args = False  # what follows NAME belongs to the example
