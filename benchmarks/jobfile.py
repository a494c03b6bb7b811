"""What a job file costs: in time, beside the same job without one, and in bytes; and how soon a job goes on."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import eisenmp
from benchmarks.contenders import Contender, Plan, part
from benchmarks.machine import apart, check, folder, noted, wait_until
from benchmarks.ours import up
from benchmarks.rounds import Contest, Goal
from benchmarks.streams import WARM, Gate
from benchmarks.work import STAMP, chunk_sum, modules

__all__ = ["run"]

WORKERS: Final = 2
CHUNKS: Final = 10_000  # of ROWS items
ROWS: Final = 1000
SINGLES: Final = 200_000  # chunks of one item
FEW: Final = 2_000  # for joblib.Memory, which makes a folder for each
FINISHED: Final = 1_000_000
MORE: Final = 1_000
BARE: Final = "eisenmp.Mp, no job file"
KEPT: Final = "eisenmp.Mp, job file"


# ---- throughput


def ours(chunks: int, rows: int, *, kept: bool) -> dict[str, float]:
    """Microseconds a ticket, and bytes a ticket of the file when it is closed.

    The clock stops when all is in the file.
    """
    gate = Gate([0] * rows * WARM)

    def items() -> Iterator[int]:
        yield from gate.warm
        gate.wait()
        yield from range(chunks * rows)

    with folder() as place:
        path = os.path.join(place, "job.db") if kept else None
        with eisenmp.Mp() as emp:
            reader = emp.results.outcomes()
            emp.start(
                worker_modules=modules("chunk_sum"), NUM_PROCS=WORKERS, NUM_ROWS=rows, WORKER_CALL="chunk", JOB=path
            )
            wait_until(lambda: up(emp))
            emp.feed(items())
            list(islice(reader, WARM))
            begin = time.perf_counter()
            gate.open()
            total = sum([outcome.value for outcome in reader])
            emp.wait()
            seconds = time.perf_counter() - begin
        check(total, _sum(chunks * rows), "the sum of the results")
        size = 0
        if path is not None:
            queue = eisenmp.job_status(path).queues[0]
            check((queue.done, queue.items), (chunks + WARM, (chunks + WARM) * rows), "what the file has")
            size = os.path.getsize(path)
    return {"time": seconds / chunks * 1e6, "bytes": size / chunks}


def by_pool(chunks: int, rows: int) -> dict[str, float]:
    """What people write by hand: `Pool`, a table, a commit every 50 ms or a thousand rows, whichever is first."""
    with folder() as place, multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
        db = sqlite3.connect(os.path.join(place, "loop.db"), isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("CREATE TABLE result (chunk INTEGER PRIMARY KEY, value)")
        pool.map(chunk_sum, [[0]] * WORKERS, chunksize=1)
        begin = time.perf_counter()
        _gather(db, enumerate(pool.imap(chunk_sum, _cut(chunks, rows), chunksize=1)))
        seconds = time.perf_counter() - begin
        check(db.execute("SELECT sum(value) FROM result").fetchone()[0], _sum(chunks * rows), "the sum of the results")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        size = os.path.getsize(os.path.join(place, "loop.db"))
    return {"time": seconds / chunks * 1e6, "bytes": size / chunks}


def _gather(db: sqlite3.Connection, results: Iterator[tuple[int, int]]) -> None:
    rows: list[tuple[int, int]] = []
    since = time.monotonic()
    for result in results:
        rows.append(result)
        if len(rows) >= 1000 or time.monotonic() - since > 0.05:
            _commit(db, rows)
            rows, since = [], time.monotonic()
    _commit(db, rows)


def _commit(db: sqlite3.Connection, rows: list[tuple[int, int]]) -> None:
    db.execute("BEGIN")
    db.executemany("INSERT INTO result VALUES (?, ?)", rows)
    db.execute("COMMIT")


def by_joblib(chunks: int, rows: int) -> dict[str, float]:
    """``Memory`` before each call of a ``Parallel``, of fewer chunks."""
    import joblib

    few = min(chunks, FEW)
    with folder() as place, joblib.Parallel(n_jobs=WORKERS) as parallel:
        cached = joblib.Memory(place, verbose=0).cache(chunk_sum)
        parallel(joblib.delayed(chunk_sum)([0]) for _ in range(WORKERS))
        begin = time.perf_counter()
        values = parallel(joblib.delayed(cached)(chunk) for chunk in _cut(few, rows))
        seconds = time.perf_counter() - begin
        check(sum(values), _sum(few * rows), "the sum of the results")
        names = [os.path.join(path, name) for path, _, names in os.walk(place) for name in names]
        size = sum(os.path.getsize(name) for name in names)
    return {"time": seconds / few * 1e6, "bytes": size / few}


def _cut(chunks: int, rows: int) -> Iterator[list[int]]:
    return (list(range(first, first + rows)) for first in range(0, chunks * rows, rows))


def _sum(count: int) -> int:
    return count * (count - 1) // 2


def throughput(plan: Plan, name: str, chunks: int, rows: int, must: float) -> Iterator[Contest]:
    """A ticket's time and bytes."""
    field = [
        Contender(KEPT, partial(ours, chunks, rows, kept=True)),
        Contender(BARE, partial(ours, chunks, rows, kept=False)),
        Contender("SQLite and Pool", partial(by_pool, chunks, rows)),
        Contender("joblib.Memory", partial(by_joblib, chunks, rows), needs="joblib"),
    ]
    turns = plan.compete(field)
    what = f"{chunks:,} chunks of {rows:,}" if rows > 1 else f"{chunks:,} chunks of one item"
    contest = turns.contest(f"jobfile-{name}", f"{what}: time of one", "µs", part(turns, "time"))
    contest.against(KEPT, BARE, Goal(must=must), words=f"job file, part of the speed without one, {name}")
    contest.notes.append(f"joblib.Memory: {min(chunks, FEW):,} of them")
    yield contest
    sizes = turns.contest(f"jobfile-{name}-bytes", f"{what}: bytes of one on the disk", "bytes", part(turns, "bytes"))
    sizes.values.pop(BARE, None)
    sizes.absolute(KEPT, Goal(), words=f"job file, bytes a ticket, {name}")
    yield sizes


