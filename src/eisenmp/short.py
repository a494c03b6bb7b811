"""The short forms: a function, an iterable, and nothing else. The same parts as ``Mp``, wired for one job."""

from __future__ import annotations

import _thread
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeVar

from eisenmp.errors import SettingsError
from eisenmp.functions import Function, check_function
from eisenmp.manager import Mp
from eisenmp.results import Form, Outcome, OutcomeReader, Record
from eisenmp.settings import Settings, check
from eisenmp.sources import Source, size_of, source_of

if TYPE_CHECKING:
    from eisenmp.failure import Failure
    from eisenmp.report import Report

__all__ = ["Course", "Imap", "Plan", "imap", "imap_chunks", "source_from"]

R = TypeVar("R")
OnError = Literal["raise", "skip", "yield"]

_NAMES: Final = {  # our settings and what they are called here
    "NUM_PROCS": "max_workers",
    "NUM_ROWS": "chunksize",
    "BUFFER_CHUNKS": "buffersize",
    "CHUNK_TIMEOUT": "timeout",
    "RETRIES": "retries",
    "MAX_CHUNKS_PER_WORKER": "maxtasksperchild",
    "CRASH_RETRIES": "crash_retries",
    "START_METHOD": "start_method",
    "ENGINE": "engine",
    "INFO_ENABLE": "progress",
    "INFO_THREAD_MAX": "total",
    "DASHBOARD": "dashboard",
    "JOB": "job",
    "JOB_STORE": "store",
    "JOB_FORCE": "force",
    "JOB_TRUST": "trust",
}


class Plan(NamedTuple):
    """What a short form was asked for, validated."""

    settings: Settings
    function: Function
    ordered: bool | int
    per_item: bool
    on_error: str

    @classmethod
    def made(cls, func: Callable[[Any], Any], options: Mapping[str, Any], *, per_item: bool) -> Plan:
        """From the arguments of a short form, by their names.

        Raises:
            SettingsError: one of them does not fit.
        """
        given = {setting: options[name] for setting, name in _NAMES.items()}
        for setting, value in given.items():
            check(setting, value, _NAMES[setting])
        on_error, ordered = options["on_error"], options["ordered"]
        if on_error not in ("raise", "skip", "yield"):
            raise SettingsError(f"on_error={on_error!r} does not fit; allowed: one of 'raise', 'skip', 'yield'")
        if not isinstance(ordered, int) or ordered < 0:
            raise SettingsError(f"ordered={ordered!r} does not fit; allowed: True, False, or a number of chunks")
        retries = given["RETRIES"] if per_item else None
        function = check_function(func, options["initializer"], options["initargs"], retries=retries)
        settings = Settings(WORKER_CALL="item" if per_item else "chunk", ON_ERROR="skip", **given)
        return cls(settings, function, ordered, per_item, on_error)


