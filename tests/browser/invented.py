"""A job that never was, in the words of the live view: for pages that must not wait for a real one."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ['HOUR', 'STEP', 'Invented']

STEP: Final = 0.5  # seconds of the job between two states
HOUR: Final = 7200  # states
_ITEMS: Final = 1000  # of a chunk
_STATES: Final = {'work': 'working', 'start': 'starting', 'down': 'gone'}
_FACTS: Final = {
    'name': 'invented.py',
    'pid': 1234,
    'started': 1_764_000_000.0,
    'version': '2.0.0',
    'python': '3.12.1',
    'engine': 'local',
    'start_method': 'spawn',
}


@dataclass
class _Worker:
    """One slot, and what its process is at: from when, until when."""

    slot: int
    pid: int
    kind: str
    since: float
    until: float
    ticket: int = -1
    restarts: int = 0

    @property
    def at(self) -> str:
        return f'orders_TID_{self.ticket}' if self.kind == 'work' else ''

    def lane(self, *, ended: bool) -> list[Any]:
        return [self.slot, self.since, self.until if ended else None, self.kind, self.at, 1]


@dataclass
class _News:
    """What has happened since the state before."""

    lanes: list[list[Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    logs: list[dict[str, Any]] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


class Invented:
    """Workers with chunks of about 0.4 s, idle now and then; some fail, some die, some take much longer than others.

    Args:
        slots: workers.
        faults: which share of the chunks fails.
        seed: the same one, the same job.
    """

    def __init__(self, slots: int = 4, *, faults: float = 0.01, seed: int = 1) -> None:
        self.n = 0
        self.stopping = False
        self.last: dict[str, Any] | None = None
        self.workers: list[_Worker] = []
        self._draw = random.Random(seed)
        self._faults = faults
        self._chunks = self._failed = self._aside = 0
        self.resize(slots)

    @property
    def seconds(self) -> float:
        """Of the job's clock."""
        return self.n * STEP

    def resize(self, count: int) -> None:
        """Another number of workers, at once."""
        for slot in range(len(self.workers), count):
            self.workers.append(_Worker(slot, 4000 + slot, 'start', self.seconds, self.seconds + 0.3))
        del self.workers[count:]

    def die(self, worker: _Worker) -> None:
        """The worker's process is gone; another one comes after a moment."""
        worker.kind, worker.since, worker.until = 'down', self.seconds, self.seconds + 1.2
        worker.pid += 100
        worker.restarts += 1

    def history(self) -> dict[str, Any]:
        """For a page that is opened now. It is short: the past is not kept."""
        series: dict[str, Any] = {'t': [], 'rate': [], 'p50': [], 'p95': [], 'queues': {}, 'cpu': {}, 'memory': {}}
        return {'kind': 'history', 'series': series, 'lanes': [], 'failures': [], 'logs': [], 'state': self.last}

    def state(self) -> dict[str, Any]:
        """The next state."""
        self.n += 1
        news = _News()
        for worker in self.workers:
            while worker.until <= self.seconds:
                self._next(worker, news)
            news.lanes.append(worker.lane(ended=False))
        took = sorted(news.took)
        self.last = {
            'kind': 'state',
            'n': self.n,
            'job': _FACTS,
            'seconds': self.seconds,
            'over': False,
            'stopping': self.stopping,
            'wanted': len(self.workers),
            'slots': len(self.workers),
            'up': sum(worker.kind == 'work' for worker in self.workers),
            'restarts': sum(worker.restarts for worker in self.workers),
            'chunks': {'done': self._chunks, 'failed': self._failed, 'partly_failed': 0, 'set_aside': self._aside},
            **self._streams(len(took) * _ITEMS / STEP),
            'latency': {
                'p50': took[len(took) // 2] if took else None,
                'p95': took[-1] if took else None,
                'n': len(took),
            },
            'queues': [
                {'name': 'orders', 'fill': 4 + self.n % 7, 'bound': 16, 'full': False},
                {'name': 'pictures', 'fill': (self.n // 20) % 30, 'bound': 0, 'full': False},
                {'name': 'ports|video_in', 'fill': 3, 'bound': 3, 'full': True},
            ],
            'workers': [self._row(worker) for worker in self.workers],
            'manager': {'pid': 1234, 'cpu': 12.5, 'memory': 61 << 20},
            'lanes': news.lanes,
            'failures': news.failures,
            'logs': news.logs,
            'can': ['stop', 'restart', 'resize', 'retry'],
        }
        return self.last

    def _streams(self, rate: float) -> dict[str, Any]:
        done, total = self._chunks * _ITEMS, HOUR * _ITEMS
        orders = _stream('orders', done, total, rate, 3600.0, 1)
        pictures = _stream('pictures', done // 9, None, rate / 9, None, 2)
        whole = _stream('all', done * 10 // 9, total * 10 // 9, rate, 3600.0, 0)
        return {'all': whole, 'streams': [orders, pictures]}

    def _row(self, worker: _Worker) -> dict[str, Any]:
        working = worker.kind == 'work'
        return {
            'slot': worker.slot,
            'name': f'Process-{worker.slot + 1}',
            'pid': worker.pid,
            'state': _STATES[worker.kind],
            'ticket': worker.at,
            'age': max(0.0, self.seconds - worker.since) if working else None,
            'rate': 2.4,
            'cpu': self._draw.uniform(70, 100) if working else 2.0,
            'memory': (40 << 20) + 9000 * (self.n % 600) + worker.slot * (1 << 20),
            'restarts': worker.restarts,
        }

    def _next(self, worker: _Worker, news: _News) -> None:
        """What the worker was at has ended; the next thing begins."""
        news.lanes.append(worker.lane(ended=True))
        if worker.kind == 'work':
            self._end_chunk(worker, news)
            if self._draw.random() < 0.008:
                self.die(worker)
                return
        idle = self._draw.choice([0, 0, 0, 0.4])
        lasts = self._draw.uniform(0.2, 0.6) if self._draw.random() > 0.01 else 7.0
        worker.kind, worker.ticket = 'work', self._chunks + worker.slot
        worker.since, worker.until = worker.until + idle, worker.until + idle + lasts

    def _end_chunk(self, worker: _Worker, news: _News) -> None:
        self._chunks += 1
        news.took.append(worker.until - worker.since)
        level = self._draw.choice(['print', 'DEBUG', 'INFO', 'WARNING'])
        text = f'{worker.at}: {self._draw.randrange(10**6)} rows <b>& more</b>'
        news.logs.append(
            {'seconds': worker.until, 'level': level, 'worker': f'Process-{worker.slot + 1}', 'text': text}
        )
        if self._draw.random() < self._faults:
            self._fail(worker, news)

    def _fail(self, worker: _Worker, news: _News) -> None:
        aside = self._draw.random() < 0.3
        self._aside += aside
        self._failed += not aside
        text = 'CrashError: its workers ended with exit codes -9, -9, -9'
        if not aside:
            text = 'ValueError: <img src=x onerror=alert(1)> is no number'
        trace = f'Traceback (most recent call last):\n  File "worker.py", line 12, in entry\n    int(row[3])\n{text}'
        news.failures.append(
            {
                'id': self._failed + self._aside,
                'seconds': worker.until,
                'queue': 'orders',
                'ticket': worker.ticket,
                'slot': worker.slot,
                'kind': 'set aside' if aside else 'failed',
                'text': text,
                'traceback': '' if aside else trace,
            }
        )


def _stream(name: str, done: int, total: int | None, rate: float, left: float | None, feeders: int) -> dict[str, Any]:
    made = done + 8 * _ITEMS
    return {'name': name, 'done': done, 'total': total, 'made': made, 'rate': rate, 'left': left, 'feeders': feeders}
