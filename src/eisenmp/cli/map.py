"""``eisenmp map``: a Python function over the lines of files, on all cores."""

from __future__ import annotations

from typing import Any

import click

from eisenmp.cli.quick import Call, run

__all__ = ["command"]


class _Chunksize(click.ParamType[Any]):
    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "auto":
            return "auto"
        try:
            number = int(value)
        except ValueError:
            number = 0
        if number < 1:
            self.fail(f"{value!r} does not fit; allowed: 'auto' or a whole number from 1 on", param, ctx)
        return number


@click.command("map", short_help="A Python function over the lines of files.", no_args_is_help=True)
@click.argument("worker", metavar="WORKER.py:FUNCTION")
@click.argument("files", metavar="[FILE...|-]", nargs=-1, type=click.Path())
@click.option(
    "-j", "--workers", metavar="N", type=click.IntRange(1), help="Worker processes; default: one per usable core."
)
@click.option(
    "--chunksize", type=_Chunksize(), default="auto", show_default=True, help="Items that travel to a worker together."
)
@click.option("-u", "--unordered", is_flag=True, help="Write results as they come, not in the order of the items.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines: each line is an item, each result becomes a line.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV with a line of names on top: items are dicts, results may be.")
@click.option("--range", "range_", metavar="A:B[:STEP]", help="Items are the whole numbers from A to B - 1; no files.")
@click.option("--space", metavar="TEXT", help="Items are those of a search space: 'product(abc, 5)'; no files.")
@click.option(
    "--total", metavar="N", type=click.IntRange(1), help="How many items to expect, for the line of progress."
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    help="Seconds that one chunk may run before its worker is ended.",
)
@click.option(
    "--retries",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Further tries of an item that raised.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip", "yield"]),
    default="raise",
    show_default=True,
    help="What becomes of an item that raised: it ends the job, is left out, or its error stands in its place. "
    "All are told on standard error, and the exit code is 1.",
)
@click.option(
    "--start-method",
    type=click.Choice(["spawn", "forkserver", "fork"]),
    default="spawn",
    show_default=True,
    help="How worker processes are made.",
)
@click.option(
    "-o", "--out", metavar="FILE", type=click.Path(), help="Write into a file, which appears when all is done."
)
@click.option(
    "--progress/--quiet",
    " /-q",
    default=None,
    help="A line of progress on standard error. Without a word about it: when that is a terminal and the results go "
    "into a file.",
)
@click.option(
    "--job",
    metavar="FILE",
    type=click.Path(),
    help="Keep what is done in this file: the same command again goes on where this one was. See eisenmp resume.",
)
@click.option("--force", is_flag=True, help="With --job: go on although the function or the items have changed.")
@click.option("--trust", is_flag=True, help="With --job: open a file that somebody else has made, which may run code.")
def command(worker: str, files: tuple[str, ...], **options: Any) -> None:
    """Call a Python function with each line of the input, on all cores, and print the results in order.

    \b
    WORKER.py:FUNCTION  a file or a dotted module, and a function of one argument
    FILE...             read in turn; - or nothing is standard input

    The function gets a line as text, without its newline. What it returns is printed, a line each; None prints nothing.
    What the function itself prints goes to standard error.

    \b
    Examples:
      eisenmp map words.py:score words.txt > scores.txt
      tail -f access.log | eisenmp map parse.py:line --json
      eisenmp map clean.py:row --csv --out clean.csv raw.csv
      eisenmp map hash.py:check --space 'product(abcdef, 6)' | head -1
      eisenmp map model.py:score --job scores.db --out scores.txt rows.txt
    """
    run(Call(worker, files, options))
