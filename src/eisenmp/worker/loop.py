"""Calling the user's function: the classic loop and the plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eisenmp.errors import StopJob
from eisenmp.wire import ANY_QUEUE, FOREVER, PART, Buffer, Frame, Kind
from eisenmp.worker.batch import Run, Work, failed_message, opened_message
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.inbox import Inbox, Lease
from eisenmp.worker.toolbox import Toolbox

__all__ = ["bind", "call_until_done", "run_plain", "wants_toolbox"]

_CALL_FAILURES: Final = 3  # calls in a row that fail without holding a ticket; then the worker gives up


def call_until_done(inbox: Inbox, toolbox: Toolbox, entry: Callable[[Toolbox], Any]) -> None:
    """Classic style: call `entry(toolbox)` until it returns something falsy.

    When a call ends, the tickets that its thread still holds are answered; when it raises, they fail and the worker
    lives on.
    """
    loose = 0
    while True:
        try:
            again = _call(entry, toolbox)
        except Disconnected:
            raise
        except BaseException as error:
            held = inbox.let_go_all()
            inbox.channel.send(*[_failed(lease, error) for lease in held] or [failed_message(error)])
            loose = 0 if held else loose + 1
            if loose >= _CALL_FAILURES:
                return
            continue
        loose = 0
        leases = inbox.let_go_all()
        for lease in leases:
            lease.at_return = not again
            inbox.answers.note(lease)
        if not again or any(lease.batch is None for lease in leases):
            inbox.channel.send()
        elif leases:
            inbox.stock.noted()
        if not again:
            return


def _call(entry: Callable[[Toolbox], Any], toolbox: Toolbox) -> bool:
    try:
        return bool(entry(toolbox))
    except StopJob as stop:
        toolbox.stop_job(stop.value)  # may raise in its turn: an answer that cannot be pickled
        return False


def run_plain(
    inbox: Inbox, toolbox: Toolbox, call: Callable[[Any], Any], *, per_item: bool, retries: int | None = None
) -> None:
    """Plain style: take a chunk of whichever queue is fed, call `call` with it (or with each item), answer.

    `retries`: how often an item that raised is tried again; it fails alone then. None: its chunk fails.
    """
    answers: list[list[Buffer]] = []
    work = Work(call, per_item, retries)
    while True:
        frame = inbox.take(ANY_QUEUE, FOREVER, *answers)
        if frame.kind == Kind.END:
            return
        answers = _run(inbox, toolbox, frame, work)
        del frame  # before the answer goes: shared memory that it lies in is told to be free along with it


def _run(inbox: Inbox, toolbox: Toolbox, frame: Frame, work: Work) -> list[list[Buffer]]:
    """One chunk or batch: the messages that answer its tickets."""

    def begins(rows: Any) -> None:
        toolbox.NEXT_LIST = rows
        if frame.flags & PART:
            inbox.channel.send(opened_message(frame, rows))

    run = Run(frame, work, begins=begins, stop_job=toolbox.stop_job)
    lease = inbox.hold(frame.queue, frame.serial)
    if frame.tickets > 1:
        lease.where = run.current
        inbox.stock.begin(run, frame.tickets)
    try:
        answers = run.work()
        inbox.worked_until = run.worked_until
        return answers
    finally:
        inbox.stock.at_work = None
        inbox.let_go(frame.queue)


def _failed(lease: Lease, error: BaseException) -> list[Buffer]:
    return failed_message(error, lease.queue, lease.serial, lease.seconds())


def bind(entry: Callable[..., Any], toolbox: Toolbox) -> Callable[[Any], Any]:
    """`entry` as a function of one argument."""
    if wants_toolbox(entry):
        return lambda rows: entry(rows, toolbox)
    return entry


def wants_toolbox(entry: Callable[..., Any]) -> bool:
    """Whether the toolbox is the second parameter: it is named so, or it has no default."""
    import inspect

    try:
        parameters = list(inspect.signature(entry).parameters.values())
    except (TypeError, ValueError):
        return False  # a builtin without a signature takes the chunk alone
    positional = [
        p for p in parameters if p.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) < 2:
        return False
    return positional[1].name == "toolbox" or positional[1].default is inspect.Parameter.empty
