"""imap and imap_chunks: a function, an iterable, and nothing else."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy
import psutil
import pytest

import eisenmp
from eisenmp import CrashError, PayloadError, RemoteTraceback, SettingsError, StopJob, WorkerStartError, spaces
from tests.contract import things
from tests.support import ALARM, ENGINES, FORKS, ON_RAY, Lab, run_script, strict, wait_until


class Forms:
    """Both forms, in one engine and with two workers unless a test says more; what is left open is closed."""

    def __init__(self, lab: Lab) -> None:
        names = {'ENGINE': 'engine', 'START_METHOD': 'start_method'}
        self.options = {'max_workers': 2, **{names[key]: value for key, value in ENGINES[lab.name].items()}}
        self.in_process = lab.in_process
        self.folder = lab.folder
        self._made: list[Any] = []

    def imap(self, func: Any, iterable: Any, **options: Any) -> Any:
        return self._keep(eisenmp.imap(func, iterable, **{**self.options, **options}))

    def imap_chunks(self, func: Any, iterable: Any, **options: Any) -> Any:
        return self._keep(eisenmp.imap_chunks(func, iterable, **{**self.options, **options}))

    def _keep(self, made: Any) -> Any:
        self._made.append(made)
        return made

    def dropped(self, func: Any, iterable: Any, **options: Any) -> Any:
        """Of imap, and nobody here keeps it."""
        return eisenmp.imap(func, iterable, **{**self.options, **options})

    def close(self) -> None:
        for made in self._made:
            made.close()


@pytest.fixture
def forms(lab: Lab) -> Iterator[Forms]:
    made = Forms(lab)
    yield made
    made.close()


@pytest.fixture
def swift(swift_lab: Lab) -> Iterator[Forms]:
    made = Forms(swift_lab)
    yield made
    made.close()


@pytest.fixture
def process_forms(process_lab: Lab) -> Iterator[Forms]:
    made = Forms(process_lab)
    yield made
    made.close()


class Counted:
    """An iterable that knows how much of it was taken, and how much of that beyond what was consumed at most."""

    def __init__(self, items: Any) -> None:
        self._items = iter(items)
        self.made = 0
        self.consumed = 0
        self.most = 0

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self.made += 1
            self.most = max(self.most, self.made - self.consumed)
            yield item


def job_of(it: Any) -> Any:
    return it._course.emp._job


def held_back(it: Any) -> bool:
    """Its generator waits for room."""
    return bool(job_of(it).feeders_waiting)


def gate_in(folder: Path) -> tuple[Callable[[], None], Callable[[], None]]:
    """(wait, open): a worker waits until the test opens it."""
    path = str(folder / 'gate')

    def wait() -> None:
        end = time.monotonic() + ALARM
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.002)

    return wait, lambda: Path(path).touch()


# ---- what comes out


@pytest.mark.parametrize('chunksize', [1, 7, 1000, 'auto'])
@pytest.mark.parametrize('ordered', [True, 500])
def test_results_in_order(swift: Forms, chunksize: Any, ordered: Any) -> None:
    options = {'chunksize': chunksize, 'ordered': ordered}
    assert list(swift.imap(lambda n: n * n, iter(range(500)), **options)) == [n * n for n in range(500)]
    sums = list(swift.imap_chunks(sum, iter(range(500)), **options))
    assert sum(sums) == sum(range(500))
    if chunksize != 'auto':
        assert sums == [sum(range(500)[at : at + chunksize]) for at in range(0, 500, chunksize)]


@pytest.mark.parametrize('chunksize', [1, 7, 'auto'])
@pytest.mark.parametrize('ordered', [False, 3, 0])
def test_each_result_once_in_another_order(swift: Forms, chunksize: Any, ordered: Any) -> None:
    got = list(swift.imap(lambda n: n * n, iter(range(500)), chunksize=chunksize, ordered=ordered))
    assert sorted(got) == [n * n for n in range(500)]


@pytest.mark.parametrize('chunksize', [1, 3])
@pytest.mark.parametrize('result', ['plain', 'foreign'])
def test_items_that_are_no_plain_data(swift: Forms, chunksize: int, result: str) -> None:
    """They travel in batches too, a pickle each."""
    func = (lambda x: int(x)) if result == 'plain' else (lambda x: x + 1)
    expected = [n + (result == 'foreign') for n in range(1500)]
    got = list(swift.imap(func, (Fraction(n) for n in range(1500)), chunksize=chunksize))
    assert got == expected
    assert {type(value) for value in got} == {int if result == 'plain' else Fraction}
    chunks = list(
        swift.imap_chunks(lambda rows: [func(x) for x in rows], map(Fraction, range(1500)), chunksize=chunksize)
    )
    assert [value for chunk in chunks for value in chunk] == expected
    assert {len(chunk) for chunk in chunks} == {chunksize}


@pytest.mark.parametrize('chunksize', [1, 4, 'auto'])
@pytest.mark.parametrize(
    'whole',
    [range(100), list(range(100)), tuple(range(100)), numpy.arange(100), spaces.Range(100), bytes(range(100))],
    ids=lambda whole: type(whole).__name__,
)
def test_what_is_cut_by_slices(swift: Forms, whole: Any, chunksize: Any) -> None:
    assert [int(value) for value in swift.imap(lambda x: x + 1, whole, chunksize=chunksize)] == list(range(1, 101))
    assert sum(map(int, swift.imap_chunks(sum, whole, chunksize=chunksize))) == sum(range(100))


def test_a_function_of_chunks_gets_slices_of_the_same_kind(forms: Forms) -> None:
    array = numpy.arange(12).reshape(6, 2)
    kinds = forms.imap_chunks(lambda rows: (type(rows).__name__, rows.shape), array, chunksize=4)
    assert list(kinds) == [('ndarray', (4, 2)), ('ndarray', (2, 2))]
    space = spaces.Product('ab', repeat=3)
    assert list(forms.imap_chunks(lambda rows: rows[-1], space, chunksize=4)) == [('a', 'b', 'b'), ('b', 'b', 'b')]
    assert list(forms.imap_chunks(lambda rows: rows, range(5), chunksize=3)) == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize('whole', [range(10**30), spaces.Product(range(10), repeat=40)], ids=['range', 'Product'])
def test_the_beginning_of_what_is_longer_than_len_can_tell(forms: Forms, whole: Any) -> None:
    with forms.imap(lambda x: x, whole) as it:
        assert list(itertools.islice(it, 300)) == list(itertools.islice(iter(whole), 300))


def test_nothing_and_next_to_nothing(swift: Forms) -> None:
    nothing: list[Any] = [[], iter(()), range(0), numpy.zeros((0, 3))]
    for whole in nothing:
        assert list(swift.imap(str, whole)) == []
        assert list(swift.imap_chunks(str, whole)) == []
    assert list(swift.imap(str, [7])) == ['7']
    assert list(swift.imap_chunks(str, iter([7]))) == ['[7]']
    assert list(swift.imap(lambda _: None, range(3))) == [None] * 3
    assert list(swift.imap_chunks(lambda _: None, range(3), chunksize=1)) == [None] * 3
    assert list(swift.imap(lambda _: [], range(3), chunksize=1)) == [[]] * 3


def test_big_results_and_items(forms: Forms) -> None:
    size = 3 << 20
    got = forms.imap(lambda n: bytes([n]) * size, range(8), chunksize=1)
    assert [(len(value), value[0], value[-1]) for value in got] == [(size, n, n) for n in range(8)]
    arrays = (numpy.full(size // 8, n) for n in range(8))
    assert [int(value.sum()) for value in forms.imap(lambda a: a * 2, arrays)] == [
        2 * n * (size // 8) for n in range(8)
    ]


def test_the_same_everywhere(forms: Forms) -> None:
    """What the tests with many cases do, once in each engine."""
    assert list(forms.imap(lambda n: n * n, iter(range(2000)))) == [n * n for n in range(2000)]
    assert list(forms.imap(int, map(Fraction, range(2000)), chunksize=1)) == list(range(2000))
    it = forms.imap(odd_ones_fail, range(400), chunksize=1, on_error='skip', ordered=False)
    assert sorted(it) == [n for n in range(400) if n not in BAD]
    assert sorted(failure.index for failure in it.failures) == BAD
    assert list(forms.imap(Model(3).predict, range(10))) == [3 * n for n in range(10)]
    assert list(forms.imap(str, ())) == []


# ---- functions of every kind


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, item: int) -> int:
        return self.factor * item

    def __call__(self, item: int) -> int:
        return self.factor * item


def test_functions_of_every_kind(swift: Forms) -> None:
    factor = 3

    def closure(item: int) -> int:
        return factor * item

    def recursive(item: int) -> int:
        return 0 if not item else factor + recursive(item - 1)

    functions = [lambda n: 3 * n, closure, recursive, Model(3).predict, Model(3), factor.__mul__]
    for function in functions:
        assert list(swift.imap(function, range(10))) == [3 * n for n in range(10)]
    assert list(swift.imap(str, range(3))) == ['0', '1', '2']
    assert list(swift.imap(things.Bomb.__name__.join, ['ab'])) == ['aBombb']


SCRIPT = """
    import eisenmp

    offset = 100

    def local(item):
        return helper(item) + offset

    def helper(item):
        return 10 * item

    class Model:
        def predict(self, item):
            return local(item)

    options = dict(max_workers=2, start_method={method!r})
    expected = [10 * n + 100 for n in range(50)]
    assert list(eisenmp.imap(local, range(50), **options)) == expected
    assert list(eisenmp.imap(lambda n: local(n), range(50), chunksize=3, **options)) == expected
    assert list(eisenmp.imap(Model().predict, iter(range(50)), chunksize=1, **options)) == expected
    assert sum(eisenmp.imap_chunks(lambda rows: sum(map(local, rows)), range(50), **options)) == sum(expected)
    print('fine')
