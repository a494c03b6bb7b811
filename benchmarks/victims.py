"""Libraries whose workers are killed: each with two workers, fed task by task, behind one small surface.

Where a library gives up a task, or all of itself, its users have to help themselves, and so they do here (`by hand`):
a task that came back as a failure is given anew, an executor that is broken is replaced.
"""

from __future__ import annotations

import logging
import multiprocessing
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import SimpleQueue
from typing import Any, Final

import eisenmp
from benchmarks.work import modules, posted

__all__ = ["LIBRARIES", "WORKERS", "Library", "Task"]

WORKERS: Final = 2

Task = tuple[str, int, float, bool]  # see work.posted


class Library(ABC):
    """Two workers that call `posted`.

    Args:
        method: how workers are started; empty: the library's own default.
        timeout: seconds that one task may take; None: for ever.

    Attributes:
        results: the numbers of the tasks that are done, in the order of their coming.
    """

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        self.method = method
        self.timeout = timeout
        self.results: list[int] = []

    @abstractmethod
    def submit(self, task: Task) -> None:
        """Have it done. Returns at once."""

    @abstractmethod
    def pids(self) -> list[int]:
        """The workers that the library believes to have. One that has died is missing as soon as that was noticed."""

    def tell_deaths(self, told: Callable[[], None]) -> bool:
        """Call `told` when the library itself reports a death. False: it reports none, look at `pids`."""
        return False

    def mend(self) -> None:  # noqa: B027 - most need nothing
        """What users have to do after a death."""

    def is_broken(self) -> bool:
        """Whether it has given up and takes no more tasks."""
        return False

    @abstractmethod
    def close(self) -> None:
        """End it in good order."""

    def _context(self) -> Any:
        return multiprocessing.get_context(self.method or None)


class Eisenmp(Library):
    """`eisenmp.Mp` in the plain style, with all settings at their defaults but a chunk of one item."""

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        super().__init__(method, timeout)
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._emp = eisenmp.Mp()
        reader = self._emp.results.outcomes()
        self._emp.start(
            worker_modules=modules("posted"),
            NUM_PROCS=WORKERS,
            NUM_ROWS=1,
            WORKER_CALL="item",
            START_METHOD=method or "spawn",
            CHUNK_TIMEOUT=timeout,
        )
        self._emp.feed(iter(self._tasks.get, None))
        self._reader = threading.Thread(target=self._read, args=(reader,))
        self._reader.start()

    def _read(self, reader: Any) -> None:
        for outcome in reader:
            self.results += outcome.value

    def submit(self, task: Task) -> None:
        self._tasks.put(task)

    def pids(self) -> list[int]:
        return [worker.pid for worker in self._emp.snapshot().workers if worker.pid]

    def tell_deaths(self, told: Callable[[], None]) -> bool:
        """It logs each death, after it has started the replacement."""

        class Listener(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if "it is replaced" in record.getMessage():
                    told()

        logger = logging.getLogger("eisenmp")
        logger.addHandler(Listener())
        logger.propagate = False
        return True

    def close(self) -> None:
        self._tasks.put(None)
        self._reader.join()
        self._emp.wait()
        self._emp.join()


class Pool(Library):
    """`multiprocessing.Pool`. It replaces workers, and forgets what they were at."""

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        super().__init__(method, timeout)
        self._pool = self._context().Pool(WORKERS)

    def submit(self, task: Task) -> None:
        self._pool.apply_async(posted, (task,), callback=self.results.append)

    def pids(self) -> list[int]:
        return [worker.pid for worker in list(self._pool._pool)]

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


class Executor(Library):
    """`concurrent.futures.ProcessPoolExecutor`. One death breaks it; what was not done is then given to a new one."""

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        super().__init__(method, timeout)
        self._open: dict[int, Task] = {}
        self._executor = self._made()

    def _made(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(WORKERS, mp_context=self._context())

    def submit(self, task: Task) -> None:
        self._open[task[1]] = task
        try:
            future = self._executor.submit(posted, task)
        except BrokenProcessPool:
            return  # it is given anew with all others
        future.add_done_callback(self._done)

    def _done(self, future: Future[int]) -> None:
        if future.exception() is None:
            self.results.append(future.result())
            del self._open[future.result()]

    def pids(self) -> list[int]:
        return [] if self._executor._broken else list(self._executor._processes)

    def mend(self) -> None:
        if self._executor._broken:
            self._executor.shutdown(wait=True)
            self._executor = self._made()
            for task in list(self._open.values()):
                self.submit(task)

    def close(self) -> None:
        self._executor.shutdown()


class Pebble(Library):
    """pebble's `ProcessPool`. It replaces workers, and reports the task of a dead one as failed: it is given anew."""

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        from pebble import ProcessPool

        super().__init__(method, timeout)
        self._pool = ProcessPool(WORKERS, context=self._context())

    def submit(self, task: Task) -> None:
        future = self._pool.schedule(posted, args=(task,), timeout=self.timeout)
        future.add_done_callback(lambda done: self._done(task, done))

    def _done(self, task: Task, future: Future[int]) -> None:
        if future.exception() is None:
            self.results.append(future.result())
        elif not self.is_broken():
            self.submit(task)

    def is_broken(self) -> bool:
        return not self._pool.active

    def pids(self) -> list[int]:
        return list(self._pool._pool_manager.worker_manager.workers)

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


LIBRARIES: Final[dict[str, type[Library]]] = {
    "eisenmp": Eisenmp,
    "Pool": Pool,
    "executor": Executor,
    "pebble": Pebble,
}
