"""The short forms for asyncio: ``async for result in eisenmp.aimap(func, items)``.

The job is the same one (short.py). What would block is done elsewhere: starting it and seeing its processes gone in a
thread of their own, and waiting for results by a bell that the dispatcher rings. Nobody polls. An asynchronous iterable
is read by the running loop, as many items as the feeder asks for and no more.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from inspect import iscoroutinefunction
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from eisenmp.errors import SettingsError
from eisenmp.results import Record
from eisenmp.short import Course, OnError, Plan, source_from
from eisenmp.sources import Items, Source, size_of

if TYPE_CHECKING:
    from eisenmp.report import Report

__all__ = ["AsyncImap", "aimap", "aimap_chunks"]

R = TypeVar("R")

_BREATH: Final = 64  # items of an iterable that never waits, after which the loop may look after others


class _Bridge(Items):
    """An asynchronous iterable as a feeder's source: the feeder asks for items, the loop reads them.

    Made in the loop that shall read it.
    """

    def __init__(self, iterable: AsyncIterable[Any]) -> None:
        super().__init__(iter(()))
        self._loop = asyncio.get_running_loop()
        self._wanted: asyncio.Queue[int] = asyncio.Queue()
        self._come = threading.Event()
        self._over = False
        self._error: BaseException | None = None
        self._task = self._loop.create_task(self._pump(iterable), name="eisenmp-source")

    def read(self, count: int) -> None:
        self._come.clear()
        if not self._over:
            try:
                self._loop.call_soon_threadsafe(self._wanted.put_nowait, count)
            except RuntimeError:  # the loop is closed: that was all
                return
            self._come.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    async def _pump(self, iterable: AsyncIterable[Any]) -> None:
        """Read what is asked for, until the iterable ends, raises, or nobody wants more."""
        try:
            iterator = aiter(iterable)
            try:
                while await self._deliver(iterator, await self._wanted.get()):
                    self._come.set()
            finally:
                close = getattr(iterator, "aclose", None)
                if close is not None:
                    await close()
        except BaseException as error:
            ours = self._task.cancelling() > 0  # `stop`, or the end of the loop
            if not ours:
                self._error = error  # raised where the results are read
            if ours or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
        finally:
            self._over = True
            self._come.set()

    async def _deliver(self, iterator: AsyncIterator[Any], count: int) -> bool:
        """Read so many items. False: there are no more."""
        for number in range(1, count + 1):
            try:
                self._rows.append(await anext(iterator))
            except StopAsyncIteration:
                return False
            if not number % _BREATH:
                await asyncio.sleep(0)
        return True

    def stop(self) -> None:
        """Read no further. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            pass  # the loop is closed

    async def gone(self) -> None:
        """Wait until the iterable has cleaned up."""
        if self._loop is asyncio.get_running_loop() and self._task is not asyncio.current_task():
            await asyncio.wait({self._task})