"""

CELLS = """
    import eisenmp

    def cell(text):
        exec(compile(text, '<cell>', 'exec'), globals())

    cell('offset = 100')
    cell('def local(item): return 10 * item + offset')
    cell('def run(): return list(eisenmp.imap(local, range(50), max_workers=2, start_method="{method}"))')
    cell('assert run() == [10 * n + 100 for n in range(50)]')
    cell('offset = 0')
    cell('assert run() == [10 * n for n in range(50)]')
    print('fine')
"""


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
@pytest.mark.parametrize('text', [SCRIPT, CELLS], ids=['script', 'cells'])
@pytest.mark.parametrize('how', ['file', 'stdin', '-c'])
def test_functions_of_main_without_a_guard(tmp_path: Path, how: str, text: str, method: str) -> None:
    done = run_script(tmp_path, text.format(method=method), how=how, flags=strict(method))
    assert (done.stdout, done.stderr) == ('fine\n', '')


# ---- lazy, bounded, and over when it is left


def test_the_generator_is_read_by_a_thread_of_ours_while_the_consumer_thinks(forms: Forms) -> None:
    counted = Counted(range(40))
    it = forms.imap(lambda n: n, counted, chunksize=1, buffersize=8)
    wait_until(lambda: counted.made == 8)
    assert list(it) == list(range(40))


@pytest.mark.parametrize('form', ['imap', 'imap_chunks'])
@pytest.mark.parametrize(('chunksize', 'buffersize'), [(1, 1), (1, 40), (5, 4), (3, 7)])
@pytest.mark.parametrize('ordered', [True, False, 2])
def test_a_slow_consumer_holds_no_more_than_it_asked_for(
    swift: Forms, form: str, chunksize: int, buffersize: int, ordered: Any
) -> None:
    counted = Counted(itertools.count())
    func = (lambda n: n) if form == 'imap' else (lambda rows: rows)
    with getattr(swift, form)(func, counted, chunksize=chunksize, buffersize=buffersize, ordered=ordered) as it:
        wait_until(lambda: counted.made == chunksize * buffersize and held_back(it))
        for value in it:
            counted.consumed += 1 if form == 'imap' else len(value)
            if counted.consumed >= 200:
                break
        wait_until(lambda: held_back(it))
    assert counted.most <= chunksize * buffersize


@pytest.mark.parametrize('form', ['imap', 'imap_chunks'])
def test_chunks_of_automatic_size_are_bounded_by_their_number(forms: Forms, form: str) -> None:
    func = (lambda n: n) if form == 'imap' else (lambda rows: rows)
    with getattr(forms, form)(func, itertools.count(), buffersize=5) as it:
        for _ in range(30):
            next(it)
            wait_until(lambda: held_back(it))
            with job_of(it).lock:
                assert job_of(it).fill(job_of(it).table[0]) <= 5


@pytest.mark.parametrize('form', ['imap', 'imap_chunks'])
def test_an_endless_generator_that_nobody_reads_stands_still(forms: Forms, form: str) -> None:
    counted = Counted(itertools.count())
    with getattr(forms, form)(str, counted) as it:
        wait_until(lambda: held_back(it))
        assert counted.made < 200_000


@pytest.mark.parametrize('chunksize', [1, 3, 'auto'])
def test_what_is_complete_comes_while_the_generator_lets_it_wait(swift: Forms, chunksize: Any) -> None:
    stops = [0, 3, 300, 1500, 1503, 1506, 2400]
    go_on = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for n in range(3000):
            if n in stops:
                assert go_on.acquire(timeout=ALARM)
            yield n

    with swift.imap(lambda n: n, items(), chunksize=chunksize) as it:
        read = 0
        for stop in stops:
            assert [next(it) for _ in range(stop - read)] == list(range(read, stop))
            read = stop
            go_on.release()
        assert list(it) == list(range(read, 3000))


@pytest.mark.parametrize('ordered', [True, False, 3])
def test_a_slow_first_item(forms: Forms, ordered: Any) -> None:
    wait, go = gate_in(forms.folder)

    def func(item: int) -> int:
        if item == 0:
            wait()
        return item

    counted = Counted(range(60))
    it = forms.imap(func, counted, chunksize=1, buffersize=12, ordered=ordered)
    if ordered is True:
        wait_until(lambda: held_back(it) and counted.made == 12)
        assert not it._course.reader._stream.ready
        go()
        assert list(it) == list(range(60))
    else:
        got = [next(it) for _ in range(40)]
        assert 0 not in got
        go()
        got += it
        assert sorted(got) == list(range(60))
        assert ordered is False or max(late - at for at, late in enumerate(got) if late) <= 3 + 12
    assert counted.most <= 60


def is_worker(process: psutil.Process) -> bool:
    """On a cluster, its own processes stay: those that run nodes, and those that wait for the next actor."""
    try:
        name = process.cmdline()[0]
        return not ON_RAY or (name.startswith('ray::') and not any(word in name for word in ('IDLE', 'Agent')))
    except (psutil.Error, IndexError):
        return False


def gone_within(seconds: float) -> bool:
    end = time.monotonic() + seconds * (10 if ON_RAY else 1)
    while any(map(is_worker, psutil.Process().children(recursive=True))):
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def fall_out_of(it: Any) -> None:
    for _ in it:
        raise ZeroDivisionError


def leave_by(how: str, forms: Forms, counted: Counted) -> Any:
    """Read some of it and leave."""
    if how == 'break':
        for value in forms.dropped(lambda n: n, counted):
            if value == 100:
                break
    elif how == 'with':
        with forms.imap(lambda n: n, counted) as it:
            assert next(it) == 0
    elif how == 'close':
        it = forms.imap(lambda n: n, counted)
        assert next(it) == 0
        it.close()
    elif how == 'unread':
        it = forms.dropped(lambda n: n, counted)
        wait_until(lambda: counted.made > 0)
        del it
    elif how == 'islice':
        assert list(itertools.islice(forms.dropped(lambda n: n, counted), 50)) == list(range(50))
    elif how == 'raise':
        with pytest.raises(ZeroDivisionError):
            fall_out_of(forms.dropped(lambda n: n, counted))


@pytest.mark.parametrize('how', ['break', 'with', 'close', 'unread', 'islice', 'raise'])
def test_whoever_leaves_ends_it(process_forms: Forms, how: str) -> None:
    """Without the garbage collector, and within half a second: the best of three, for the machine may be busy."""
    gc.disable()
    try:
        for left in (2, 1, 0):
            counted = Counted(itertools.count())
            leave_by(how, process_forms, counted)
            if gone_within(0.5):
                break
            assert left, 'processes are left after half a second'
            assert gone_within(ALARM)
    finally:
        gc.enable()
    kept = {'eisenmp-ray'} if ON_RAY else set()  # the connection to the cluster
    wait_until(lambda: not any(t.name.startswith('eisenmp') and t.name not in kept for t in threading.enumerate()))


@pytest.mark.parametrize('how', ['break', 'with', 'unread'])
def test_whoever_leaves_ends_it_everywhere(forms: Forms, how: str) -> None:
    counted = Counted(itertools.count())
    leave_by(how, forms, counted)
    wait_until(lambda: not any(thread.name == 'eisenmp-dispatcher' for thread in threading.enumerate()))


@pytest.mark.parametrize('how', ['close', 'drop'])
def test_nothing_more_is_read_for_whoever_leaves(swift: Forms, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes until the job is told: the room of a reader who has left is nobody's."""
    kill, killed = eisenmp.Mp.kill, threading.Event()

    def kill_late(emp: eisenmp.Mp) -> None:
        time.sleep(0.1)
        kill(emp)
        killed.set()

    monkeypatch.setattr(eisenmp.Mp, 'kill', kill_late)
    counted = Counted(itertools.count())
    it = swift.dropped(lambda n: n, counted, chunksize=3, buffersize=4)
    assert next(it) == 0
    wait_until(lambda: held_back(it))
    made = counted.made
    if how == 'close':
        it.close()
    else:
        del it
    assert killed.wait(ALARM)
    assert counted.made == made