class Course(Generic[R]):
    """The job behind an iterator.

    It knows nothing of the :class:`Imap` that shows it, so that it ends with the last one who reads: no cycle of
    references keeps it until the garbage collector comes.

    Attributes:
        emp: the manager.
        failures: what has failed so far.
        launched: the job has been started.
        error: what is to be raised when all that was opened is read.
        reader: gives the results as they come.
    """

    def __init__(self, plan: Plan) -> None:
        self.emp = emp = Mp()
        emp.disown()
        self.failures: list[Failure] = []
        self.launched = False
        self._begun = False  # there is a job to be ended by whoever leaves
        self._left = False
        self._per_item = plan.per_item
        self._on_error = plan.on_error
        self.error: BaseException | None = None
        self._known = (0, 0)  # of the last failure: ticket, and items before it
        self.reader = emp.results.outcomes(ordered=plan.ordered)

    def __del__(self) -> None:
        self.abandon()

    def launch(self, plan: Plan, source: Source, size: int | None) -> None:
        """Start the job; if somebody has left meanwhile, it ends at once.

        Args:
            plan: the one that it was made with.
            source: of the items.
            size: how many there are, where that can be told.

        Raises:
            PayloadError: the function cannot be pickled.
        """
        total = plan.settings.INFO_THREAD_MAX or size or None
        self.emp.feed(source, total=total)  # type: ignore[arg-type]  # a source stays what it is
        self.emp.launch(plan.settings, [], {}, plan.function)
        self.launched = self._begun = True
        if self._left:
            self.abandon()

    def close(self) -> None:
        """End the job now, and see its processes gone."""
        if not self.emp.results.over:
            self.emp.kill()  # first: without a reader, the feeders would have room once more
        self.reader.close()
        self.emp.join()

    def abandon(self) -> None:
        """Nobody reads any more.

        The garbage collector may call this on any thread, whatever that is at: nothing is waited for, no lock taken.
        """
        self._left = True
        if not self._begun or self.emp.results.over:
            return
        self._begun = False
        try:
            _thread.start_new_thread(_kill, (self.emp, self.reader))
        except RuntimeError:  # the interpreter ends
            self.emp.kill()

    def messages(self) -> Iterator[list[Any]]:
        """The results of one message after the other."""
        __tracebackhide__ = True  # where a debugger or pytest shows the lines of the user's
        reader = self.reader
        try:
            while self.error is None:
                try:
                    record = reader.next_record()
                except StopIteration:
                    break
                yield self.open(record)
                reader.took(record)
            if self.error is not None:
                raise self.error
        except GeneratorExit:  # somebody has left his loop
            self.abandon()
            raise
        except KeyboardInterrupt as interrupt:
            self.emp.cut_off(interrupt)
            self.close()
            raise
        except BaseException:
            self.close()
            raise

    def open(self, record: Record) -> list[Any]:
        """The results in what the reader gave; look at `error` after the last of them."""
        if record.form == Form.LIST:  # results of several chunks, none of them failed
            entries = record.entries()
            return list(chain.from_iterable(entries)) if self._per_item and not record.rows else entries
        if record.value is None and not record.has_failures:
            return []  # the chunk that raised StopJob
        values: list[Any] = []
        for outcome in self.emp.results.outcomes_of(record):
            if outcome.parts:
                self._take_parts(values, outcome)
            elif outcome.failures and outcome.value is not None:
                self._sift(values, outcome)
            elif outcome.error is not None:
                self._fail_all(values, outcome, outcome.error)
            elif not self._per_item:
                values.append(outcome.value)
            else:
                values += outcome.value or ()
            if self.error is not None:
                break
        return values

    def _sift(self, values: list[Any], outcome: Outcome) -> None:
        """Results of items, some of which have failed."""
        failed = dict(outcome.failures)
        for at, value in enumerate(outcome.value):
            if at not in failed:
                values.append(value)
                continue
            self._fail(values, outcome, failed[at], at)
            if self.error is not None:
                break

    def _take_parts(self, values: list[Any], outcome: Outcome) -> None:
        """Results of the parts of a chunk over which workers died."""
        for part in outcome.parts:
            if part.error is None:
                values.append(part.value)
                continue
            self._fail(values, outcome, part.error, part.first)
            if self.error is not None:
                break

    def _fail_all(self, values: list[Any], outcome: Outcome, error: BaseException) -> None:
        """A chunk has failed, and so have all its items."""
        for at in range(outcome.items if self._per_item else 1):
            self._fail(values, outcome, error, at)
            if self.error is not None:
                break

    def _fail(self, values: list[Any], outcome: Outcome, error: BaseException, at: int) -> None:
        before = self.emp.results.first_item(outcome.queue, outcome.ticket, self._known)
        self._known = (outcome.ticket, before)
        from eisenmp.failure import Failure

        self.failures.append(Failure(before + at, error, outcome.ticket))
        if self._on_error == "yield":
            values.append(error)
        elif self._on_error == "raise":
            self.error = error


def _kill(emp: Mp, _reader: OutcomeReader) -> None:
    """End the job, and only then let go of its reader: see `Course.close`."""
    emp.kill()


