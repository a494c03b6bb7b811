"""What `faults` has libraries go through: kills one by one, a storm of them, and starts that fail.

These functions run in a process of their own, which is ended with all that it has started. Workers tell by a FIFO when
a call begins (`work.post`), by the clock that all processes have in common, so nobody has to look into a library, but
for the list of workers that it believes to have.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import eisenmp
from benchmarks.machine import check, folder
from benchmarks.rounds import NoAnswer
from benchmarks.victims import LIBRARIES, WORKERS, Library
from benchmarks.work import post, square

__all__ = ["BAD_STARTS", "fail_to_start", "kills", "storm"]

PATIENCE: Final = 3.0  # seconds after which something counts as never
AHEAD: Final = 8  # tasks that are under way while workers are busy
SHORT: Final = 0.003  # CPU seconds of a task
TIMEOUT: Final = 0.3  # seconds that a task may take

STORM_SECONDS: Final = 0.005  # CPU seconds of each
STORM_EVERY: Final = 0.3  # seconds from kill to kill
STORM_PATIENCE: Final = 6.0  # seconds without a result

Times = dict[str, list[float]]


class Event(NamedTuple):
    """What somebody has told by the FIFO. ``fresh``: the first call of its process."""

    what: str
    number: int
    pid: int
    at: float
    fresh: bool


class Listener:
    """The FIFO at `path`, and who has called so far."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.mkfifo(path)
        self._fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # also for writing: it has never an end
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self.callers: set[int] = set()

    def hear(self, seconds: float) -> Event | None:
        """The next one; None: nothing comes within so many seconds."""
        if not self._lines and select.select([self._fifo], [], [], seconds)[0]:
            *lines, self._rest = (self._rest + os.read(self._fifo, 1 << 16)).split(b"\n")
            self._lines += lines
        if not self._lines:
            return None
        what, number, pid, at = self._lines.popleft().decode().split()
        fresh = what != "noticed" and int(pid) not in self.callers
        if fresh:
            self.callers.add(int(pid))
        return Event(what, int(number), int(pid), float(at), fresh)


