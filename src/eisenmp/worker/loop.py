"""Calling the user's function: the classic loop and the plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eisenmp.errors import PayloadError, StopJob
from eisenmp.payload import dumps, dumps_error, loads
from eisenmp.wire import ANY_QUEUE, FOREVER, Buffer, Frame, Kind, encode
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.inbox import Inbox, Lease
from eisenmp.worker.proxies import answer_message
from eisenmp.worker.toolbox import Toolbox

__all__ = ["call_until_done", "run_plain", "wants_toolbox"]

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
            inbox.channel.send(*[_failed(lease, error) for lease in held] or [_failed(None, error)])
            loose = 0 if held else loose + 1
            if loose >= _CALL_FAILURES:
                return
            continue
        loose = 0
        answers = [answer_message(lease.queue, lease.serial, lease.seconds()) for lease in inbox.let_go_all()]
        if answers:
            inbox.channel.send(*answers)
        if not again:
            return


def _call(entry: Callable[[Toolbox], Any], toolbox: Toolbox) -> bool:
    try:
        return bool(entry(toolbox))
    except StopJob as stop:
        toolbox.stop_job(stop.value)  # may raise in its turn: an answer that cannot be pickled
        return False


def run_plain(inbox: Inbox, toolbox: Toolbox, entry: Callable[..., Any], *, per_item: bool) -> None:
    """Plain style: take a chunk of whichever queue is fed, call `entry` with it (or with each item), answer."""
    call = _bind(entry, toolbox)
    answers: list[list[Buffer]] = []
    while True:
        frame = inbox.take(ANY_QUEUE, FOREVER, *answers)
        if frame.kind == Kind.END:
            return
        answers = [_run_chunk(inbox, toolbox, frame, call, per_item=per_item)]
        del frame  # before the answer goes: shared memory that it lies in is told to be free along with it


def _run_chunk(
    inbox: Inbox, toolbox: Toolbox, frame: Frame, call: Callable[[Any], Any], *, per_item: bool
) -> list[Buffer]:
    """One chunk: the message that answers its ticket."""
    lease = inbox.hold(frame)
    try:
        rows = toolbox.NEXT_LIST = _unpack(frame)
        try:
            result = [call(item) for item in rows] if per_item else call(rows)
        except StopJob as stop:
            toolbox.stop_job(stop.value)  # may raise in its turn: an answer that cannot be pickled
            result = None
        value = dumps(result)
    except Disconnected:
        raise
    except BaseException as error:
        return _failed(lease, error)
    finally:
        inbox.let_go(frame.queue)
    return answer_message(frame.queue, frame.serial, lease.seconds(), value)


def _unpack(frame: Frame) -> list[Any]:
    try:
        rows: list[Any] = loads(frame.payload)
    except Exception as error:
        raise PayloadError(f"the items cannot be unpickled in the worker: {type(error).__name__}: {error}") from error
    return rows


def _failed(lease: Lease | None, error: BaseException) -> list[Buffer]:
    if lease is None:
        return encode(Kind.FAILED, dumps_error(error), queue=ANY_QUEUE)
    return encode(Kind.FAILED, dumps_error(error), queue=lease.queue, serial=lease.serial, number=lease.seconds())


def _bind(entry: Callable[..., Any], toolbox: Toolbox) -> Callable[[Any], Any]:
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
