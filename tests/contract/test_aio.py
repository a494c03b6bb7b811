"""aimap and aimap_chunks: the short forms for asyncio."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

import eisenmp
from eisenmp import PayloadError, SettingsError, StopJob, WorkerStartError
from tests.support import ALARM, ENGINES, FORKS, ON_RAY, Lab, run_script, strict


def options(lab: Lab, **more: Any) -> dict[str, Any]:
    """Of a short form, for this engine, with two workers."""
    names = {'ENGINE': 'engine', 'START_METHOD': 'start_method'}
    return {'max_workers': 2, **{names[key]: value for key, value in ENGINES[lab.name].items()}, **more}


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def alarmed() -> Any:
        async with asyncio.timeout(ALARM):
            return await main

    return asyncio.run(alarmed())


class Made:
    """Makes asynchronous generators that tell how far they were read, and that they have cleaned up."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = threading.Event()

    async def items(self, count: float = float('inf'), pause: Callable[[], Awaitable[Any]] | None = None) -> Any:
        try:
            while self.made < count:
                if pause is not None:
                    await pause()
                self.made += 1
                yield self.made - 1
        finally:
            self.closed.set()


class Plain:
    """An asynchronous iterable that is no generator, and has no aclose."""

    def __init__(self, count: int) -> None:
        self._rest = iter(range(count))

    def __aiter__(self) -> Plain:
        return self

    async def __anext__(self) -> int:
        for item in self._rest:
            return item
        raise StopAsyncIteration


async def breath() -> None:
    await asyncio.sleep(0)


async def until(condition: Callable[[], Any]) -> None:
    """As wait_until, and the loop goes on."""
    deadline = time.monotonic() + ALARM
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def job_of(it: Any) -> Any:
    return it._course.emp._job


def held_back(it: Any) -> bool:
    """What feeds it waits for room."""
    return bool(job_of(it) is not None and job_of(it).feeders_waiting)


# ---- what comes out


@pytest.mark.parametrize('chunksize', [1, 7, 1000, 'auto'])
@pytest.mark.parametrize(
    'source',
    [
        lambda: range(500),
        lambda: iter(range(500)),
        lambda: Made().items(500),
        lambda: Made().items(500, breath),
        lambda: Plain(500),
    ],
    ids=['range', 'iterator', 'async generator', 'one that waits', 'async iterable'],
)
def test_results_in_order(swift_lab: Lab, source: Any, chunksize: Any) -> None:
    async def main() -> None:
        given = options(swift_lab, chunksize=chunksize)
        assert [value async for value in eisenmp.aimap(lambda n: n * n, source(), **given)] == [
            n * n for n in range(500)
        ]
        sums = [value async for value in eisenmp.aimap_chunks(sum, source(), **given)]
        assert sum(sums) == sum(range(500))
        unordered = eisenmp.aimap(str, source(), ordered=False, **given)
        assert sorted([int(value) async for value in unordered]) == list(range(500))

    run(main())


def test_the_same_everywhere(lab: Lab) -> None:
    async def main() -> None:
        it = eisenmp.aimap(lambda n: -n, Made().items(2000), **options(lab))
        assert [value async for value in it] == [-n for n in range(2000)]
        assert [value async for value in it] == []
        nothing = eisenmp.aimap(str, Made().items(0), **options(lab))
        assert [value async for value in nothing] == []
        async with eisenmp.aimap(abs, itertools.count(), **options(lab)) as endless:
            assert [await anext(endless) for _ in range(50)] == list(range(50))
        assert endless.report().items >= 50
        assert [value async for value in endless] == []

    run(main())


def test_several_at_once_in_one_loop(swift_lab: Lab) -> None:
    async def one(factor: int) -> int:
        it = eisenmp.aimap(lambda n: factor * n, Made().items(300, breath), **options(swift_lab))
        return sum([value async for value in it])

    async def main() -> None:
        assert [*await asyncio.gather(one(1), one(2), one(3))] == [sum(range(300)) * n for n in (1, 2, 3)]
        inner = eisenmp.aimap(lambda n: n + 1, range(300), **options(swift_lab))
        outer = eisenmp.aimap(lambda n: 2 * n, inner, **options(swift_lab))
        assert [value async for value in outer] == [2 * n + 2 for n in range(300)]

    run(main())


# ---- the loop is never held up, and nothing is read ahead of need