class Ordeal:
    """A library at work, whose workers are killed one by one."""

    def __init__(self, library: Library, listener: Listener) -> None:
        self._library = library
        self._listener = listener
        self._reports = library.tell_deaths(lambda: post(listener.path, "noticed"))
        self._submitted = 0
        self._flows = False
        self.times: Times = {}
        self.never: set[str] = set()  # what does not happen in this library

    def busy(self, timeout: float | None = None) -> bool:
        """Kill a worker in the middle of a task, with others queued; or have the library do it, by a time-out.

        Returns:
            Whether the library goes on.
        """
        self._flow()
        number = self._submit(hold=True)
        held = self._await(lambda event: (event.what, event.number) == ("hold", number))
        if held is None:
            self.never |= {"noticed", "again", "replaced"}
            return False
        if timeout is None:
            self._pass(random.uniform(0.01, 0.03))
            begin = self._kill(held.pid)
        else:
            begin = held.at + timeout
        wanted: dict[str, Callable[[Event], bool]] = {
            "noticed": lambda event: event.what == "noticed",
            "again": lambda event: event.number == number and event.pid != held.pid and event.what == "begin",
            "replaced": lambda event: event.fresh,
        }
        # a worker that is kept from telling that it holds the task may be over its time-out sooner than this knows
        return self._measure(begin, held.pid, wanted, since=held.at)

    def idle(self) -> bool:
        """Kill a worker that waits. When that has been noticed there is work again, for its replacement too."""
        if not self.calm_down():
            self.never |= {"noticed", "replaced"}
            return False
        self._pass(random.uniform(0.03, 0.05))  # until everybody sleeps
        victim = self._library.pids()[len(self.times.get("noticed", ())) % WORKERS]
        begin = self._kill(victim)
        if not self._measure(begin, victim, {"noticed": lambda event: event.what == "noticed"}):
            return False
        self._flow()
        return self._measure(begin, victim, {"replaced": lambda event: event.fresh})

    def calm_down(self) -> bool:
        """Give no more tasks, and wait for those that are under way."""
        self._flows = False
        deadline = time.perf_counter() + PATIENCE
        while len(self._library.results) < self._submitted:
            self._pass(0.01)
            if time.perf_counter() > deadline:
                return False
        return True

    def end(self) -> None:
        """All results have to be there, once."""
        self._library.close()
        check(sorted(self._library.results), list(range(self._submitted)), "the results")

    def warm_up(self) -> None:
        """Until all workers have called."""
        self._flow()
        if self._await(lambda event: len(self._listener.callers) == WORKERS, 30.0) is None:
            raise TimeoutError("the workers did not come up")

    def _submit(self, *, hold: bool = False) -> int:
        number = self._submitted
        self._submitted += 1
        self._library.submit((self._listener.path, number, SHORT, hold))
        return number

    def _flow(self) -> None:
        """From now on there is always something to do: whenever a task begins, another one is given."""
        if not self._flows:
            self._flows = True
            for _ in range(AHEAD):
                self._submit()

    def _hear(self, seconds: float) -> Event | None:
        event = self._listener.hear(seconds)
        if event is not None and event.what == "begin" and self._flows:
            self._submit()
        return event

    def _pass(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self._hear(left)

    def _await(self, found: Callable[[Event], bool], seconds: float = PATIENCE) -> Event | None:
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            event = self._hear(left)
            if event is not None and found(event):
                return event
        return None

    def _kill(self, pid: int) -> float:
        """Returns the time. When the process has ended is kept as well, as far as the system tells such a thing.

        On a busy machine that takes its time, since even a process that is killed has to get a processor to end.
        """
        begin = 0.0

        def watch(handle: int) -> None:
            select.select([handle], [], [])
            self._keep("ended", time.perf_counter() - begin)
            os.close(handle)

        if hasattr(os, "pidfd_open"):
            threading.Thread(target=watch, args=(os.pidfd_open(pid),), daemon=True).start()
        begin = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        return begin

    def _measure(
        self,
        begin: float,
        victim: int,
        wanted: dict[str, Callable[[Event], bool]],
        since: float | None = None,
    ) -> bool:
        """Wait for all that is wanted, and keep the times. What did not happen once is not waited for again.

        `since`: so early the report and the next try may come; they count as without delay.
        """
        open_ = {name: found for name, found in wanted.items() if name not in self.never}
        watching = "noticed" in open_ and not self._reports
        while open_ and time.perf_counter() < begin + PATIENCE:
            event = self._hear(0.001 if watching else 0.1)
            if watching and victim not in self._library.pids():
                watching = False
                self._keep("noticed", time.perf_counter() - begin)
                del open_["noticed"]
                self._library.mend()
            if event is None:
                continue
            for name in [name for name, found in open_.items() if found(event)]:
                early = since if since is not None and name != "replaced" else begin
                if event.at < early:
                    continue  # a starved neighbour may be over the time-out as well, and be replaced meanwhile
                self._keep(name, max(0.0, event.at - begin))
                del open_[name]
        self.never |= set(open_)
        return not open_ or set(open_) == {"again"}  # without it, other tasks still go on

    def _keep(self, name: str, seconds: float) -> None:
        self.times.setdefault(name, []).append(seconds)


def kills(library: str, method: str, where: str, count: int) -> dict[str, Any]:
    """Kill so many workers of one job.

    Args:
        library: of `LIBRARIES`.
        method: how workers are started; empty: the library's own default.
        where: ``busy``, ``idle`` or ``timeout``: then the library itself kills them.
        count: how many.

    Returns:
        Seconds from the kill (from the end of the time-out) until it was ``noticed``, until its task began ``again``
        elsewhere, and until the first call in the process that ``replaced`` it. Words, for what does not happen. And
        until the killed process had ``ended``, which is the system's own part of all that.
    """
    timeout = TIMEOUT if where == "timeout" else None
    with folder() as path:
        victim = LIBRARIES[library](method, timeout)
        ordeal = Ordeal(victim, Listener(os.path.join(path, "fifo")))
        ordeal.warm_up()
        steps: dict[str, Callable[[], bool]] = {
            "busy": ordeal.busy,
            "idle": ordeal.idle,
            "timeout": lambda: ordeal.busy(timeout),
        }
        goes_on = all(steps[where]() for _ in range(count))
        if goes_on and not ordeal.never:
            ordeal.end()
        else:
            victim.mend()  # should its job have ended with an error, that is what has to be told
    told: dict[str, Any] = dict(ordeal.times)
    return told | dict.fromkeys(ordeal.never, "hangs")


def storm(library: str, method: str, disturbed: bool, tasks: int) -> float:
    """Seconds of a job of so many tasks; `disturbed`: whose workers are killed in turn, one every 300 ms."""
    with folder() as path:
        victim = LIBRARIES[library](method)
        ordeal = Ordeal(victim, Listener(os.path.join(path, "fifo")))
        ordeal.warm_up()
        ordeal.calm_down()
        first = len(victim.results)
        begin = time.perf_counter()
        for number in range(first, first + tasks):
            victim.submit(("", number, STORM_SECONDS, False))
        kill_at, turn = begin + STORM_EVERY, 0
        last, last_at = first, begin
        while (done := len(victim.results)) < first + tasks:
            time.sleep(0.002)
            now = time.perf_counter()
            if done > last:
                last, last_at = done, now
            if disturbed and now >= kill_at:
                _kill_one(victim.pids(), turn)
                kill_at, turn = kill_at + STORM_EVERY, turn + 1
            victim.mend()
            if now > last_at + STORM_PATIENCE:
                raise NoAnswer("hangs")
        seconds = time.perf_counter() - begin
        victim.close()
        check(sorted(victim.results), list(range(first + tasks)), "the results")
        if disturbed and not turn:
            raise AssertionError("nobody was killed")
        return seconds


def _kill_one(pids: list[int], turn: int) -> None:
    if pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[turn % len(pids)], signal.SIGKILL)


