"""What the dispatcher notes for whoever watches a job: answers, deaths, failures, the life of worker slots. Pure.

A job has a tap only while somebody watches. Each note is one tuple at the end of a bounded list, written under the
job's lock; whoever watches takes them all away now and then and makes sense of them in a thread of his own. Should he
fall asleep, the oldest are lost, and nothing else.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from eisenmp.results import Record

__all__ = ["Answer", "Death", "Failed", "Phased", "Tap"]

_ANSWERS: Final = 100_000
_PHASES: Final = 10_000
_FAILURES: Final = 200


class Answer(NamedTuple):
    """What became of one try of a chunk, or of a batch of them. Times are those of the job's clock."""

    slot: int
    queue: int  # its number
    serial: int  # of the first ticket
    tickets: int
    items: int
    sent: float
    begun: float
    end: float
    seconds: float  # of work, as the worker tells
    outcome: str  # 'done', 'failed', 'retried', 'died'


class Phased(NamedTuple):
    """A worker slot has come to another phase: 'start', 'up', 'down' (it will start again) or 'gone'."""

    slot: int
    at: float
    phase: str


class Failed(NamedTuple):
    """A ticket whose outcome is a failure, or partly so."""

    at: float
    slot: int  # -1: no worker had it
    aside: bool  # its workers died
    record: Record


class Death(NamedTuple):
    """A worker process has ended, and nobody had asked it to."""

    at: float
    slot: int
    queue: int | None  # of the ticket that it was at
    serial: int
    text: str  # how
    timed_out: bool


class Tap:
    """The notes since they were taken last."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque(maxlen=_ANSWERS)
        self.phases: deque[Phased] = deque(maxlen=_PHASES)
        self.failures: deque[Failed] = deque(maxlen=_FAILURES)
        self.deaths: deque[Death] = deque(maxlen=_FAILURES)
        self.failed = 0  # tickets since the job began, those that were not kept here included

    def take(self) -> Tap:
        """The notes so far, of which there are none from now on."""
        taken = Tap()
        taken.answers, self.answers = self.answers, taken.answers
        taken.phases, self.phases = self.phases, taken.phases
        taken.failures, self.failures = self.failures, taken.failures
        taken.deaths, self.deaths = self.deaths, taken.deaths
        taken.failed = self.failed
        return taken