@pytest.mark.parametrize('chunksize', [1, 'auto'])
def test_the_loop_goes_on_while_a_worker_is_at_work(lab: Lab, chunksize: Any) -> None:
    """What the worker waits for is done by another task of the same loop."""
    gate = lab.folder / 'gate'

    def func(item: int) -> int:
        deadline = time.monotonic() + ALARM
        while not os.path.exists(gate) and time.monotonic() < deadline:
            time.sleep(0.002)
        return item

    async def main() -> None:
        it = eisenmp.aimap(func, range(3), chunksize=chunksize, **options(lab))
        first = asyncio.ensure_future(anext(it))
        await until(lambda: job_of(it) is not None and job_of(it).ledger.held)
        assert not first.done()
        gate.touch()
        assert [await first, *[value async for value in it]] == [0, 1, 2]

    run(main())


def test_a_source_that_never_waits_lets_others_have_their_turn(swift_lab: Lab) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        task = asyncio.create_task(other())
        it = eisenmp.aimap_chunks(len, Made().items(20_000), chunksize=10_000, **options(swift_lab))
        assert [value async for value in it] == [10_000, 10_000]
        task.cancel()

    run(main())
    assert turns > 200


@pytest.mark.parametrize(('chunksize', 'buffersize'), [(1, 1), (5, 4), (1, 40)])
def test_a_slow_consumer_holds_no_more_than_it_asked_for(swift_lab: Lab, chunksize: int, buffersize: int) -> None:
    async def main() -> None:
        source = Made()
        given = options(swift_lab, chunksize=chunksize, buffersize=buffersize)
        async with eisenmp.aimap(abs, source.items(), **given) as it:
            await until(lambda: held_back(it) and source.made == chunksize * buffersize)
            consumed = 0
            async for _ in it:
                assert source.made - consumed <= chunksize * buffersize
                consumed += 1
                if consumed == 100:
                    break
        assert source.closed.is_set()

    run(main())


def test_what_is_complete_comes_while_the_source_lets_it_wait(swift_lab: Lab) -> None:
    async def main() -> None:
        go_on = asyncio.Semaphore(0)
        stops = [0, 3, 300, 1500]

        async def items() -> AsyncIterator[int]:
            for n in range(2000):
                if n in stops:
                    await go_on.acquire()
                yield n

        async with eisenmp.aimap(abs, items(), **options(swift_lab)) as it:
            read = 0
            for stop in stops:
                assert [await anext(it) for _ in range(stop - read)] == list(range(read, stop))
                read = stop
                go_on.release()
            assert [value async for value in it] == list(range(read, 2000))

    run(main())


# ---- errors


def odd_ones_fail(item: int) -> int:
    if item % 7 == 3:
        raise ValueError(item)
    return item


def test_errors_of_the_function(swift_lab: Lab) -> None:
    bad = [n for n in range(60) if n % 7 == 3]

    async def main() -> None:
        it = eisenmp.aimap(odd_ones_fail, Made().items(60), **options(swift_lab))
        assert [await anext(it) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match='^3$'):
            await anext(it)
        assert job_of(it).ended.is_set()
        assert [value async for value in it] == []
        it = eisenmp.aimap(odd_ones_fail, range(60), on_error='skip', **options(swift_lab))
        assert [value async for value in it] == [n for n in range(60) if n not in bad]
        assert [failure.index for failure in it.failures] == bad
        it = eisenmp.aimap(odd_ones_fail, range(60), on_error='yield', **options(swift_lab))
        assert [type(value) for value in [value async for value in it]] == [
            ValueError if n in bad else int for n in range(60)
        ]

    run(main())


@pytest.mark.parametrize('count', [0, 1, 100])
@pytest.mark.parametrize('error', [OSError('the disk is gone'), asyncio.CancelledError(), KeyError('x')], ids=repr)
def test_a_source_that_raises(swift_lab: Lab, count: int, error: BaseException) -> None:
    async def items() -> AsyncIterator[int]:
        for n in range(count):
            yield n
        raise error

    async def main() -> None:
        it = eisenmp.aimap(abs, items(), **options(swift_lab))
        got: list[int] = []

        async def read() -> None:
            async for value in it:
                got.append(value)

        with pytest.raises(type(error)) as caught:
            await read()
        assert caught.value is error
        assert got == list(range(count))
        assert [value async for value in it] == []

    run(main())


def test_first_hit(swift_lab: Lab) -> None:
    def func(item: int) -> int:
        if item == 77:
            raise StopJob('hit')
        return item

    async def main() -> None:
        source = Made()
        it = eisenmp.aimap(func, source.items(), chunksize=1, **options(swift_lab))
        got = [value async for value in it]
        assert got[:70] == list(range(70))
        assert 77 not in got
        assert it.answer == 'hit'
        await until(source.closed.is_set)

    run(main())


