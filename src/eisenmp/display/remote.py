"""The board of a job that runs in another process, from the states that it sends (live/state.py). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eisenmp.display.board import Board, QueueRow, StreamRow, WorkerRow
from eisenmp.display.progress import percent
from eisenmp.display.words import age, amount, clock, counted, one_line, pace

__all__ = ["board_of", "failure_line", "summary"]


def board_of(state: Mapping[str, Any], failure: Mapping[str, Any] | None = None) -> Board:
    """What is shown of a state.

    Args:
        state: as it was sent.
        failure: the newest of those that were sent so far.

    Raises:
        KeyError, TypeError: it is no such state.
    """
    chunks = state["chunks"]
    return Board(
        seconds=state["seconds"],
        whole=None if state["all"] is None else _stream(state["all"]),
        streams=tuple(map(_stream, state["streams"])),
        workers=tuple(map(_worker, state["workers"])),
        queues=tuple(QueueRow(q["name"], q["fill"], q["bound"], q["full"]) for q in state["queues"]),
        up=state["up"],
        slots=state["slots"],
        restarts=state["restarts"],
        failed=chunks["failed"],
        partly_failed=chunks["partly_failed"],
        set_aside=chunks["set_aside"],
        failure="" if failure is None else failure_line(failure),
    )


def _stream(row: Mapping[str, Any]) -> StreamRow:
    return StreamRow(
        row["name"], row["done"], row["total"], row["rate"], row["left"], made=row["made"], feeders=row["feeders"]
    )


def _worker(row: Mapping[str, Any]) -> WorkerRow:
    return WorkerRow(
        slot=row["slot"],
        name=row["name"],
        state=row["state"],
        ticket=row["ticket"],
        age=row["age"],
        rate=row["rate"],
        cpu=row["cpu"],
        memory=row["memory"],
        restarts=row["restarts"],
    )


def failure_line(failure: Mapping[str, Any]) -> str:
    """A failure on one line."""
    ticket = "" if failure["ticket"] is None else f"{failure['queue']}_TID_{failure['ticket']}"
    return ": ".join(filter(None, (ticket, one_line(failure["text"]))))


def summary(board: Board, *, over: bool) -> str:
    """How the job stands, on one line; when it is over, how it went."""
    row = board.whole or _together(board)
    parts = ["eisenmp"]
    if row.total:
        parts.append(f"{percent(row.done, row.total):3d} %  {amount(row.done)}/{amount(row.total)} items")
    else:
        parts.append(f"{amount(row.done)} items" + ("" if over else " of an unknown number"))
    rate = row.rate
    if over:
        rate = row.done / board.seconds if board.seconds > 0 else 0.0
    parts.append(pace(rate))
    if over:
        parts.append(f"took {age(board.seconds)}")
    else:
        parts += [] if row.left is None else [f"{clock(row.left)} left"]
        parts.append(f"workers {board.up}/{board.slots}")
    told = (
        (board.failed, "chunk failed"),
        (board.partly_failed, "chunk with failed items"),
        (board.set_aside, "chunk set aside"),
        (board.restarts, "restart"),
    )
    return "  ".join([*parts, *[counted(count, what) for count, what in told if count]])


def _together(board: Board) -> StreamRow:
    """The one stream; of none, or of several that are not summed up, what they have done."""
    if len(board.streams) == 1:
        return board.streams[0]
    done, rate = (sum(row.done for row in board.streams), sum(row.rate for row in board.streams))
    return StreamRow("all", done, None, rate, None)
