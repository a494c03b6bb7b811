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

    def mend(self) -> None:  # noqa: B027 - some need nothing
        """What users have to do after a death. Raises what has ended the job, if something has."""

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

    def mend(self) -> None:
        if self._emp.begin_proc_shutdown:
            self._emp.wait()
            raise RuntimeError("the job is over, and there are tasks that were not done")

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


class Mended(Library):
    """One that may break as a whole: its users then make a new one, and give it all that was not done."""

    def __init__(self, method: str = "", timeout: float | None = None) -> None:
        super().__init__(method, timeout)
        self._open: dict[int, Task] = {}
        self._pool = self._made()

    @abstractmethod
    def _made(self) -> Any: ...

    @abstractmethod
    def _is_broken(self) -> bool: ...

    @abstractmethod
    def _end(self) -> None:
        """End one that is broken."""

    @abstractmethod
    def _give(self, task: Task) -> Future[int]:
        """Have it done by the present one, which refuses if it is broken."""

    def submit(self, task: Task) -> None:
        self._open[task[1]] = task
        pool = self._pool
        try:
            future = self._give(task)
        except (BrokenProcessPool, RuntimeError):
            if self._is_broken():
                return  # it is given anew with all others
            raise
        future.add_done_callback(lambda done: self._done(pool, task, done))

    def _done(self, pool: Any, task: Task, future: Future[int]) -> None:
        if future.exception() is None:
            self.results.append(future.result())
            del self._open[task[1]]
        elif pool is self._pool and not self._is_broken():
            self.submit(task)

    def mend(self) -> None:
        if self._is_broken():
            self._end()
            self._pool = self._made()
            for task in list(self._open.values()):
                self.submit(task)


class Executor(Mended):
    """`concurrent.futures.ProcessPoolExecutor`. Each death breaks it."""

    _pool: ProcessPoolExecutor

    def _made(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(WORKERS, mp_context=self._context())

    def _is_broken(self) -> bool:
        return bool(self._pool._broken)

    def _end(self) -> None:
        self._pool.shutdown()

    def _give(self, task: Task) -> Future[int]:
        return self._pool.submit(posted, task)

    def pids(self) -> list[int]:
        return [] if self._is_broken() else list(self._pool._processes)

    def close(self) -> None:
        self._pool.shutdown()


class Pebble(Mended):
    """pebble's `ProcessPool`. It replaces workers, and reports the task of a dead one as failed: it is given anew.

    When none of its workers was at work, a death breaks it.
    """

    def _made(self) -> Any:
        from pebble import ProcessPool

        return ProcessPool(WORKERS, context=self._context())

    def _is_broken(self) -> bool:
        return not self._pool.active

    def _end(self) -> None:
        self._pool.stop()
        self._pool.join()

    def _give(self, task: Task) -> Future[int]:
        future: Future[int] = self._pool.schedule(posted, args=(task,), timeout=self.timeout)
        return future

    def pids(self) -> list[int]:
        return [] if self._is_broken() else list(self._pool._pool_manager.worker_manager.workers)

    def close(self) -> None:
        self._pool.close()
        self._pool.join()


LIBRARIES: Final[dict[str, type[Library]]] = {
    "eisenmp": Eisenmp,
    "Pool": Pool,
    "executor": Executor,
    "pebble": Pebble,
}
