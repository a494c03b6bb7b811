"""``eisenmp resume``: the program of a job file again, which goes on where it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from eisenmp.cli.exits import BadCall, say
from eisenmp.errors import JobFileError
from eisenmp.jobfile import JobReader, JobSummary
from eisenmp.jobfile.opening import WORDS

__all__ = ["command"]


@click.command("resume", short_help="Start the program of a job file again.", no_args_is_help=True)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--force", is_flag=True, help="Go on although the program or its items have changed.")
@click.option(
    "--trust", is_flag=True, help="The file was made by somebody else: start what it names, and open its pickles."
)
def command(file: str, force: bool, trust: bool) -> int:
    """Start the program that has made a job file again: same command line, same folder, same Python.

    It goes on where it was. Standard input and output are those of this command.

    \b
    Examples:
      eisenmp resume search.db
      cat words.txt | eisenmp resume scores.db > scores.txt
    """
    try:
        with JobReader(file) as reader:
            summary = reader.summary()
    except JobFileError as error:
        raise BadCall(str(error)) from error
    program = summary.program
    arguments = _arguments(file, summary, trust)
    words = ",".join(word for word, said in (("force", force), ("trust", trust)) if said)
    environment = {**os.environ, **({WORDS: f"{words}:{os.path.realpath(file)}"} if words else {})}
    try:
        os.chdir(program["cwd"])
    except OSError as error:
        raise BadCall(f"{file}: its program ran in {program['cwd']}: {error.strerror or error}") from error
    if summary.state == "complete":
        say("all of it is done: the program tells its results again")
    sys.stdout.flush()
    try:
        os.execve(program["executable"], arguments, environment)
    except OSError as error:
        raise BadCall(f"{file}: its Python was {program['executable']}: {error.strerror or error}") from error


def _arguments(file: str, summary: JobSummary, trust: bool) -> list[str]:
    """The command line.

    Raises:
        BadCall: it must not be started, or cannot be.
    """
    program: Mapping[str, Any] = summary.program
    if not (summary.own or trust):
        raise BadCall(
            f"{file} was made by another user or on another machine: it names a program to be started "
            f"({_shown(program)}). Say --trust if you know where it comes from"
        )
    if summary.owner is not None:
        raise BadCall(f"{file} is in use by {summary.owner}: its program runs")
    made = program.get("file", file)
    if os.path.realpath(made) != os.path.realpath(file) and not os.path.exists(made):
        raise BadCall(f"{file} was made as {made}, where its program looks for it: move it back, or start the program")
    arguments: Sequence[str] = program.get("argv") or ()
    if not program.get("executable") or _is_unnamed(arguments):
        raise BadCall(
            f"{file}: its program came from standard input, a prompt or a notebook ({_shown(program)}), and cannot be "
            "started from here: start it again as you did"
        )
    return [program["executable"], *arguments[1:]]


def _is_unnamed(arguments: Sequence[str]) -> bool:
    """Whether the program is in no file: nothing but options, or a notebook's kernel."""
    named = [text for text in arguments[1:] if not text.startswith("-") or text in ("-c", "-m")]
    return not named or any("ipykernel" in text or "ipython" in text for text in arguments)


def _shown(program: Mapping[str, Any]) -> str:
    return " ".join(program.get("argv") or ("nothing",))
