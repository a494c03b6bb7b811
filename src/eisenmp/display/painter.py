"""The rows of a board as lines for a terminal, with colours: by rich. Only this module imports it, when there is a
terminal and something to draw.

rich brings the colours that a terminal has (``NO_COLOR``, ``TERM``), the widths of letters and the bar. Its ``Live`` is
not used: it would send what a program prints on standard output to standard error, and hide the cursor, which stays
hidden when the program is killed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.text import Text

from eisenmp.display.area import Line
from eisenmp.display.board import Board, Boards, Crowd, QueueRow, StreamRow, WorkerRow, fit
from eisenmp.display.progress import percent
from eisenmp.display.words import age, amount, clock, counted, pace, size
from eisenmp.events import Snapshot

__all__ = ["RichPainter"]

_GAP: Final = 2  # columns between two cells
_BAR: Final = (10, 40)  # columns of the bar, at least and at most
_STATES: Final = {
    "working": "green",
    "idle": "dim",
    "starting": "cyan",
    "waiting": "yellow",
    "leaving": "yellow",
    "returned": "dim",
    "gone": "dim",
}


@dataclass(slots=True)
class _Column:
    """Cells below each other. The one with the highest ``rank`` is left out first where there is no room."""

    title: str
    rank: int
    cells: list[Text]
    right: bool = True

    @property
    def width(self) -> int:
        return max(len(self.title), max((cell.cell_len for cell in self.cells), default=0))

    @property
    def empty(self) -> bool:
        return not any(self.cells)


class RichPainter:
    """Draws snapshots.

    Args:
        stream: the terminal; asked for its encoding only.
        boards: makes the rows.
    """

    def __init__(self, stream: TextIO | None, boards: Boards | None = None, **options: object) -> None:
        self._boards = boards or Boards()
        self._file = _Buffer(getattr(stream, "encoding", None))
        # in a notebook, too, it is to make lines and show nothing
        given: dict[str, Any] = {"force_terminal": True, "force_jupyter": False, **options}
        self.console = Console(file=self._file, **given)
        self._ascii = not self.console.encoding.lower().startswith("utf")

    def paint(self, snapshot: Snapshot, columns: int, lines: int) -> list[Line]:
        """Not wider and not more than that."""
        return self.paint_board(self._boards.make(snapshot), columns, lines)

    def paint_board(self, board: Board, columns: int, lines: int) -> list[Line]:
        """The same of a board that somebody else has made."""
        rows = self.rows(fit(board, lines), columns)[:lines]
        for row in rows:
            row.no_wrap = True
            row.rstrip()
            row.truncate(columns, overflow="crop" if self._ascii else "ellipsis")
        self.console.width = columns + 1
        self.console.print(Text("\n").join(rows), end="", crop=False, highlight=False, soft_wrap=True)
        texts = self._file.getvalue().split("\n")
        self._file.seek(0)
        self._file.truncate()
        return [Line(text, row.cell_len) for text, row in zip(texts, rows, strict=True)]

    def rows(self, board: Board, columns: int) -> list[Text]:
        """One text a line."""
        rows = [self._head(board)]
        rows += self._streams(board, columns)
        rows += _workers(board, columns)
        if board.queues:
            rows.append(_queues(board.queues))
        if board.failure:
            rows.append(Text.assemble(("last failure ", "red"), board.failure))
        return rows

    def _head(self, board: Board) -> Text:
        parts = [Text.assemble(("eisenmp ", "bold"), clock(board.seconds))]
        parts.append(Text(f"{board.up} of {board.slots} workers up"))
        told = (
            (board.restarts, "restart", "yellow"),
            (board.failed, "chunk failed", "red"),
            (board.partly_failed, "chunk with failed items", "red"),
            (board.set_aside, "chunk set aside", "red"),
        )
        parts += [Text(counted(count, what), style) for count, what, style in told if count]
        return Text("  ").join(parts)

    def _streams(self, board: Board, columns: int) -> list[Text]:
        streams = [*([board.whole] if board.whole is not None else []), *board.streams]
        table = [
            _Column("", 0, [Text(_named(row), "bold") for row in streams], right=False),
            _Column("", 1, [_share(row) for row in streams]),
            _Column("", 2, [_done(row) for row in streams]),
            _Column("", 4, [Text(pace(row.rate)) for row in streams]),
            _Column("", 3, [Text("" if row.left is None else f"{clock(row.left)} left") for row in streams]),
        ]
        table = _chosen([column for column in table if not column.empty], columns)
        bar = min(_BAR[1], columns - _width(table) - _GAP)
        if bar >= _BAR[0] and len(table) > 1:
            table.insert(1, _Column("", 9, [self._bar(row, bar, board.seconds) for row in streams]))
        rows = _laid_out(table, len(streams), titles=False)
        if board.more_streams:
            rows.append(Text(f"{board.more_streams} more", "dim"))
        return rows

    def _bar(self, row: StreamRow, width: int, seconds: float) -> Text:
        if row.feeders == 0 and row.total is None:
            return Text()
        bar = ProgressBar(total=row.total, completed=row.done, width=width, pulse=row.total is None)
        bar.animation_time = seconds
        options = self.console.options.update(width=width)
        pieces = list(self.console.render(bar, options))
        text = Text.assemble(*[(piece.text, piece.style or "") for piece in pieces])
        text.pad_right(width - text.cell_len)  # without colours, what is to come is not drawn
        return text


class _Buffer(io.StringIO):
    """Takes what rich writes, and says what the terminal can."""

    def __init__(self, encoding: str | None) -> None:
        super().__init__()
        self._encoding = encoding or "utf-8"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


# ---- streams


def _named(row: StreamRow) -> str:
    return f"{row.name} ({row.feeders} feeders)" if row.feeders > 1 else row.name


def _share(row: StreamRow) -> Text:
    return Text() if row.total is None else Text(f"{percent(row.done, row.total)} %")


def _done(row: StreamRow) -> Text:
    if row.total is not None:
        return Text(f"{amount(row.done)}/{amount(row.total)}")
    return Text(f"{amount(row.done)} of ?" if row.feeders else f"{amount(row.done)} rows")


# ---- workers


def _workers(board: Board, columns: int) -> list[Text]:
    workers, crowd = board.workers, board.crowd
    if not workers:
        return [_crowd_words(crowd)] if crowd is not None else []
    queue = _common_queue(workers)
    table = [
        _Column("worker", 0, [Text(row.name) for row in workers], right=False),
        _Column("state", 1, [Text(row.state, _STATES.get(row.state, "")) for row in workers], right=False),
        _Column("ticket", 3, [Text(row.ticket.removeprefix(queue)) for row in workers], right=False),
        _Column("age", 2, _cells(workers, lambda row: "" if row.age is None else age(row.age))),
        _Column("chunks", 6, _cells(workers, lambda row: pace(row.rate))),
        _Column("cpu", 4, _cells(workers, lambda row: "" if row.cpu is None else f"{row.cpu:.0f} %")),
        _Column("memory", 5, _cells(workers, lambda row: "" if row.memory is None else size(row.memory))),
        _Column("restarts", 7, [Text(str(row.restarts), "yellow") if row.restarts else Text() for row in workers]),
    ]
    table = [column for column in table if column.title in ("ticket", "age") or not column.empty]
    rows = _laid_out(_chosen(table, columns), len(workers), titles=True)
    return [*rows, _crowd_words(crowd)] if crowd is not None else rows


def _cells(workers: Iterable[WorkerRow], words: Callable[[WorkerRow], str]) -> list[Text]:
    return [Text(words(worker)) for worker in workers]


def _common_queue(workers: Sequence[WorkerRow]) -> str:
    """What all tickets begin with, if they are all of one queue: it need not be said on each line."""
    queues = {row.ticket.rpartition("_TID_")[0] for row in workers if row.ticket}
    return queues.pop() if len(queues) == 1 else ""


def _crowd_words(crowd: Crowd) -> Text:
    parts = [f"{crowd.size} more: " + ", ".join(f"{count} {state}" for count, state in crowd.states)]
    parts.append(pace(crowd.rate))
    if crowd.cpu is not None:
        parts.append(f"{crowd.cpu:.0f} %")
    if crowd.memory is not None:
        parts.append(size(crowd.memory))
    if crowd.restarts:
        parts.append(counted(crowd.restarts, "restart"))
    return Text("  ".join(parts), "dim")


# ---- queues


def _queues(queues: Sequence[QueueRow]) -> Text:
    parts = [Text("queues", "dim")]
    for queue in queues:
        fill = f"{amount(queue.fill)}/{amount(queue.bound)}" if queue.bound else amount(queue.fill)
        parts.append(Text.assemble(f"{queue.name} ", (fill, "yellow" if queue.full else "")))
    return Text("  ").join(parts)


# ---- columns


def _chosen(table: list[_Column], columns: int) -> list[_Column]:
    """Those that fit. The last one is cut off where even that is too wide."""
    table = list(table)
    while len(table) > 1 and _width(table) > columns:
        table.remove(max(table, key=lambda column: column.rank))
    return table


def _width(table: Sequence[_Column]) -> int:
    return sum(column.width for column in table) + _GAP * (len(table) - 1)


def _laid_out(table: Sequence[_Column], count: int, *, titles: bool) -> list[Text]:
    rows = []
    if titles:
        rows.append(_row([_padded(Text(column.title, "dim"), column) for column in table]))
    return rows + [_row([_padded(column.cells[at], column) for column in table]) for at in range(count)]


def _row(cells: Iterable[Text]) -> Text:
    return Text(" " * _GAP).join(cells)


def _padded(cell: Text, column: _Column) -> Text:
    space = column.width - cell.cell_len
    if column.right:
        cell.pad_left(space)
    else:
        cell.pad_right(space)
    return cell