def test_a_long_call_does_not_hold_up_whoever_leaves(process_forms: Forms) -> None:
    it = process_forms.imap(lambda n: time.sleep(60) if n else n, itertools.count(), chunksize=1, ordered=False)
    assert next(it) == 0
    for left in (2, 1, 0):
        begun = time.monotonic()
        it.close()
        if time.monotonic() - begun < 0.5:
            break
        assert left
        it = process_forms.imap(lambda n: time.sleep(60) if n else n, itertools.count(), chunksize=1, ordered=False)
        assert next(it) == 0


@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
@pytest.mark.parametrize('endless', ['generator', 'call'])
def test_the_end_of_the_program_ends_it(tmp_path: Path, method: str, endless: str) -> None:
    text = f"""
        import itertools, time
        import eisenmp

        def func(item):
            if item and {endless == 'call'}:
                time.sleep(60)
            return item

        it = eisenmp.imap(func, itertools.count(), max_workers=2, chunksize=1, start_method={method!r})
        print(next(it))
    """
    done = run_script(tmp_path, text, flags=strict(method))
    assert (done.stdout, done.stderr) == ('0\n', '')


def test_closed_is_closed(forms: Forms) -> None:
    it = forms.imap(lambda n: n, itertools.count(), chunksize=1, buffersize=4)
    assert [next(it), next(it)] == [0, 1]
    it.close()
    it.close()
    rest = list(it)  # at most what had come already
    assert rest == list(range(2, 2 + len(rest)))
    assert len(rest) <= 4
    assert list(it) == []
    with pytest.raises(StopIteration):
        next(it)


