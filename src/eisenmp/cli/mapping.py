"""What ``eisenmp map`` was asked for, and the run of it."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterable
from typing import Any

from eisenmp.cli.block import Format, Job
from eisenmp.cli.course import Course, Plan
from eisenmp.cli.exits import BROKEN, FAILED, TERMINATED, WRONG, BadCall, InputError, OutputError, say
from eisenmp.cli.inputs import STDIN, Lines, check_paths
from eisenmp.cli.output import STDOUT, open_output
from eisenmp.cli.slabs import SlabSource
from eisenmp.errors import EisenmpError, JobFileBusy, JobFileError, JobFileMismatch, SettingsError
from eisenmp.settings import Settings
from eisenmp.sources import Source

__all__ = ["run"]


def run(path: str, ref: str, files: tuple[str, ...], options: dict[str, Any]) -> int:
    """Run the job; return the exit code.

    Args:
        path, ref: of the function.
        files: what is read.
        options: of the command, by their names.

    Raises:
        BadCall: it cannot work.
    """
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
    if given:
        from eisenmp.cli.spacetext import parse_range, parse_space

        text = options[given[0]]
        return "items", parse_range(text) if given[0] == "range_" else parse_space(text), None
    paths = files or (STDIN,)
    check_paths(paths)
    if STDIN in paths and sys.stdin is not None and sys.stdin.isatty() and options["progress"] is not False:
        say("reading lines from the terminal; Ctrl-D ends them")
    if not options["as_csv"]:
        lines = Lines(paths)
        # a job file keeps samples of the items, one by one
        source = lines if options["job"] is not None else SlabSource(lines)
        return ("json" if options["as_json"] else "text"), source, lines
    from eisenmp.cli.rows import Rows

    rows = Rows(paths)
    rows.open()
    return "csv", rows, rows


def _shows_progress(options: dict[str, Any]) -> bool:
    """On a terminal, unless the results may run over the same one: a pipe may lead there, too."""
    if options["progress"] is not None or sys.stderr is None:
        return bool(options["progress"])
    return sys.stderr.isatty() and (options["out"] is not None or stat.S_ISREG(os.fstat(STDOUT).st_mode))
