"""``Mp``, the manager: the seed's API. It wires the parts together and decides nothing itself."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from eisenmp import affinity
from eisenmp.dispatcher import Dispatcher
from eisenmp.display import Display, print_results
from eisenmp.engines import fitted, make_engine
from eisenmp.engines.base import ProcessHandle
from eisenmp.equipment import share_message
from eisenmp.errors import JobKilled, JobOver, SettingsError
from eisenmp.events import Snapshot
from eisenmp.feeder import Feeder
from eisenmp.functions import Function
from eisenmp.intake import Intake
from eisenmp.job import Job
from eisenmp.leave import forget, shorten_traceback, watch_exit
from eisenmp.payload import dumps
from eisenmp.queues import NamedQueue
from eisenmp.restarts import await_wishes
from eisenmp.results import Results
from eisenmp.resume import take_up
from eisenmp.settings import ModuleSpec, Settings, check, overridden, split
from eisenmp.shelf import Shelf
from eisenmp.snapshot import take_snapshot
from eisenmp.sources import size_of, source_of
from eisenmp.utils.eisenmp_utils import Result
from eisenmp.watching import Watching
from eisenmp.wire import Kind, encode

if TYPE_CHECKING:
    from eisenmp.jobfile.archive import Archive
    from eisenmp.live import Live
    from eisenmp.report import Report

__all__ = ["Mp"]

_PATIENCE: Final = 2.0  # seconds that processes get to be gone after a Ctrl-C, before the user's thread goes on
_LAST_WORDS: Final = 0.1  # seconds that feeders get to leave their generators, when all else has ended


class Mp(Shelf):
    """Spreads a generator's items, or a set of servers, over worker processes.

    Making one starts no process and changes nothing outside it. One ``Mp`` runs one job: create queues, ``start``,
    feed, ``wait``. As a context manager it waits at the end of the block, or kills the job when the block raises.
    """

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None
        self._dispatcher: Dispatcher | None = None
        self._pending: list[Feeder] = []  # begun before start
        self._retrieved = False  # somebody was told the job's error
        self._owned = True  # the interpreter waits for the job
        self._display: Display | None = None
        self._watching = Watching(self, self._info)
        self._early_results = Results(self._exchange, on_read=lambda _: None)
        self._early_results.on_interrupt = self.cut_off
        self.kwargs_env: dict[str, Any] = {}  # 1.0's name for what start() was given
        self.mp_tools_q.on_put = self._put_tool
        self.mp_print_q.on_put = self._put_print

    def _queue_made(self, queue: NamedQueue) -> None:
        if self._job is not None:
            self._job.crew.broadcast(encode(Kind.QUEUE, dumps(queue.row)))

    # ---- the job

    def start(self, **settings: Any) -> None:
        """Validate the settings, start the workers and the feeders that wait for them.

        Settings are told from custom attributes by their names; the rest goes to the toolbox as it is.

        Raises:
            SettingsError: something does not fit; nothing was started.
            WorkerStartError: a worker module is not there.
        """
        known, modules, custom = split(settings)
        self.launch(known, modules, custom)
        self.kwargs_env = dict(settings)

    def launch(
        self,
        known: Settings,
        modules: list[ModuleSpec],
        custom: Mapping[str, Any],
        function: Function | None = None,
    ) -> None:
        """`start`, with settings that are validated already. `function`: instead of modules, see functions.py."""
        if self._job is not None:
            raise JobOver("this Mp has been started before; a new job needs a new eisenmp.Mp()")
        known, more = overridden(known, custom)
        custom = more if function is None else custom
        known = fitted(known)
        self._equipment.prepare(known, modules, custom, self._exchange.table, function)
        archive = self._open_file(known, modules, custom, function)
        self._display = Display(known.INFO_ENABLE)
        job = self._make_job(known, self._display, archive)
        if why := affinity.why_not(known.CPU_AFFINITY, engine=known.ENGINE):
            job.news(why)
        try:
            self._set_going(job, self._display, single=function is not None)
        except BaseException as error:  # Ctrl-C, say: nobody must wait for a job that is half begun
            self._give_up(job, error)
            raise

    def _open_file(
        self, known: Settings, modules: list[ModuleSpec], custom: Mapping[str, Any], function: Function | None
    ) -> Archive | None:
        """The job file, if one is wanted."""
        if known.JOB is None:
            return None
        from eisenmp.jobfile.opening import open_archive  # SQLite is not for those who do without

        return open_archive(known, modules, custom, function, self._exchange, self._early_results)

    def _set_going(self, job: Job, display: Display, *, single: bool) -> None:
        job.single = single
        job.on_ended = self._on_ended
        job.on_resize = self._tell_size
        self._watching.begin(job)
        self._dispatcher = Dispatcher(job, self._equipment.tools, self._on_over)
        Result.result_dict = {}
        watch_exit(self)
        if job.archive is not None:
            take_up(job, job.archive)
        self._dispatcher.start()
        display.start(self.snapshot)
        for feeder in self._pending:
            self._run_feeder(feeder)

    def _give_up(self, job: Job, error: BaseException) -> None:
        """The start has failed, wherever it was: the job is over, and no process is left."""
        job.lock.unstick()
        with job.lock:
            job.spoil(error)
        if self._dispatcher is None or self._dispatcher.cancel():
            job.close()
        else:
            self.cut_off(error)

    def _make_job(self, settings: Settings, display: Display, archive: Archive | None) -> Job:
        with self._lock:
            ledger = self._exchange.ledger
            ledger.retries, ledger.crash_retries = settings.RETRIES, settings.CRASH_RETRIES
            ledger.halves = settings.WORKER_CALL != "toolbox"
            ledger.forgives = settings.RESTARTS is not None and not ledger.halves
            results = self._early_results
            results.keeper = archive
            results.keep(all_values=settings.wants_values and not results.filed, last=settings.window_chunks)
            job = Job(
                engine=make_engine(settings),
                settings=settings,
                exchange=self._exchange,
                results=results,
                listener=display,
                setup=lambda slot, name: self._equipment.messages(slot, name, self._exchange.table),
                clock=time.monotonic,
            )
            job.archive = archive
            results.on_read = job.read
            for common in self._equipment.common():
                job.engine.equip(*common)
            self._job = job
            return job

    def run_q_feeder(
        self, generator: Iterable[Any] | None = None, input_q: Any = None, total: int | None = None
    ) -> None:
        """Feed an iterable into a queue, chunk by chunk, in a thread of its own. See :meth:`feed`."""
        self.feed(generator, input_q, total)  # type: ignore[arg-type]  # None is refused there, with words

    def feed(self, iterable: Iterable[Any], queue: Any = None, total: int | None = None) -> None:
        """Feed an iterable into a queue (default: ``mp_input_q``), any number of times, before or after ``start``.

        Args:
            iterable: anything ``iter`` takes; read no further than the window allows.
            queue: a queue, its name, or ``(category, name)``.
            total: how many items to expect, for the display; ``len()`` is asked where there is one.

        Raises:
            SettingsError: no iterable, or no queue of this manager.
            JobOver: the job has ended.
        """
        if total is not None:
            check("INFO_THREAD_MAX", total)
        handle = self._target(queue)
        try:
            source = source_of(iterable)
        except TypeError:
            hint = "; call the generator function: generator=f()" if callable(iterable) else ""
            raise SettingsError(f"generator={iterable!r} cannot be iterated{hint}") from None
        if total is None:
            total = size_of(iterable)
        feeder = Feeder(source, handle.number, total)
        with self._lock:
            too_late = self._exchange.feeding_over
            if not too_late:
                self._exchange.feeder_begins(self._exchange.table[handle.number])
                if self._job is None:
                    self._pending.append(feeder)
                    return
        if too_late:
            if self._started().error is not None:
                self.wait()  # raises it: why the job is over says more than that it is
            raise JobOver(f"queue {handle.name!r} cannot be fed: the job is over; feed before its workers return")
        self._run_feeder(feeder)

    def _run_feeder(self, feeder: Feeder) -> None:
        job = self._started()
        job.feeders.append(feeder)
        settings = job.settings
        if job.archive is not None:
            with job.lock:
                job.archive.enter_feeder(feeder)
        intake = Intake(job)
        try:
            feeder.start(
                intake,
                job.table[feeder.queue].name,
                rows=settings.rows,
                exact=settings.NUM_ROWS is not None,
                auto=settings.NUM_ROWS == "auto",
            )
        except Exception:  # the system gives no thread: nobody must wait for what it would have fed
            feeder.done = True
            intake.feeder_done(feeder, None)
            raise

    def share(self, name: str, obj: Any) -> None:
        """Make `obj` ``toolbox.<name>`` in every worker.

        It is pickled once. A large one is laid down once, in a file without a name that all processes map; what a
        worker writes to an array there is its own. With ``START_METHOD='forkserver'`` what is shared before the start
        is also unpickled once, and the workers are copies.

        What is shared after the start arrives ahead of all chunks that are handed out from then on.

        Raises:
            SettingsError: the name is taken, or is no name.
            PayloadError: the object cannot be pickled.
        """
        with self._lock:
            self._equipment.refuse_share(name, self._exchange.table)
        parcel = self._equipment.pack(obj)  # without the lock: it may take its time
        with self._lock:
            common = self._equipment.share(name, parcel, self._exchange.table)
            if self._job is not None and not self._job.ended.is_set():
                self._job.engine.equip(*common)
                self._job.crew.broadcast(share_message(name, parcel.pieces()))

    def _put_tool(self, obj: Any) -> bool:
        payload = dumps(obj)
        with self._lock:
            if self._dispatcher is None:
                self._equipment.tools.append(encode(Kind.TOOL, payload))
            else:
                self._dispatcher.messages.tool(payload)
        return True

    def _put_print(self, obj: Any) -> bool:
        if self._job is None:
            print(obj, flush=True)
        else:
            self._job.listener.lines(str(obj), stderr=False)
        return True

    # ---- the end

    def wait(self, timeout: float | None = None) -> Results:
        """Wait until the job is over and return its results, or raise what stopped it.

        Ctrl-C here kills the job, and so does a signal handler that leaves the program (raises SystemExit); results so
        far are kept.

        Raises:
            TimeoutError: the job still runs after `timeout` seconds.
            JobKilled: ``kill`` ended it.
            Exception: what a worker's function or a generator raised, with the remote traceback as its cause.
        """
        __tracebackhide__ = True  # where a debugger or pytest shows the lines of the user's
        job = self._started()
        try:
            with self._lock:
                self.results.release(threading.get_ident())
                job.release_feeders()
            if not job.over.wait(timeout):
                raise TimeoutError(f"the job still runs after {timeout:g} s: {self.results.summary()}")
        except (KeyboardInterrupt, SystemExit) as stop:
            self.cut_off(stop)
            raise
        self._retrieved = True
        if job.error is not None:
            raise job.error
        if job.killed:
            raise JobKilled(f"the job was killed: {self.results.summary()}")
        return self.results

    def join(self, timeout: float | None = None) -> bool:
        """Wait until every process is gone as well. False: not within `timeout` seconds. Ctrl-C: see :meth:`wait`."""
        try:
            return self._started().ended.wait(timeout)
        except (KeyboardInterrupt, SystemExit) as stop:
            self.cut_off(stop)
            raise

    def stop(self) -> None:
        """End the feeding; what is leased is finished, what is only queued is left unread."""
        with self._lock:
            self._started().stop()

    def kill(self) -> None:
        """End every process now. Results so far are kept."""
        with self._lock:
            job = self._started()
            if not job.ended.is_set():
                job.kill()

    def terminate(self) -> None:
        """End the job in good order: feeding ends, SIGTERM goes to each worker, and ``GRACE`` seconds later a kill.

        Returns at once; :meth:`wait` and :meth:`join` wait for the end. Signal handlers may call it.
        """
        self._running().leaving.want_all()

    def restart(self, slot: int, timeout: float | None = None) -> None:
        """Put a fresh process in a worker slot, and wait until it is at work. See docs/servers.md for what that takes.

        Raises:
            SettingsError: no such slot.
            TimeoutError: it is not at work after `timeout` seconds; it will be, or the job ends.
            JobOver: the job has ended, or ends meanwhile.
        """
        restarts = self._running().restarts
        with self._lock:
            wish = restarts.want(slot)
        await_wishes(self._started(), [wish], timeout)

    def restart_all(self, timeout: float | None = None) -> None:
        """The same for all slots, one after the other: the next one when the last is at work. `timeout`: for all."""
        restarts = self._running().restarts
        with self._lock:
            wishes = restarts.want_all()
        await_wishes(self._started(), wishes, timeout)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on, while the job runs. Returns at once.

        More: they start at once. Fewer: those in the highest slots get no chunk any more, finish what they hold, and
        leave; servers end as in :meth:`restart`. ``toolbox.NUM_PROCS`` tells how many there are.

        Raises:
            SettingsError: no such number of workers; ``ENGINE='inline'``.
            JobOver: the job has ended, or is about to.
        """
        dispatcher = self._running()
        with self._lock:
            dispatcher.resizing.check(workers)
            dispatcher.resizing.resize(workers)

    def retry_set_aside(self, *, failed: bool = True, set_aside: bool = True) -> int:
        """Try chunks again that have failed or were set aside, as if for the first time; return how many.

        Only those whose outcome no reader of :meth:`Results.outcomes` has taken yet: a ticket has one outcome. They go
        ahead of their queues. Of a chunk of which only some items have failed, all items run again. Kept for this are
        the newest 2000 such chunks, 32 MiB of items in all.

        Raises:
            JobOver: the job has ended, or is about to: no worker is left that would take them.
        """
        dispatcher = self._running()
        with self._lock:
            return dispatcher.retrying.retry(failed=failed, set_aside=set_aside)

    def _tell_size(self, workers: int) -> None:
        """There will be so many workers: those to come are told, and those there are."""
        job = self._started()
        common = self._equipment.resize(job.settings, workers)
        job.engine.equip(*common)
        job.crew.broadcast(common.message)

    @property
    def listening(self) -> list[tuple[str, int]]:
        """(host, port) of each address on which workers listen by :func:`eisenmp.listen`."""
        return [] if self._job is None else self._job.listeners.addresses()

    def _running(self) -> Dispatcher:
        self._started()
        if self._dispatcher is None:
            raise JobOver("the job did not start")
        return self._dispatcher

    def cut_off(self, error: BaseException) -> None:
        """What ends the program has hit a thread of the user's: kill the job, and see its processes gone.

        Called where this thread does not hold the job's lock. A second Ctrl-C: no more waiting for the end of it.
        """
        job = self._job
        if job is None or job.ended.is_set():
            return
        self._retrieved = True
        for patience in (_PATIENCE, 0.0):
            try:
                job.lock.unstick()
                self.kill()
                job.ended.wait(patience)
                break
            except KeyboardInterrupt:
                continue
        if isinstance(error, KeyboardInterrupt):
            shorten_traceback(error, self._last_words())

    def _last_words(self) -> str:
        return f"eisenmp: the job was ended; {self.results.summary()}"

    def disown(self) -> None:
        """The interpreter shall not wait for the job at its end, but end it. Who reads is told of errors, or nobody."""
        self._owned = False

    def __enter__(self) -> Mp:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, *_: object) -> None:
        if self._job is None:
            return
        if value is not None:
            self._retrieved = True  # the block's own exception is what the user sees
            self.cut_off(value)
            self.join()
            self._see_feeders_off(self._job)
            return
        try:
            self.wait()
        except JobKilled:
            pass  # the block itself has killed it, so it knows
        except BaseException:
            self.kill()
            raise
        finally:
            self.join()
            self._see_feeders_off(self._job)

    @property
    def results(self) -> Results:
        """From queue name to that queue's outcomes; see :class:`eisenmp.results.Results`."""
        return self._early_results

    @property
    def begin_proc_shutdown(self) -> bool:
        """Whether the job is over: every entry function has returned."""
        return self._job is not None and self._job.over.is_set()

    @property
    def proc_list(self) -> list[ProcessHandle]:
        """The present process of each worker slot, after ``multiprocessing.Process``.

        A process that is leaving, since there are fewer slots now (:meth:`resize`), is there as long as it lives.
        """
        if self._job is None:
            return []
        handles, slots = dict(self._job.crew.handles), self._job.workers
        return [handles[slot] for slot in sorted(handles) if slot < slots or handles[slot].is_alive()]

    def snapshot(self) -> Snapshot:
        """How the job stands now: feeders, workers, queues, counts."""
        with self._lock:
            return take_snapshot(self._started(), self._info())

    def _info(self) -> Mapping[str, int]:
        """Rows that workers have reported through mp_info_q, by name."""
        return self._dispatcher.messages.info if self._dispatcher is not None else {}

    def live_view(self) -> Live:
        """What pages and terminals show; made when it is asked for first. See :mod:`eisenmp.live`."""
        return self._watching.live(self._started())

    @property
    def dashboard_url(self) -> str | None:
        """Where the live page is, token included; None: there is none (``DASHBOARD``)."""
        return self._watching.url

    def report(self) -> Report:
        """What the job has done with its time so far, or did in all, and what holds it up."""
        from eisenmp.account import take_report  # only who asks for one needs it

        with self._lock:
            return take_report(self._started())

    def _started(self) -> Job:
        if self._job is None:
            raise SettingsError("the job has not been started: call emp.start(worker_modules=[…], …) first")
        return self._job

    def _on_over(self) -> None:
        """From the loop, when every entry function has returned: what is to be printed is printed."""
        settings = self._started().settings
        if self._display is not None:
            self._display.stop()
        if settings.wants_values:
            Result.result_dict = self.results.as_dict()
        print_results(self.results, settings)

    def _on_ended(self) -> None:
        """From the loop, when no process is left."""
        self._watching.end()
        forget(self)

    @staticmethod
    def _see_feeders_off(job: Job) -> None:
        """Feeders that wait for room leave their generators now; one whose generator blocks keeps nobody waiting."""
        end = time.monotonic() + _LAST_WORDS
        for feeder in job.feeders:
            feeder.join(max(0.0, end - time.monotonic()))

    def _leave(self, *, interrupted: bool) -> None:
        """The interpreter ends: wait for workers that still run, as for threads; Ctrl-C ends them."""
        job = self._started()
        try:
            if interrupted or not (self._owned or self.results.over):
                self.kill()
            job.ended.wait()
            self._see_feeders_off(job)
        except KeyboardInterrupt as interrupt:
            self.cut_off(interrupt)
            print(f"KeyboardInterrupt\n{self._last_words()}", file=sys.stderr)
        if job.error is not None and self._owned and not self._retrieved:
            print(f"eisenmp: the job failed: {type(job.error).__name__}: {job.error}", file=sys.stderr)