def test_read_to_the_end_it_stays_at_the_end(forms: Forms) -> None:
    with forms.imap(lambda n: n, range(5)) as it:
        assert list(it) == list(range(5))
        assert list(it) == []
        with pytest.raises(StopIteration):
            next(it)
    assert job_of(it).ended.is_set()


def test_next_and_loops_go_on_from_each_other(forms: Forms) -> None:
    it = forms.imap(lambda n: n, range(100), chunksize=3)
    assert iter(it) is iter(it)
    got = [next(it), next(it)]
    for value in it:
        got.append(value)
        if len(got) == 10:
            break
    got.append(next(it))
    got += itertools.islice(it, 20)
    got += it
    assert got == list(range(100))


def test_stop_finishes_what_is_running(forms: Forms) -> None:
    it = forms.imap(lambda n: n, itertools.count(), chunksize=2, buffersize=6)
    assert next(it) == 0
    it.stop()
    rest = list(it)
    assert rest == list(range(1, 1 + len(rest)))
    assert len(rest) <= 12
    assert it.failures == []


def test_two_at_once_and_one_in_the_other(forms: Forms) -> None:
    with forms.imap(lambda n: n, range(300)) as one, forms.imap(lambda n: -n, itertools.count()) as two:
        assert list(zip(one, two, strict=False)) == [(n, -n) for n in range(300)]
    outer = forms.imap(lambda n: n + 1, forms.imap(lambda n: 10 * n, range(300)))
    assert list(outer) == [10 * n + 1 for n in range(300)]


