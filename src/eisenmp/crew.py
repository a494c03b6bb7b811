"""The crew: the processes in the worker slots. Starts, replaces and ends them as the supervisor decides."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from eisenmp.credit import History
from eisenmp.engines.base import Engine, ProcessHandle
from eisenmp.listeners import Wanted
from eisenmp.measure import Hours
from eisenmp.payload import Payload
from eisenmp.queues import Message
from eisenmp.supervisor import EndJob, Phase, Restart, Supervisor, TakeBack
from eisenmp.wire import Buffer, Frame

__all__ = ["Crew", "Worker", "peak_bytes"]


class Worker:
    """A worker process, from its start to its exit."""

    answered: int = 0
    call_failures: int = 0
    done_enough: bool = False  # it has reached a limit
    retiring: bool = False  # it was told to leave, so that a fresh process can take its place
    leaving: bool = False  # it is to make room for another process, or for nobody; see leaving.py
    at_ease: bool = False  # it is leaving, when it has finished what it holds, however long that takes
    lead: int | None = None  # queue of the first chunk that it got: with one of those a round of its work begins
    ending: bool = False  # it was told so: its requests are answered with the end of the stream
    healthy: bool = False  # it has passed HEALTH_CHECK, once
    measured: float = 0.0  # when its memory was looked at last
    told_end: bool = False  # of a stream, once at least
    watched: bool = False  # a timer looks at it when its oldest chunk is due (CHUNK_TIMEOUT)
    trouble: str = ""  # why we have killed it

    def __init__(self, number: int, slot: int, name: str) -> None:
        self.number = number
        self.slot = slot
        self.name = name
        self.histories: dict[int, History] = {}
        self.results: dict[tuple[int, int], Payload] = {}  # held until the ticket is answered
        self.forwards: dict[tuple[int, int], list[tuple[int, Payload]]] = {}
        self.closing: list[tuple[int, Payload]] = []
        self.far: dict[int, tuple[Frame, Message]] = {}  # by request: its answer, still on the way
        self.listens: set[Wanted] = set()  # addresses that it has asked for


class Crew:
    """Processes by slot and by worker number.

    Args:
        engine: starts and ends them.
        supervisor: decides.
        setup: gives the messages that a new worker of a slot gets first; called for each start.
        began: the time when the job did.
    """

    def __init__(
        self,
        engine: Engine,
        supervisor: Supervisor,
        setup: Callable[[int, str], list[list[Buffer]]],
        began: float = 0.0,
    ) -> None:
        self.engine = engine
        self.supervisor = supervisor
        self._setup = setup
        self._began = began
        self.workers: dict[int, Worker] = {}
        self.handles: dict[int, ProcessHandle] = {}  # by slot, the present or the last one
        self.to_start: deque[int] = deque(slot.number for slot in supervisor.slots)
        self.hours = [Hours() for _ in supervisor.slots]  # by slot

    def start_waiting(self) -> list[tuple[int, OSError]]:
        """Start what is due, on this thread, which lives as long as the workers.

        Returns:
            The slots for which the system gave no process, and why.
        """
        refused: list[tuple[int, OSError]] = []
        while self.to_start:
            slot = self.to_start.popleft()
            if self.supervisor.slots[slot].phase == Phase.WAITING:
                try:
                    self._start(slot)
                except OSError as error:
                    refused.append((slot, error))
        return refused

    def _start(self, slot: int) -> None:
        number = self.supervisor.started(slot)
        worker = Worker(number, slot, f"Process-{slot + 1}")
        messages = self._setup(slot, worker.name)
        self.handles[slot] = self.engine.start(number, worker.name, messages[0])
        self.workers[number] = worker
        for message in messages[1:]:
            self.engine.send(number, message)

    def forgo_unplaced(self, *, stopping: bool) -> None:
        """Workers that still wait for a place keep nobody waiting when the others have returned."""
        slots = self.supervisor.slots
        if any(s.phase not in (Phase.STARTING, Phase.RETURNED, Phase.GONE) for s in slots):  # mostly, the first one
            return
        unplaced = [s for s in slots if s.phase == Phase.STARTING and self.handles[s.number].awaits]
        if not unplaced:
            return
        ended = [s for s in slots if s.phase in (Phase.RETURNED, Phase.GONE)]
        if len(unplaced) + len(ended) == len(slots) and (stopping or any(s.phase == Phase.RETURNED for s in ended)):
            for slot in unplaced:
                self.supervisor.returned(slot.number)
                self.engine.kill(slot.worker)

    def gone(
        self, worker: Worker, text: str, now: float, *, needed: bool, blamed: bool
    ) -> Restart | EndJob | TakeBack | None:
        """The process has ended: forget it and ask the supervisor what to do."""
        del self.workers[worker.number]
        return self.supervisor.down(worker.slot, text, now, needed=needed, blamed=blamed)

    def retired(self, worker: Worker, now: float, *, needed: bool) -> Restart | None:
        """The process has left by agreement. `needed`: there is work left."""
        del self.workers[worker.number]
        return None if self.supervisor.stopping else self.supervisor.retire(worker.slot, now, needed=needed)

    def resize(self, size: int, now: float) -> list[Worker]:
        """From now on there are `size` workers: start more, or return those that are to leave, highest slot first."""
        start, leave = self.supervisor.resize(size)
        while len(self.hours) < len(self.supervisor.slots):
            self.hours.append(Hours())
            self.hours[-1].dismiss(self._began)
        for slot in start:
            self.hours[slot].want(now)
        for place in self.supervisor.slots[size:]:
            if place.phase == Phase.GONE:
                self.hours[place.number].dismiss(now)
        self.to_start.extend(start)
        numbers = [self.supervisor.slots[slot].worker for slot in leave]
        return [self.workers[number] for number in numbers if number in self.workers]  # else it was just refused

    def note_memory(self, worker: Worker | None = None) -> None:
        """Look how much memory the worker has had, or each of them, before it goes."""
        for one in self.workers.values() if worker is None else (worker,):
            pid = self.handles[one.slot].known_pid
            if pid is not None and pid != os.getpid():  # a thread of ours has no memory of its own
                peak = peak_bytes(pid)
                self.hours[one.slot].memory = peak if peak is not None else self.hours[one.slot].memory

    def broadcast(self, message: list[Buffer]) -> None:
        """Send one message to every worker."""
        for number in list(self.workers):
            self.engine.send(number, message)

    def start_no_more(self) -> None:
        """No process is started from now on."""
        self.supervisor.stop()
        self.to_start.clear()
        for slot in self.supervisor.slots:
            if slot.phase == Phase.WAITING:
                slot.phase = Phase.GONE

    def kill_all(self) -> None:
        """End every process now; none is started again."""
        self.note_memory()
        self.start_no_more()
        for number in list(self.workers):
            self.engine.kill(number)


def peak_bytes(pid: int) -> int | None:
    """The most memory that a living process has had resident, from ``/proc``; None elsewhere, or when it is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None
