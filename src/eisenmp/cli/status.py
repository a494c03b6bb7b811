"""``eisenmp status``: how the job of a file gets on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from eisenmp.cli.exits import FINE, BadCall
from eisenmp.display.words import age, amount, clock, counted, one_line, pace
from eisenmp.errors import JobFileError
from eisenmp.jobfile import FailureRow, QueueSummary
from eisenmp.jobfile.status import JobStatus, job_status

__all__ = ["command"]

_WIDTH: Final = 14  # of the words in front


@click.command("status", short_help="How the job of a job file gets on.", no_args_is_help=True)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def command(file: str, as_json: bool) -> int:
    """Tell how far a job is, how fast, and what has failed; also while it runs, from another terminal.

    Nothing in the file is opened as a pickle, whoever has made it.

    \b
    Examples:
      eisenmp status search.db
      watch eisenmp status search.db
    """
    try:
        status = job_status(file)
    except JobFileError as error:
        raise BadCall(str(error)) from error
    if as_json:
        click.echo(json.dumps(_plain(status), indent=2, ensure_ascii=False))
    else:
        for name, text in _lines(status, time.time()):
            click.echo(f"{name:<{_WIDTH}} {text}".rstrip())
    return FINE


def _plain(status: JobStatus) -> dict[str, Any]:
    plain = asdict(status)
    for queue, summary in zip(plain["queues"], status.queues, strict=True):
        queue["finished"] = summary.finished
    return plain


def _lines(status: JobStatus, now: float) -> Iterator[tuple[str, str]]:
    yield "job file", status.path + ("" if status.own else " (made by another user or on another machine)")
    yield "state", _state(status, now)
    yield "held by", _holder(status)
    yield "progress", _progress(status)
    yield "rate", _rate(status)
    if status.left is not None:
        yield "time left", clock(status.left) + ("" if status.state == "running" else ", once it is started again")
    several = len(status.queues) > 1
    for queue in status.queues:
        yield "queue", _queue(queue, several)
    for name, rows in (("failed", status.failed), ("set aside", status.set_aside)):
        count = sum(queue.failed if name == "failed" else queue.set_aside for queue in status.queues)
        if count > len(rows):
            yield name, f"{counted(count, 'ticket')}, the newest of them:"
        for row in rows:
            yield name, _failure(row, several)


def _state(status: JobStatus, now: float) -> str:
    text = status.state
    if status.answered:
        text += ", with an answer"
    if status.last_write is not None:
        text += f"; last written {age(now - status.last_write)} ago"
    return text + (f"; started {status.runs} times" if status.runs > 1 else "")


def _holder(status: JobStatus) -> str:
    if status.holder is None:
        return "nobody"
    if status.alive is None:
        return f"{status.holder}: another machine, so whether it lives cannot be told"
    return f"{status.holder}" + ("" if status.alive else ": it is gone, its lock counts for nothing")


def _progress(status: JobStatus) -> str:
    if status.total is None:
        return f"{counted(status.done, 'item')}; how many there are is not known"
    share = f" ({100 * status.done / status.total:.1f} %)" if status.total else ""
    return f"{amount(status.done)} of {counted(status.total, 'item')}{share}"


def _rate(status: JobStatus) -> str:
    if status.rate is None:
        return "nothing is done yet"
    recent = "" if status.recent is None else f"{pace(status.recent)} in the last minute, "
    return f"{recent}{pace(status.rate)} in all"


def _queue(queue: QueueSummary, several: bool) -> str:
    failed = "".join(
        f", {amount(count)} {what}"
        for count, what in ((queue.failed, "failed"), (queue.set_aside, "set aside"))
        if count
    )
    name = f"{queue.name}: " if several else ""
    return (
        f"{name}{amount(queue.finished)} of {counted(queue.cut, 'ticket')} cut so far{failed}; "
        f"restore point _TID_{queue.restore_point}"
    )


def _failure(row: FailureRow, several: bool) -> str:
    where = f"{row.queue} " if several else ""
    place = f", from item {amount(row.first_item + 1)} on" if row.first_item is not None else ""
    what = ": ".join(filter(None, (row.type, one_line(row.message or "", 200))))
    return f"{where}_TID_{row.ticket}{place}: {what}"