def test_results_are_read_by_another_thread(forms: Forms) -> None:
    it = forms.imap(lambda n: n, range(300), chunksize=2)
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.extend(it))
    thread.start()
    thread.join(ALARM)
    assert got == list(range(300))


def test_it_tells_how_it_stands(forms: Forms) -> None:
    it = forms.imap(str, range(10), chunksize=5)
    assert list(it) == [str(n) for n in range(10)]
    assert repr(it) == '<eisenmp.Imap: mp_input_q (default): all 2 tickets done>'


# ---- errors of the function


def odd_ones_fail(item: int) -> int:
    if item % 7 == 3:
        raise ValueError(item)
    return item


BAD = [n for n in range(400) if n % 7 == 3]


@pytest.mark.parametrize('chunksize', [1, 5, 400, 'auto'])
@pytest.mark.parametrize('make', [range, lambda n: iter(range(n))], ids=['range', 'iterator'])
def test_an_error_is_raised_when_what_came_before_is_read(swift: Forms, chunksize: Any, make: Any) -> None:
    it = swift.imap(odd_ones_fail, make(400), chunksize=chunksize)
    assert [next(it), next(it), next(it)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r'^3$') as caught:
        next(it)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert 'odd_ones_fail' in str(caught.value.__cause__)
    assert list(it) == []
    assert [(failure.index, failure.error) for failure in it.failures] == [(3, caught.value)]
    assert job_of(it).ended.is_set()