def test_a_failing_initializer(swift_lab: Lab) -> None:
    async def main() -> None:
        source = Made()
        it = eisenmp.aimap(abs, source.items(), initializer=lambda: 1 // 0, **options(swift_lab))
        with pytest.raises(WorkerStartError, match='ZeroDivisionError'):
            await anext(it)
        await until(lambda: source.closed.is_set() or not source.made)

    run(main())


def test_wrong_arguments() -> None:
    async def coroutine(item: int) -> int:
        return item

    for form in (eisenmp.aimap, eisenmp.aimap_chunks):
        with pytest.raises(SettingsError, match='iterable=7 cannot be iterated'):
            form(abs, 7)  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match='func=7 cannot be called'):
            form(7, [1])  # type: ignore[arg-type]
        with pytest.raises(SettingsError, match='max_workers=0 does not fit'):
            form(abs, [1], max_workers=0)
        with pytest.raises(SettingsError, match='is a coroutine function'):
            form(coroutine, [1])

    async def main() -> None:
        lock = threading.Lock()
        it = eisenmp.aimap(lambda _: lock, [1])
        with pytest.raises(PayloadError, match='lock'):
            await anext(it)
        assert [value async for value in it] == []
        await it.aclose()

    run(main())


def test_two_tasks_cannot_wait_at_once(swift_lab: Lab) -> None:
    async def main() -> None:
        blocked = asyncio.Event()

        async def items() -> AsyncIterator[int]:
            await blocked.wait()
            yield 7

        it = eisenmp.aimap(abs, items(), **options(swift_lab))
        first = asyncio.ensure_future(anext(it))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match='in another task'):
            await anext(it)
        blocked.set()
        assert await first == 7
        await it.aclose()

    run(main())


# ---- leaving


async def by_break(make: Any) -> None:
    async for value in make():
        if value == 20:
            break


async def by_aclose(make: Any) -> None:
    it = make()
    assert await anext(it) == 0
    await it.aclose()
    await it.aclose()  # a second time does no harm


async def by_with(make: Any) -> None:
    async with make() as it:
        assert await anext(it) == 0


async def by_an_error_in_the_loop(make: Any) -> None:
    async def consume() -> None:
        async for _ in make():
            raise ZeroDivisionError

    task = asyncio.create_task(consume())
    with pytest.raises(ZeroDivisionError):
        await task


async def cancelled(consumer: Coroutine[Any, Any, None], begun: asyncio.Event) -> None:
    """Cancel it when it has begun."""
    task = asyncio.create_task(consumer)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_cancelling_who_waits(make: Any) -> None:
    """Or, if results come one after the other, wherever that meets it."""

    async def consume() -> None:
        async for _ in make():
            begun.set()

    begun = asyncio.Event()
    await cancelled(consume(), begun)


async def by_cancelling_the_loop(make: Any) -> None:
    async def consume() -> None:
        async for _ in make():
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    await cancelled(consume(), begun)


async def by_timeout(make: Any) -> None:
    async def consume() -> None:
        async with asyncio.timeout(0.05):
            async for _ in make():
                pass

    with pytest.raises(TimeoutError):
        await consume()


async def by_cancelling_the_start(make: Any) -> None:
    it = make()
    task = asyncio.ensure_future(anext(it))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


WAYS = [
    by_break,
    by_aclose,
    by_with,
    by_an_error_in_the_loop,
    by_cancelling_who_waits,
    by_cancelling_the_loop,
    by_timeout,
    by_cancelling_the_start,
]


def nothing_is_left() -> bool:
    ours = [thread for thread in threading.enumerate() if thread.name.startswith('eisenmp')]
    if ON_RAY:  # the connection to the cluster stays, and so does a private cluster's pool of processes
        return not [thread for thread in ours if thread.name != 'eisenmp-ray']
    return not ours and not psutil.Process().children(recursive=True)


async def gone_within(seconds: float) -> bool:
    end = time.monotonic() + seconds * (10 if ON_RAY else 1)
    while not nothing_is_left():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.002)
    return True


async def is_ended_by(leave: Any, source: str, given: dict[str, Any]) -> bool:
    """Whether all is gone within half a second, in the same loop."""
    made = Made()
    stands_still = asyncio.Event()

    async def pause() -> None:
        if made.made > 30:
            await stands_still.wait()

    def make() -> Any:
        items = made.items(pause=pause if 'still' in source else breath) if 'async' in source else itertools.count()
        return eisenmp.aimap(lambda n: n, items, **given)

    await leave(make)
    if not await gone_within(0.5):
        return False
    if made.made:  # a generator that was never begun has nothing to clean up
        await until(made.closed.is_set)
    return True