# ---- going on


def resume(path: str, kind: str) -> dict[str, float]:
    """Seconds until the first chunk that is not done begins, in a worker that was forked.

    The same for a job without a file, from `FINISHED` on.
    """
    with folder() as place:
        notes = os.path.join(place, "notes")
        os.mkdir(notes)
        os.environ[STAMP] = notes
        mine = os.path.join(place, "job.db")
        if kind != "bare":
            shutil.copyfile(path, mine)
        begin = time.perf_counter()
        first = FINISHED if kind == "bare" else 0
        went_on = _job(mine if kind != "bare" else None, kind, first, FINISHED + MORE, lambda: noted(notes, 1))
        seconds = went_on - begin
        if kind != "bare":
            queue = eisenmp.job_status(mine).queues[0]
            check(queue.done, FINISHED + MORE, "how many tickets are done")
    return {"seconds": seconds}


def _job(path: str | None, kind: str, first: int, stop: int, begun: Callable[[], bool]) -> float:
    """One-item chunks of the numbers from `first` to `stop` - 1, as a range or from a generator.

    Returns by `perf_counter` when it was `begun`.
    """
    numbers = range(first, stop)
    with eisenmp.Mp() as emp:
        emp.feed(numbers if kind != "generator" else (number for number in numbers))
        emp.start(
            worker_modules=modules("stamped"),
            NUM_PROCS=WORKERS,
            NUM_ROWS=1,
            WORKER_CALL="chunk",
            START_METHOD="fork",
            JOB=path,
        )
        wait_until(begun)
        then = time.perf_counter()
        emp.wait()
    return then


def make_file(path: str) -> dict[str, float]:
    """A job of `FINISHED` tickets that are done, one value each."""
    os.environ.pop(STAMP, None)
    _job(path, "range", 0, FINISHED, lambda: True)
    return {"bytes": os.path.getsize(path) / FINISHED}


def going_on(plan: Plan) -> Iterator[Contest]:
    """How soon a job with a million finished tickets goes on."""
    with folder() as place:
        path = os.path.join(place, "made.db")
        apart("jobfile", "make_file", path)
        field: list[Contender[dict[str, Any]]] = [
            Contender(f"eisenmp.Mp, {words}", partial(apart, "jobfile", "resume", path, kind))
            for kind, words in (("range", "a range"), ("generator", "a generator"), ("bare", "no job file"))
        ]
        turns = plan.compete(field, most=5, warm_up=False)
        title = f"{FINISHED:,} tickets are done: until the next one begins"
        contest = turns.contest("jobfile-resume", title, "ms", part(turns, "seconds", 1e3))
        contest.absolute("eisenmp.Mp, a range", Goal(must=1000, least=False), words="resume, a range")
        contest.absolute("eisenmp.Mp, a generator", Goal(must=1000, least=False), words="resume, a generator")
        yield contest


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    yield from throughput(plan, "chunks", CHUNKS, ROWS, 0.9)
    yield from throughput(plan, "singles", SINGLES, 1, 0.5)
    yield from going_on(plan)
