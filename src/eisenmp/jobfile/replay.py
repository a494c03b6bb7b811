"""A source that is fed again: past what is finished, and through what is not, with the borders it had before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eisenmp.errors import JobFileMismatch, PayloadError
from eisenmp.feeder import Feeder, Sink
from eisenmp.jobfile.borders import Stretch
from eisenmp.jobfile.fingerprint import Witness, digest_of_chunk
from eisenmp.jobfile.journal import Journal, SourceBook
from eisenmp.payload import dumps
from eisenmp.sources import Source

__all__ = ["Replay"]

_STEP: Final = 1 << 16  # items that are read past between two looks at whether the job goes on


class Replay:
    """Of one source. See :class:`eisenmp.feeder.Past`.

    Args:
        book: what the file knows of it.
        journal: the file.
        queue: name of its queue.
        force: a difference is written down and borne.
        goes_on: tells whether the job still wants to be fed.
    """

    def __init__(
        self, book: SourceBook, journal: Journal, queue: str, force: bool, goes_on: Callable[[], bool]
    ) -> None:
        self._book = book
        self._journal = journal
        self._queue = queue
        self._force = force
        self._goes_on = goes_on
        self._witness: Witness
        self._sink: Sink
        self._feeder: Feeder
        self._source: Source

    def saw(self, rows: Any, position: int, size: int) -> None:
        self._witness.saw(rows, position, size)

    def replay(self, feeder: Feeder, source: Source, sink: Sink) -> bool:
        self._feeder, self._source, self._sink = feeder, source, sink
        feeder.number = self._book.number
        chunks = 0
        for stretch in self._book.stretches:
            if not self._again(stretch):
                return False
            chunks += stretch.tickets
        feeder.serial = None
        self._witness = Witness(chunks, lambda *sample: self._journal.sample(self._book.number, *sample))
        return True

    def _again(self, stretch: Stretch) -> bool:
        """One stretch. False: feed no more."""
        if stretch.check:
            self._look(self._read(stretch.first, stretch.position, stretch.rows), stretch.first, stretch.position)
            self._went(stretch.rows)
            return True
        if stretch.finished:
            return self._skip(stretch)
        return all(
            self._ship(stretch.first + at, stretch.position + at * stretch.rows, stretch.rows)
            for at in range(stretch.tickets)
        )

    def _skip(self, stretch: Stretch) -> bool:
        position, left = stretch.position, stretch.items
        while left:
            if not self._goes_on():
                return False
            step = left if self._source.jumps else min(left, _STEP)
            went = self._source.skip(position, step)
            self._went(went)
            if went < step:
                self._too_short(stretch.first + (position + went - stretch.position) // stretch.rows, position + went)
                return True
            position += step
            left -= step
        return True

    def _went(self, items: int) -> None:
        self._feeder.made += items
        self._feeder.placed += items

    def _read(self, ticket: int, position: int, items: int) -> Any:
        """Exactly the items of one ticket, or what there is of them where that is borne."""
        self._source.read(items)
        rows = self._source.rest()
        if len(rows) < items:
            self._too_short(ticket, position + len(rows))
        return rows

    def _ship(self, ticket: int, position: int, items: int) -> bool:
        """Run a ticket again. False: feed no more."""
        self._feeder.serial = ticket
        if not self._sink.wait_for_room(self._feeder):
            return False
        rows = self._read(ticket, position, items)
        if not len(rows):
            return True
        self._look(rows, ticket, position)
        self._went(items)
        try:
            payload = dumps(rows)
        except PayloadError as error:
            return self._sink.add_spoiled(self._feeder, len(rows), error, ticket)
        return self._sink.add_again(self._feeder, ticket, len(rows), payload)

    # ---- is it the same?

    def _look(self, rows: Any, ticket: int, position: int) -> None:
        kept = self._book.samples.get(position)
        if kept is None:
            return
        now = digest_of_chunk(rows)
        if kept == (len(rows), now):
            return
        self._differs(
            ticket,
            f"its items (from number {position} on) are not those with which the job file was made: {rows[0]!r:.60}",
        )
        self._journal.sample(self._book.number, position, len(rows), now)

    def _too_short(self, ticket: int, position: int) -> None:
        self._differs(ticket, f"the source ends after {position} items, which are fewer than the job file has of it")

    def _differs(self, ticket: int, text: str) -> None:
        where = f"ticket _TID_{ticket} of queue {self._queue!r}: {text}"
        if not self._force:
            raise JobFileMismatch(
                f"the job file {self._journal.path} does not fit the source that is fed: {where}. Give the source as "
                "it was, or another file; JOB_FORCE (--force) goes on all the same"
            )
        self._journal.forced(where)