def see_it_ended(leave: Any, source: str, given: dict[str, Any]) -> None:
    """Without the garbage collector: the best of three, for the machine may be busy."""

    async def main() -> None:
        for left in (2, 1, 0):
            if await is_ended_by(leave, source, given):
                return
            assert left, 'something is left after half a second'
            assert await gone_within(ALARM)

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


@pytest.mark.parametrize('leave', WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize('source', ['generator', 'async generator', 'async generator that stands still'])
def test_whoever_leaves_ends_it(leave: Any, source: str) -> None:
    see_it_ended(leave, source, {'max_workers': 2, 'start_method': 'fork'})


@pytest.mark.parametrize('leave', [by_break, by_timeout, by_cancelling_the_start], ids=lambda way: way.__name__)
def test_whoever_leaves_ends_it_everywhere(process_lab: Lab, leave: Any) -> None:
    see_it_ended(leave, 'async generator', options(process_lab))


def test_a_long_call_does_not_hold_up_whoever_leaves(process_lab: Lab) -> None:
    async def attempt() -> float:
        it = eisenmp.aimap(
            lambda n: time.sleep(60) if n else n, itertools.count(), chunksize=1, ordered=False, **options(process_lab)
        )
        assert await anext(it) == 0
        begun = time.monotonic()
        await it.aclose()
        return time.monotonic() - begun

    async def main() -> None:
        assert min([await attempt() for _ in range(3)]) < 0.5

    run(main())


def test_stop_finishes_what_is_running(swift_lab: Lab) -> None:
    async def main() -> None:
        source = Made()
        it = eisenmp.aimap(abs, source.items(), chunksize=2, buffersize=6, **options(swift_lab))
        assert await anext(it) == 0
        it.stop()
        rest = [value async for value in it]
        assert rest == list(range(1, 1 + len(rest)))
        assert len(rest) <= 12
        await until(source.closed.is_set)
        never = eisenmp.aimap(abs, range(3), **options(swift_lab))
        never.stop()
        assert [value async for value in never] == []

    run(main())


def test_one_that_nobody_asks_does_nothing() -> None:
    source = Made()
    it = eisenmp.aimap(abs, source.items())  # no loop is needed to make one
    with pytest.raises(SettingsError, match='has not been started'):
        it.report()
    del it
    assert source.made == 0

    async def main() -> None:
        await eisenmp.aimap(abs, [1]).aclose()

    run(main())


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
@pytest.mark.parametrize('where', ['global', 'local'])
def test_the_end_of_the_loop_ends_it(tmp_path: Path, method: str, where: str) -> None:
    text = f"""
        import asyncio, itertools
        import eisenmp

        async def items():
            for n in itertools.count():
                yield n

        async def main():
            {'global it' if where == 'global' else ''}
            it = eisenmp.aimap(lambda n: n, items(), max_workers=2, start_method={method!r})
            print(await anext(it), await anext(it))

        asyncio.run(main())
        print('fine')
    """
    done = run_script(tmp_path, text, flags=strict(method))
    assert (done.stdout, done.stderr) == ('0 1\nfine\n', '')


def test_asyncio_is_loaded_by_those_who_use_it(tmp_path: Path) -> None:
    text = """
        import sys
        import eisenmp
        eisenmp.imap, eisenmp.Mp, eisenmp.Report
        assert 'asyncio' not in sys.modules
        eisenmp.aimap
        assert 'asyncio' in sys.modules
    """
    run_script(tmp_path, text)


def test_nobody_polls() -> None:
    """A second of waiting costs next to no processor time."""

    async def main() -> float:
        blocked = asyncio.Event()

        async def items() -> AsyncIterator[int]:
            yield 1
            await blocked.wait()

        async with eisenmp.aimap(abs, items(), chunksize=1, max_workers=2) as it:
            assert await anext(it) == 1
            second = asyncio.ensure_future(anext(it))
            await asyncio.sleep(0.5)  # what starting has left to do
            begun = time.process_time()
            await asyncio.sleep(1.0)
            used = time.process_time() - begun
            blocked.set()
            with pytest.raises(StopAsyncIteration):
                await second
        return used

    assert run(main()) < 0.1


pytestmark = [FORKS]
if sys.platform == 'win32':
    pytestmark.append(pytest.mark.skip(reason='written for POSIX'))