# ---- starts that fail

BAD_STARTS: Final = {
    "no such file": None,
    "no such function": "def another(rows):\n    return rows\n",
    "a syntax error": "def entry(rows)\n    return rows\n",
    "an import that fails": "import there_is_no_such_module\n",
}


def fail_to_start(library: str, method: str, what: str) -> float:
    """Seconds until the user has the error. The pools get an initializer that raises: they load no modules."""
    with folder() as path:
        worker = Path(path, "worker.py")
        text = BAD_STARTS.get(what)
        if text is not None:
            worker.write_text(text, encoding="ascii")
        starts: dict[str, Callable[[], None]] = {
            "eisenmp": lambda: _start_module(method, worker) if what in BAD_STARTS else _start_imap(method),
            "Pool": _start_pool,
            "executor": _start_executor,
            "pebble": _start_pebble,
        }
        begin = time.perf_counter()
        try:
            starts[library]()
        except Exception as error:
            seconds = time.perf_counter() - begin
            told = f"{type(error).__name__}: {error}"
            if library == "eisenmp" and ("worker.py" if what in BAD_STARTS else "broken") not in told:
                raise
            return seconds
    raise AssertionError("there was no error")


def broken() -> None:
    """An initializer."""
    raise ValueError("this initializer is broken")


def _start_module(method: str, worker: Path) -> None:
    with eisenmp.Mp() as emp:
        emp.start(
            worker_modules=[{"WORKER_PATH": str(worker), "WORKER_REF": "entry"}],
            NUM_PROCS=WORKERS,
            WORKER_CALL="chunk",
            START_METHOD=method,
        )
        emp.feed(range(1000))
        emp.wait()


def _start_imap(method: str) -> None:
    list(eisenmp.imap(square, range(1000), max_workers=WORKERS, initializer=broken, start_method=method))


def _start_pool() -> None:
    multiprocessing.Pool(WORKERS, broken).map(square, range(1000))


def _start_executor() -> None:
    with ProcessPoolExecutor(WORKERS, initializer=broken) as executor:
        list(executor.map(square, range(1000)))


def _start_pebble() -> None:
    from pebble import ProcessPool

    with ProcessPool(WORKERS, initializer=broken) as pool:
        list(pool.map(square, range(1000)).result())