class AsyncImap(AsyncIterator[R], Generic[R]):
    """Results as they come. Made by :func:`aimap` and :func:`aimap_chunks`.

    The job starts when the first result is asked for, or with ``async with``, whose end ends the job at once. So do
    dropping the iterator, and a cancellation while it waits for a result: as of an asynchronous generator, nothing
    more comes out of it then.

    Attributes:
        failures: what has failed so far, in the order in which it was met.
    """

    def __init__(self, plan: Plan, source: Source | AsyncIterable[Any], size: int | None) -> None:
        self._course: Course[R] = Course(plan)
        self.failures = self._course.failures
        self._start: tuple[Plan, Any, int | None] | None = (plan, source, size)
        self._launching: asyncio.Future[None] | None = None
        self._bridge: _Bridge | None = None
        self._values: Iterator[R] = iter(())
        self._record: Record | None = None  # that they came in
        self._asked = False  # somebody waits in __anext__
        self._over = False  # nothing comes any more

    def __aiter__(self) -> AsyncImap[R]:
        return self

    async def __anext__(self) -> R:
        __tracebackhide__ = True  # where a debugger or pytest shows the lines of the user's
        for value in self._values:
            return value
        if self._asked:
            raise RuntimeError("this iterator is waiting for a result already, in another task")
        self._asked = True
        try:
            return await self._next()
        except BaseException:  # the end, an error, or a cancellation
            self._abandon()
            raise
        finally:
            self._asked = False

    async def _next(self) -> R:
        __tracebackhide__ = True
        if not self._over:
            await self._begin()
        course = self._course
        while not self._over:
            if self._record is not None:
                course.reader.took(self._record)
                self._record = None
            record = await self._next_record()
            if record is None:
                break
            self._values, self._record = iter(course.open(record)), record
            for value in self._values:
                return value
        raise StopAsyncIteration

    async def _next_record(self) -> Record | None:
        """What comes next; None: nothing does. Raises what ended the job."""
        __tracebackhide__ = True
        course = self._course
        if course.error is not None:  # the values before it are read
            await self.aclose()
            raise course.error
        loop = asyncio.get_running_loop()
        try:
            record = course.reader.poll()
            while record is None:
                news = loop.create_future()
                record = course.reader.poll(partial(_call_in, loop, _settle, news, None))
                if record is None:
                    await news
                    record = course.reader.poll()
            return record
        except StopIteration:
            return None

    async def _begin(self) -> None:
        """Start the job, once."""
        if self._start is not None:
            (plan, source, size), self._start = self._start, None
            if not isinstance(source, Source):
                source = self._bridge = _Bridge(source)
            self._launching = _aside(partial(self._course.launch, plan, source, size))
        if self._launching is not None:
            await asyncio.shield(self._launching)

    def _abandon(self) -> None:
        """Nobody reads any more: end the job, and wait for nothing."""
        self._over = True
        self._start = None
        self._values = iter(())
        if self._bridge is not None:
            self._bridge.stop()
        self._course.abandon()

    def __del__(self) -> None:
        if self._bridge is not None:
            self._bridge.stop()

    def __repr__(self) -> str:
        return f"<eisenmp.AsyncImap: {self._course.emp.results.summary()}>"

    @property
    def answer(self) -> Any:
        """The value of the :class:`eisenmp.StopJob` that the function raised; None without one."""
        return self._course.emp.results.answer

    @property
    def dashboard_url(self) -> str | None:
        """Where the live page is, token included; None: there is none, or not yet."""
        return self._course.emp.dashboard_url

    def report(self) -> Report:
        """What the job has done with its time so far, or did in all, and what holds it up. ``print`` it.

        Raises:
            SettingsError: it has not started yet.
        """
        return self._course.emp.report()

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; see :meth:`eisenmp.Mp.resize`.

        Raises:
            SettingsError: no such number; or the job has not started yet.
        """
        self._course.emp.resize(workers)

    def stop(self) -> None:
        """Start no further chunk. What is running is finished, and its results still come."""
        if self._course.launched:
            self._course.emp.stop()
        else:
            self._abandon()

    async def aclose(self) -> None:
        """End the job now, whatever is still running, and see its processes gone."""
        self._abandon()
        if self._launching is not None:
            await asyncio.wait({self._launching})
        if self._course.launched:
            await asyncio.shield(_aside(self._course.close))
        if self._bridge is not None:
            await self._bridge.gone()

    async def __aenter__(self) -> AsyncImap[R]:
        try:
            await self._begin()
        except BaseException:
            self._abandon()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _aside(call: Callable[[], None]) -> asyncio.Future[None]:
    """Call it in a thread of its own, which ends with it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:
            error = raised
        _call_in(loop, _settle, future, error)

    threading.Thread(target=run, name="eisenmp-aside", daemon=True).start()
    return future


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return  # who waited was cancelled
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
    """Have the loop call it soon. From any thread."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        pass  # the loop is closed: nobody waits there


def aimap(  # noqa: PLR0913  # see imap
    func: Callable[[Any], R],
    iterable: Iterable[Any] | AsyncIterable[Any],
    *,
    max_workers: int | None = None,
    chunksize: int | Literal["auto"] = "auto",
    ordered: bool | int = True,
    buffersize: int | None = None,
    timeout: float | None = None,
    retries: int = 0,
    crash_retries: int = 2,
    on_error: OnError = "raise",
    initializer: Callable[..., Any] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
    start_method: str = "spawn",
    engine: str = "local",
    progress: bool | str | Callable[[Any], object] = False,
    total: int | None = None,
    dashboard: bool | int | str = False,
    job: str | os.PathLike[str] | None = None,
    store: str | None = None,
    force: bool = False,
    trust: bool = False,
) -> AsyncImap[R]:
    """:func:`eisenmp.imap` for ``async for``: the same arguments, and the event loop is never held up.

    Args:
        func: called in a worker with one item. A plain function: workers have no event loop.
        iterable: as for ``imap``, read by a thread of ours; or an asynchronous one, read by the running loop, as far as
            `buffersize` allows, and closed when the job ends. What it raises is raised where the results are read.

    Raises:
        SettingsError: an argument that does not fit.
        PayloadError: `func` cannot be pickled. Raised when the first result is asked for.
    """
    return _begin(func, iterable, locals(), per_item=True)


def aimap_chunks(  # noqa: PLR0913  # see imap
    func: Callable[[Any], R],
    iterable: Iterable[Any] | AsyncIterable[Any],
    *,
    max_workers: int | None = None,
    chunksize: int | Literal["auto"] = "auto",
    ordered: bool | int = True,
    buffersize: int | None = None,
    timeout: float | None = None,
    retries: int = 0,
    crash_retries: int = 2,
    on_error: OnError = "raise",
    initializer: Callable[..., Any] | None = None,
    initargs: Iterable[Any] = (),
    maxtasksperchild: int | None = None,
    start_method: str = "spawn",
    engine: str = "local",
    progress: bool | str | Callable[[Any], object] = False,
    total: int | None = None,
    dashboard: bool | int | str = False,
    job: str | os.PathLike[str] | None = None,
    store: str | None = None,
    force: bool = False,
    trust: bool = False,
) -> AsyncImap[R]:
    """:func:`eisenmp.imap_chunks` for ``async for``. All arguments as in :func:`aimap`."""
    return _begin(func, iterable, locals(), per_item=False)


def _begin(func: Callable[[Any], Any], iterable: Any, options: dict[str, Any], *, per_item: bool) -> AsyncImap[Any]:
    if iscoroutinefunction(func):
        raise SettingsError(
            f"func={func!r} is a coroutine function; allowed: a plain function, for workers have no event loop"
        )
    plan = Plan.made(func, options, per_item=per_item)
    source = iterable if hasattr(type(iterable), "__aiter__") else source_from(iterable)
    return AsyncImap(plan, source, size_of(iterable))