class Imap(Iterator[R], Generic[R]):
    """Results as they come. Made by :func:`imap` and :func:`imap_chunks`.

    Also a context manager: leaving it ends the job at once. So does dropping it, and so does the end of the program.

    Attributes:
        failures: what has failed so far, in the order in which it was met.
    """

    def __init__(self, course: Course[R]) -> None:
        self.failures = course.failures
        self._course = course
        self._values: Iterator[R] = chain.from_iterable(course.messages())

    def __iter__(self) -> Iterator[R]:
        return self._values  # at the speed of C, from where `next` has come to

    def __next__(self) -> R:
        return next(self._values)

    def __repr__(self) -> str:
        return f"<eisenmp.Imap: {self._course.emp.results.summary()}>"

    @property
    def answer(self) -> Any:
        """The value of the :class:`eisenmp.StopJob` that the function raised; None without one."""
        return self._course.emp.results.answer

    @property
    def dashboard_url(self) -> str | None:
        """Where the live page is, token included; None: there is none."""
        return self._course.emp.dashboard_url

    def report(self) -> Report:
        """What the job has done with its time so far, or did in all, and what holds it up. ``print`` it."""
        return self._course.emp.report()

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; see :meth:`eisenmp.Mp.resize`."""
        self._course.emp.resize(workers)

    def stop(self) -> None:
        """Start no further chunk. What is running is finished, and its results still come."""
        self._course.emp.stop()

    def close(self) -> None:
        """End the job now, whatever is still running."""
        self._course.close()

    def __enter__(self) -> Imap[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, KeyboardInterrupt):  # in the body of the block
            self._course.emp.cut_off(value)
        self.close()


def imap(  # noqa: PLR0913  # keywords, each known from concurrent.futures, Pool or joblib
    func: Callable[[Any], R],
    iterable: Iterable[Any],
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
) -> Imap[R]:
    """An iterator over ``func(item)``, computed by worker processes.

    The iterable is read by a thread of ours, no further than `buffersize` allows; it may be endless.

    Args:
        func: called in a worker with one item. It may be a lambda, a closure, or a function of the main module or of a
            notebook; no main guard is needed.
        iterable: anything ``iter`` takes. Ranges, lists, arrays and search spaces are cut by slices.
        max_workers: processes; None: one per usable core.
        chunksize: items that travel together; ``'auto'``: some milliseconds of work.
        ordered: True: results in the order of the items; False: as they come; a number: in order, but a result waits
            for its elders only until it is followed by that many chunks.
        buffersize: chunks that are queued, running, or finished and not read, in all; None: 4 a worker, and more while
            chunks take less than a millisecond and are read as fast as they come.
        timeout: seconds that one chunk may run; its worker is then ended and replaced.
        retries: how often an item that raised is tried again at once.
        crash_retries: how often a chunk whose worker died is handed out again.
        on_error: what becomes of an item that raised: ``'raise'`` here; ``'skip'`` it, see `failures`; ``'yield'`` the
            exception in its place. The other items have their results in any case.
        initializer: called in each worker before its first chunk.
        initargs: its arguments.
        maxtasksperchild: chunks after which a worker is replaced by a fresh process; None: never.
        start_method: ``'spawn'``, ``'forkserver'``, ``'fork'``.
        engine: ``'local'``; ``'inline'``: threads of this process, for debugging; ``'ray'``: workers on a cluster.
        progress: True: show on standard error how the job stands; ``'line'``, ``'tqdm'``: in that way; a function is
            called with each :class:`eisenmp.events.Snapshot`.
        total: how many items to expect, for the progress.
        dashboard: True, a port or ``'host:port'``: serve the live page; it prints where. It needs ``eisenmp[web]``.
        job: path of a job file: the same call again yields the results so far, and goes on where the last one was.
        store: how the file keeps results: ``'pickle'``, ``'json'``, ``'arrow'``, or ``'none'``: only what is done.
        force: bear that the file was made with other items, or another function.
        trust: open the pickles of a file that somebody else has made.

    Raises:
        JobFileError: the job file cannot be used, or belongs to another job.
        SettingsError: an argument that does not fit; no process was started.
        PayloadError: `func` cannot be pickled.
    """
    return _begin(func, iterable, locals(), per_item=True)


def imap_chunks(  # noqa: PLR0913  # see imap
    func: Callable[[Any], R],
    iterable: Iterable[Any],
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
) -> Imap[R]:
    """An iterator over ``func(list_of_items)``. All arguments as in :func:`imap`, with the chunk in the item's place.

    Of an array, an Arrow table or a search space (:mod:`eisenmp.spaces`), `func` gets a slice of the same kind.
    """
    return _begin(func, iterable, locals(), per_item=False)


def source_from(iterable: Any) -> Source:
    """How to read the iterable of a short form.

    Raises:
        SettingsError: it cannot be iterated.
    """
    kind = type(iterable)
    try:
        if hasattr(kind, "__iter__") or hasattr(kind, "__getitem__"):
            return source_of(iterable)
    except TypeError:
        pass
    hint = "; call the generator function: f()" if callable(iterable) else ""
    raise SettingsError(f"iterable={iterable!r} cannot be iterated; allowed: a generator, a list, a range, …{hint}")


def _begin(
    func: Callable[[Any], Any], iterable: Iterable[Any], options: Mapping[str, Any], *, per_item: bool
) -> Imap[Any]:
    plan = Plan.made(func, options, per_item=per_item)
    source = source_from(iterable)
    course: Course[Any] = Course(plan)
    course.launch(plan, source, size_of(iterable))
    return Imap(course)
