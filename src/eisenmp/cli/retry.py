"""``eisenmp retry``: tickets that failed run again."""

from __future__ import annotations

import click

from eisenmp.cli.exits import BROKEN, FINE, WRONG, say
from eisenmp.errors import JobFileBusy, JobFileError
from eisenmp.jobfile.retry import retry_job

__all__ = ["command"]


@click.command("retry", short_help="Have failed tickets of a job file run again.", no_args_is_help=True)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--failed", is_flag=True, help="Only those that ended in an exception.")
@click.option("--set-aside", is_flag=True, help="Only those over which workers died.")
def command(file: str, failed: bool, set_aside: bool) -> int:
    """Forget what became of tickets that failed or were set aside: they run again at the next start of the program.

    \b
    Examples:
      eisenmp retry search.db --failed
      eisenmp resume search.db
    """
    both = not (failed or set_aside)
    try:
        count = retry_job(file, failed=failed or both, set_aside=set_aside or both)
    except JobFileBusy as error:
        say(str(error))
        return BROKEN
    except JobFileError as error:
        say(str(error))
        return WRONG
    tickets = "1 ticket runs" if count == 1 else f"{count} tickets run"
    click.echo(f"{tickets} again at the next start: eisenmp resume {file}" if count else "no such tickets")
    return FINE
