"""``eisenmp results``: what is in a job file, as JSON lines, CSV, Parquet or SQLite."""

from __future__ import annotations

from typing import Any

import click

from eisenmp.cli.exits import BROKEN, FINE, BadCall, OutputError, say
from eisenmp.cli.output import open_output
from eisenmp.errors import JobFileError, SettingsError
from eisenmp.export import FORMATS, Exported, export_results

__all__ = ["command"]


@click.command("results", short_help="What is in a job file, for other programs.", no_args_is_help=True)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Default: what the name of --out ends in; else jsonl, and lines for a file of eisenmp map: those that it has "
    "printed.",
)
@click.option(
    "-o", "--out", metavar="FILE", type=click.Path(), help="Write into a file, which appears when all is written."
)
@click.option("--queue", metavar="NAME", help="Only results of this queue.")
@click.option("--whole", is_flag=True, help="A row for each ticket. Else a list gives a row for each of its entries.")
@click.option("--trust", is_flag=True, help="Open a file that somebody else has made, which may run code.")
def command(file: str, format_: str | None, out: str | None, queue: str | None, whole: bool, trust: bool) -> int:
    """Write the results of a job file in ticket order: what is recorded by now, also while the job runs.

    \b
    Examples:
      eisenmp results scores.db | head
      eisenmp results scores.db --out scores.parquet
      eisenmp results scores.db --format csv --out - | sort
    """
    options: dict[str, Any] = {"queue": queue, "whole": whole, "trust": trust}
    try:
        if out is None or out == "-":
            exported = export_results(file, open_output(None), format_, **options)
        else:
            exported = export_results(file, out, format_, **options)
    except SettingsError as error:
        raise BadCall(str(error).replace("format=", "--format ")) from error
    except JobFileError as error:
        raise BadCall(str(error)) from error
    except OutputError as error:
        say(str(error))
        return BROKEN
    _tell(exported)
    return FINE


def _tell(exported: Exported) -> None:
    for name, count in exported.shown.items():
        say(f"{count} values of the type {name} were written as their repr()")
