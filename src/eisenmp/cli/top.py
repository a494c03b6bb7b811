"""``eisenmp top``: watch a job that runs in another process, and steer it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from typing import Any, NoReturn

import click

from eisenmp.address import address_of
from eisenmp.cli.exits import FINE, TERMINATED, BadCall, say
from eisenmp.cli.viewer import view
from eisenmp.control import Connection, ConnectionEnded, Found, RemoteView, find_jobs
from eisenmp.display.redirect import is_terminal
from eisenmp.display.words import clock
from eisenmp.errors import ProtocolError, SettingsError, nearest
from eisenmp.settings import check

__all__ = ["command"]


@click.command("top", short_help="Watch a job that runs elsewhere on this machine.")
@click.argument("job", metavar="[PID|NAME]", required=False)
@click.option("--list", "only_list", is_flag=True, help="Only tell which jobs there are.")
@click.option("--web", is_flag=True, help="Serve the live page for the job as well, until you leave.")
@click.option("--at", metavar="ADDRESS", help="Where: a port, or HOST:PORT; without it a free port of this machine.")
def command(job: str | None, only_list: bool, web: bool, at: str | None) -> int:
    """Show a job of yours that runs on this machine as its own terminal would, and steer it.

    PID is that of its program, NAME the file name of it. Without either it is the only job there is, or you choose.

    Keys: q leaves (the job goes on), s stops the job (it asks first), r restarts a worker slot, + and - change the
    number of workers, t tries failed chunks again. Without a terminal: a line every few seconds.

    A job can be watched from one second after its start on, unless it has CONTROL_SOCKET=False.

    Exit codes: 0 you have left, or the job is over; 1 its process has gone without a word; 2 there is no such job;
    130 Ctrl-C.

    \b
    Examples:
      eisenmp top
      eisenmp top manager.py
      eisenmp top --list
      eisenmp top --web
    """
    signal.signal(signal.SIGTERM, _leave)  # the terminal is to be as it was
    found = _jobs()
    if only_list:
        for row in _rows(found):
            click.echo(row)
        return FINE
    chosen = _chosen(found, job)
    try:
        connection = Connection(chosen.path)
    except (OSError, ProtocolError, ConnectionEnded) as error:
        raise BadCall(f"process {chosen.pid} does not answer: {error}") from error
    with closing(connection), _page(chosen, at) if web or at is not None else nullcontext():
        return view(connection)


@contextmanager
def _page(job: Found, at: str | None) -> Iterator[None]:
    """The live page of a job is served within this block."""
    from eisenmp.web import open_page

    where: Any = True if at is None else int(at) if at.isdecimal() else at
    shown = RemoteView(job.path)
    try:
        check("DASHBOARD", where, "--at")
        address = address_of(where)
        assert address is not None
        page = open_page(address, None, shown)
    except SettingsError as error:
        shown.close()
        raise BadCall(str(error).replace("DASHBOARD: ", "").replace("DASHBOARD needs", "--web needs")) from error
    say(f"the live page is at {page.url}")
    if not address.is_local:
        say("it is open to other machines, and nothing is encrypted; a tunnel (ssh -L) is safer")
    try:
        yield
    finally:
        page.close()
        shown.close()


def _leave(number: int, frame: Any) -> NoReturn:
    raise SystemExit(TERMINATED)


def _jobs() -> list[Found]:
    try:
        return list(find_jobs())
    except OSError as error:
        raise BadCall(f"jobs cannot be looked for: {error}") from error


def _chosen(found: Sequence[Found], job: str | None) -> Found:
    """The one job that is meant.

    Raises:
        BadCall: there is none; or several, and nobody to be asked.
    """
    if not found:
        raise BadCall("no job of yours runs here that could be watched (one that began within a second cannot yet)")
    if job is not None:
        meant = [one for one in found if job in (str(one.pid), one.name)]
        if not meant:
            names = [one.name or str(one.pid) for one in found]
            there_are = ", ".join(f"{one.name or '?'} ({one.pid})" for one in found)
            raise BadCall(f"no job {job!r}{nearest(job, names)}; there are: {there_are}")
        found = meant
    if len(found) == 1:
        return found[0]
    rows = _rows(found)
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        listed = "".join(f"\n  {row}" for row in rows)
        raise BadCall(f"there are several jobs; say which one by its PID:{listed}")
    for number, row in enumerate(rows, 1):
        click.echo(f"{number:3}  {row}")
    number = click.prompt("which one", type=click.IntRange(1, len(found)), default=len(found))
    return found[number - 1]


def _rows(found: Sequence[Found]) -> list[str]:
    """One line each."""
    rows = []
    for one in found:
        if one.job is None:
            rows.append(f"{one.pid:>7}  (does not answer)")
        else:
            age = clock(max(0.0, time.time() - float(one.job.get("started", time.time()))))
            rows.append(f"{one.pid:>7}  {one.name}  since {age}")
    return rows