@pytest.mark.parametrize('chunksize', [1, 5, 400, 'auto'])
@pytest.mark.parametrize('ordered', [True, False])
def test_errors_are_skipped_and_kept(swift: Forms, chunksize: Any, ordered: bool) -> None:
    it = swift.imap(odd_ones_fail, iter(range(400)), chunksize=chunksize, on_error='skip', ordered=ordered)
    assert sorted(it) == [n for n in range(400) if n not in BAD]
    failures = sorted(it.failures, key=lambda failure: failure.index)
    assert [failure.index for failure in failures] == [failure.error.args[0] for failure in failures] == BAD
    if chunksize != 'auto':
        assert [failure.ticket for failure in failures] == [n // chunksize for n in BAD]


@pytest.mark.parametrize('chunksize', [1, 5, 400, 'auto'])
def test_errors_come_in_the_place_of_their_items(swift: Forms, chunksize: Any) -> None:
    it = swift.imap(odd_ones_fail, iter(range(400)), chunksize=chunksize, on_error='yield')
    got = list(it)
    assert len(got) == 400
    for n, value in enumerate(got):
        if n in BAD:
            assert isinstance(value, ValueError)
            assert value.args == (n,)
        else:
            assert value == n
    assert [failure.index for failure in it.failures] == BAD


@pytest.mark.parametrize('on_error', ['skip', 'yield', 'raise'])
def test_errors_of_a_function_of_chunks(swift: Forms, on_error: str) -> None:
    def func(rows: list[int]) -> int:
        if 17 in rows:
            raise ValueError('17')
        return rows[0]

    it = swift.imap_chunks(func, iter(range(40)), chunksize=5, on_error=on_error)
    if on_error == 'raise':
        assert [next(it) for _ in range(3)] == [0, 5, 10]
        with pytest.raises(ValueError, match='17'):
            next(it)
    else:
        got = list(it)
        assert [value for value in got if isinstance(value, int)] == [0, 5, 10, 20, 25, 30, 35]
        assert on_error == 'skip' or isinstance(got[3], ValueError)
    assert [(failure.index, failure.ticket) for failure in it.failures] == [(15, 3)]


@pytest.mark.parametrize('chunksize', [1, 5])
def test_items_are_tried_again(forms: Forms, chunksize: int) -> None:
    tries: dict[int, int] = {}

    def func(item: int) -> int:
        tries[item] = tries.get(item, 0) + 1
        if item % 9 == 4 and tries[item] <= item % 4:
            raise ValueError(item)
        return tries[item]

    expected = [1 + (n % 4 if n % 9 == 4 else 0) for n in range(100)]
    assert list(forms.imap(func, range(100), chunksize=chunksize, retries=3)) == expected
    it = forms.imap(func, range(100), chunksize=chunksize, retries=2, on_error='skip')
    assert list(it) == [tried for tried in expected if tried < 4]
    assert [failure.index for failure in it.failures] == [n for n, tried in enumerate(expected) if tried == 4]


def test_chunks_are_tried_again(forms: Forms) -> None:
    mark = str(forms.folder / 'mark')

    def func(rows: list[int]) -> int:
        if 7 in rows and not os.path.exists(mark):
            open(mark, 'x').close()
            raise ValueError
        return rows[0]

    assert list(forms.imap_chunks(func, range(20), chunksize=5, retries=1)) == [0, 5, 10, 15]
    assert os.path.exists(mark)


@pytest.mark.parametrize('error', [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_exit_is_an_error_too(forms: Forms, error: BaseException) -> None:
    def func(item: int) -> int:
        if item == 5:
            raise error
        return item

    it = forms.imap(func, range(10), chunksize=1, on_error='skip')
    assert list(it) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert [(failure.index, type(failure.error)) for failure in it.failures] == [(5, type(error))]


@pytest.mark.parametrize('chunksize', [1, 10])
def test_results_that_cannot_be_pickled(forms: Forms, chunksize: int) -> None:
    it = forms.imap(
        lambda n: things.Unpicklable() if n == 13 else n, iter(range(40)), chunksize=chunksize, on_error='yield'
    )
    got = list(it)
    assert isinstance(got[13], PayloadError)
    assert 'this one stays at home' in str(got.pop(13))
    assert got == [n for n in range(40) if n != 13]
    assert [failure.index for failure in it.failures] == [13]


def test_results_that_do_not_open_here_cost_their_chunk(forms: Forms) -> None:
    it = forms.imap(lambda n: things.Bomb() if n == 13 else n, iter(range(40)), chunksize=5, on_error='yield')
    got = list(it)
    assert [n for n, value in enumerate(got) if isinstance(value, Exception)] == [10, 11, 12, 13, 14]
    assert [value for value in got if not isinstance(value, Exception)] == [n for n in range(40) if n // 5 != 2]
    assert [failure.index for failure in it.failures] == [10, 11, 12, 13, 14]
    assert all('_TID_2' in str(failure.error) for failure in it.failures)


@pytest.mark.parametrize('raised', ['a result', 'an error'])
@pytest.mark.parametrize('how', ['dies', 'leaves'])
def test_a_signal_that_hits_while_a_result_is_opened(tmp_path: Path, raised: str, how: str) -> None:
    """What a signal handler raises ends the program; what the result itself raises is an error of its ticket."""
    text = f"""
        import os, signal, sys
        import eisenmp

        manager = os.getpid()

        def opened():
            if os.getpid() == manager and {how == 'dies'}:
                os.kill(manager, signal.SIGTERM)
                sum(range(1000))
            elif os.getpid() == manager:
                sys.exit(8)
            return Slow()

        class Slow(Exception):
            def __reduce__(self):
                return opened, ()

        def func(n):
            if n != 5:
                return n
            if {raised == 'a result'}:
                return Slow()
            raise Slow()

        def leave(*_):
            sys.exit(7)

        signal.signal(signal.SIGTERM, leave)
        it = eisenmp.imap(func, range(10), max_workers=2, start_method='fork', chunksize=1, on_error='yield')
        print([value for value in it if type(value) is int])
        """
    done = run_script(tmp_path, text, flags=strict('fork'), code=7 if how == 'dies' else 0)
    assert done.stdout == ('' if how == 'dies' else '[0, 1, 2, 3, 4, 6, 7, 8, 9]\n')


def test_items_that_do_not_travel(forms: Forms) -> None:
    items = [*range(20), things.Unpicklable(), *range(21, 30), things.Bomb(), *range(31, 40)]
    it = forms.imap(lambda n: n, iter(items), chunksize=1, on_error='skip')
    assert list(it) == [n for n in range(40) if n not in (20, 30)]
    assert [failure.index for failure in it.failures] == [20, 30]
    assert all(isinstance(failure.error, PayloadError) for failure in it.failures)


# ---- errors of the iterable


@pytest.mark.parametrize('chunksize', [1, 7, 'auto'])
@pytest.mark.parametrize('ordered', [True, False])
def test_a_generator_that_raises(swift: Forms, chunksize: Any, ordered: bool) -> None:
    error = OSError('the disk is gone')

    def items() -> Iterator[int]:
        yield from range(100)
        raise error

    it = swift.imap(lambda n: n, items(), chunksize=chunksize, ordered=ordered)
    got: list[int] = []
    with pytest.raises(OSError, match='disk') as caught:
        got.extend(it)
    assert caught.value is error
    assert sorted(got) == list(range(100))
    assert list(it) == []


def test_a_generator_that_raises_at_once(forms: Forms) -> None:
    def items() -> Iterator[float]:
        for divisor in (0, 1):
            yield 1 / divisor

    with pytest.raises(ZeroDivisionError):
        list(forms.imap(str, items()))


# ---- first hit


@pytest.mark.parametrize('form', ['imap', 'imap_chunks'])
@pytest.mark.parametrize('chunksize', [1, 5, 'auto'])
def test_the_first_hit_ends_the_iteration(swift: Forms, form: str, chunksize: Any) -> None:
    def of_item(item: int) -> int:
        if item == 777:
            raise StopJob({'hit': item})
        return item

    def of_chunk(rows: list[int]) -> list[int]:
        return [of_item(item) for item in rows]

    it = getattr(swift, form)(of_item if form == 'imap' else of_chunk, itertools.count(), chunksize=chunksize)
    got = list(it)
    values = got if form == 'imap' else [item for chunk in got for item in chunk]
    assert it.answer == {'hit': 777}
    assert values == sorted(set(values))
    assert 777 not in values
    if chunksize != 'auto':
        assert values[:600] == list(range(600))
    assert it.failures == []


# ---- workers


def test_an_initializer(forms: Forms) -> None:
    def begin(factor: int, *, more: int = 0) -> None:
        things.factor = factor + more  # type: ignore[attr-defined]

    it = forms.imap(lambda n: things.factor * n, range(20), initializer=begin, initargs=iter([3]))  # type: ignore[attr-defined]
    assert list(it) == [3 * n for n in range(20)]


def test_a_failing_initializer_is_one_error(forms: Forms) -> None:
    def begin() -> None:
        raise ValueError('no model here')

    for left in (2, 1, 0):
        begun = time.monotonic()
        it = forms.imap(str, itertools.count(), initializer=begin)
        with pytest.raises(WorkerStartError, match=r'test_short.py, line \d+: ValueError: no model here'):
            next(it)
        if time.monotonic() - begun < (10.0 if ON_RAY else 1.0):
            break
        assert left
    assert list(it) == []


@pytest.mark.parametrize('chunksize', [1, 5])
def test_a_worker_that_dies_once(process_forms: Forms, chunksize: int) -> None:
    mark = str(process_forms.folder / 'mark')

    def func(item: int) -> int:
        if item == 150 and not os.path.exists(mark):
            open(mark, 'x').close()
            os._exit(3)
        return item

    it = process_forms.imap(func, iter(range(300)), chunksize=chunksize)
    assert list(it) == list(range(300))
    assert os.path.exists(mark)
    assert it.failures == []


@pytest.mark.parametrize('chunksize', [1, 5])
def test_a_chunk_that_kills_its_worker_each_time(process_forms: Forms, chunksize: int) -> None:
    it = process_forms.imap(
        lambda n: os._exit(3) if n == 150 else n,
        iter(range(300)),
        chunksize=chunksize,
        crash_retries=1,
        on_error='yield',
    )
    got = list(it)
    bad = [150]
    assert len(got) == 300
    assert [n for n, value in enumerate(got) if isinstance(value, CrashError)] == bad
    assert [value for value in got if not isinstance(value, CrashError)] == [n for n in range(300) if n not in bad]
    assert [failure.index for failure in it.failures] == bad
    assert set(got[150].exits) == {'exit code 3'}
    assert got[150].text == '150'


def test_a_chunk_that_takes_too_long(process_forms: Forms) -> None:
    it = process_forms.imap(
        lambda n: time.sleep(60) if n == 30 else n,
        range(60),
        chunksize=2,
        timeout=0.2,
        crash_retries=0,
        on_error='skip',
    )
    assert list(it) == [n for n in range(60) if n != 30]
    assert [failure.index for failure in it.failures] == [30]
    assert 'CHUNK_TIMEOUT of 0.2 s' in str(it.failures[0].error)


@pytest.mark.parametrize('workers', [1, 3])
def test_how_many_workers(process_forms: Forms, workers: int) -> None:
    with process_forms.imap(lambda _: os.getpid(), itertools.count(), chunksize=1, max_workers=workers) as it:
        seen = {os.getpid()}
        for pid in it:
            seen.add(pid)
            if len(seen) == workers + 1:
                break
        assert len(job_of(it).crew.handles) == workers


# ---- the line of progress


@pytest.mark.parametrize('given', ['(n for n in range(1000)), total=1000', 'range(1000)'])
def test_a_line_of_progress(tmp_path: Path, given: str) -> None:
    text = f"""
        import eisenmp

        with eisenmp.imap(abs, {given}, max_workers=2, progress=True) as it:
            print(sum(it))
    """
    done = run_script(tmp_path, text)
    assert done.stdout == '499500\n'
    assert '100 %' in done.stderr
    assert '1,000/1,000 items' in done.stderr
    assert done.stderr.count('\n') == 1


# ---- wrong arguments


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize('form', [eisenmp.imap, eisenmp.imap_chunks])
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'func': 7}, r'func=7 cannot be called; allowed: a function'),
        ({'iterable': 7}, r'iterable=7 cannot be iterated; allowed: a generator'),
        ({'iterable': numpy.array(7)}, r'iterable=array\(7\) cannot be iterated'),
        ({'iterable': range}, r"iterable=<class 'range'> cannot be iterated"),
        ({'iterable': numbers}, r'iterable=<function numbers .* call the generator function: f\(\)'),
        ({'max_workers': 0}, r'max_workers=0 does not fit; allowed: a whole number from 1'),
        ({'max_workers': 'two'}, r"max_workers='two' does not fit"),
        ({'chunksize': 0}, r"chunksize=0 does not fit; allowed: a whole number from 1 on, 'auto'"),
        ({'chunksize': 'large'}, r"chunksize='large' does not fit"),
        ({'buffersize': 0}, r'buffersize=0 does not fit; allowed: a whole number'),
        ({'ordered': None}, r'ordered=None does not fit; allowed: True, False, or a number'),
        ({'ordered': -1}, r'ordered=-1 does not fit'),
        ({'ordered': 1.5}, r'ordered=1.5 does not fit'),
        ({'timeout': 0}, r'timeout=0 does not fit; allowed: '),
        ({'timeout': 'long'}, r"timeout='long' does not fit"),
        ({'retries': -1}, r'retries=-1 does not fit; allowed: a whole number from 0'),
        ({'retries': None}, r'retries=None does not fit'),
        ({'crash_retries': 0.5}, r'crash_retries=0.5 does not fit'),
        ({'on_error': 'ignore'}, r"on_error='ignore' does not fit; allowed: one of 'raise', 'skip', 'yield'"),
        ({'initializer': 7}, r'initializer=7 cannot be called; allowed: a function, or None'),
        ({'initargs': 7}, r'initargs=7 does not fit; allowed: a tuple'),
        ({'start_method': 'thread'}, r"start_method='thread' does not fit; allowed: one of 'spawn'"),
        ({'engine': 'dask'}, r"engine='dask' does not fit; allowed: one of 'local', 'inline', 'ray'"),
        ({'progress': 'yes'}, r"progress='yes' does not fit; allowed: True or False"),
        ({'total': -1}, r'total=-1 does not fit; allowed: a whole number'),
    ],
)
def test_wrong_arguments_are_refused_with_words(form: Any, options: dict[str, Any], words: str) -> None:
    wrong = {'func': str, 'iterable': [1], **options}
    with pytest.raises(SettingsError, match=words):
        form(wrong.pop('func'), wrong.pop('iterable'), **wrong)


def test_what_cannot_be_pickled_is_told_before_anything_starts() -> None:
    lock = threading.Lock()
    for options in ({'initargs': (lock,), 'initializer': str}, {'initializer': lambda: lock}):
        with pytest.raises(PayloadError, match=r'func, initializer or initargs: .*lock'):
            eisenmp.imap(str, [1], **options)
    with pytest.raises(PayloadError, match='lock'):
        eisenmp.imap(lambda _: lock, [1])


def test_an_unknown_argument_is_pythons_own_error() -> None:
    with pytest.raises(TypeError, match='chunk_size'):
        eisenmp.imap(str, [1], chunk_size=3)  # type: ignore[call-arg]


pytestmark = FORKS
