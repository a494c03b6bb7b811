"""``eisenmp map``: a Python function over the lines of files, on all cores."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterable
from typing import Any

import click

from eisenmp.cli.block import Format, Job
from eisenmp.cli.course import Course, Plan
from eisenmp.cli.exits import BROKEN, FAILED, TERMINATED, WRONG, BadCall, InputError, OutputError, say
from eisenmp.cli.inputs import STDIN, Lines, Rows, check_paths
from eisenmp.cli.output import STDOUT, open_output
from eisenmp.cli.reference import split_reference
from eisenmp.cli.slabs import SlabSource
from eisenmp.cli.spacetext import parse_range, parse_space
from eisenmp.errors import EisenmpError, JobFileBusy, JobFileError, JobFileMismatch, SettingsError
from eisenmp.settings import Settings
from eisenmp.sources import Source

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
def command(worker: str, files: tuple[str, ...], **options: Any) -> int:
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
    path, ref = split_reference(worker)
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # for dotted modules, as with `python -m`
    try:
        plan = _plan(path, ref, files, options)
        output = open_output(options["out"])
    except (SettingsError, InputError) as error:
        raise BadCall(str(error)) from error
    except OutputError as error:
        say(str(error))
        return BROKEN
    sys.stdout = sys.stderr  # standard output belongs to the results: what the function prints is shown beside them
    _heed_sigterm()
    return _run(Course(plan, output))


def _heed_sigterm() -> None:
    """It shall put things in order here. A worker that is a fork of us must go at once."""
    owner = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() != owner:
            os._exit(TERMINATED)
        sys.exit(TERMINATED)

    signal.signal(signal.SIGTERM, end)


def _run(course: Course) -> int:
    try:
        return course.run()
    except SettingsError as error:
        say(str(error))
        return WRONG
    except (JobFileMismatch, JobFileBusy) as error:
        say(str(error))
        return FAILED
    except JobFileError as error:
        say(str(error))
        return BROKEN if course.begun else WRONG
    except EisenmpError as error:
        say(str(error))
        return BROKEN if isinstance(error, InputError | OutputError) else FAILED


def _plan(path: str, ref: str, files: tuple[str, ...], options: dict[str, Any]) -> Plan:
    """Everything that can be known before a process starts.

    Raises:
        SettingsError, InputError: it does not fit.
    """
    takes, source, lines = _source(files, options)
    gives: Format = "json" if options["as_json"] else "csv" if options["as_csv"] else "text"
    job = Job(path, ref, takes, gives, options["on_error"], options["retries"], getattr(lines, "header", ()))
    if options["job"] is not None:
        from eisenmp.jobfile.fingerprint import source_digest

        job.source = source_digest(path).hex()
    settings = Settings(
        NUM_PROCS=options["workers"],
        NUM_ROWS=options["chunksize"],
        CHUNK_TIMEOUT=options["timeout"],
        START_METHOD=options["start_method"],
        WORKER_CALL="chunk",
        ON_ERROR="skip",
        INFO_ENABLE=_shows_progress(options),
        JOB=options["job"],
        JOB_FORCE=options["force"],
        JOB_TRUST=options["trust"],
    )
    return Plan(job, source, lines, settings, not options["unordered"], options["total"])


def _source(files: tuple[str, ...], options: dict[str, Any]) -> tuple[Format, Iterable[Any] | Source, Lines | None]:
    """(what the items are, they, the same again if they are lines)"""
    given = [name for name in ("range_", "space") if options[name] is not None]
    if len(given) + bool(files) > 1:
        raise SettingsError("files, --range and --space exclude each other: give one of them")
    if given and options["as_csv"]:
        raise SettingsError("--csv is for files: with --range and --space, use --json or nothing")
    if options["range_"] is not None:
        return "items", parse_range(options["range_"]), None
    if options["space"] is not None:
        return "items", parse_space(options["space"]), None
    paths = files or (STDIN,)
    check_paths(paths)
    if STDIN in paths and sys.stdin is not None and sys.stdin.isatty() and options["progress"] is not False:
        say("reading lines from the terminal; Ctrl-D ends them")
    if not options["as_csv"]:
        lines = Lines(paths)
        # a job file keeps samples of the items, one by one
        source = lines if options["job"] is not None else SlabSource(lines)
        return ("json" if options["as_json"] else "text"), source, lines
    rows = Rows(paths)
    rows.open()
    return "csv", rows, rows


def _shows_progress(options: dict[str, Any]) -> bool:
    """On a terminal, unless the results may run over the same one: a pipe may lead there, too."""
    if options["progress"] is not None or sys.stderr is None:
        return bool(options["progress"])
    return sys.stderr.isatty() and (options["out"] is not None or stat.S_ISREG(os.fstat(STDOUT).st_mode))
