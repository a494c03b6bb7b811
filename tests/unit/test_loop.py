"""Calling the user's function, with an inbox that holds what the test put there."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from eisenmp.errors import PayloadError, RemoteError, StopJob
from eisenmp.payload import dumps, loads, loads_error
from eisenmp.wire import ANY_QUEUE, HAS_VALUE, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import answer_message
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.inbox import Lease
from eisenmp.worker.loop import bind, call_until_done, run_plain, wants_toolbox
from tests.unit.fakes import frames_of

Q = 5


class FakeChannel:
    def __init__(self) -> None:
        self.sent: list[Frame] = []

    def send(self, *messages: list[Buffer]) -> None:
        for pieces in messages:
            self.sent += frames_of(pieces)


class FakeInbox:
    """Gives the frames it was made with, then END."""

    def __init__(self, *frames: list[Buffer]) -> None:
        self.channel = FakeChannel()
        self.frames: deque[Frame] = deque(frame for pieces in frames for frame in frames_of(pieces))
        self.held: dict[int, Lease] = {}
        self.answers = self.stock = self
        self.at_work: object = None
        self.begun: list[object] = []

    def note(self, lease: Lease) -> None:
        self.channel.send(answer_message(lease.queue, lease.serial, lease.seconds(), lease.value))

    def noted(self) -> None:
        pass

    def begin(self, run: object, tickets: int) -> None:
        self.begun.append(run)

    def take(self, queue: int, timeout: float, *answers: list[Buffer]) -> Frame:
        assert queue == ANY_QUEUE
        assert not self.held
        self.channel.send(*answers)
        if not self.frames:
            return frames_of(encode(Kind.END, queue=queue))[0]
        return self.frames.popleft()

    def hold(self, queue: int, serial: int, batch: object = None) -> Lease:
        lease = self.held[queue] = Lease(queue, serial, batch)
        return lease

    def let_go(self, queue: int) -> Lease | None:
        return self.held.pop(queue, None)

    def let_go_all(self) -> list[Lease]:
        leases = sorted(self.held.values(), key=lambda lease: lease.begun)
        self.held.clear()
        return leases

    def newest(self) -> Lease | None:
        return next(reversed(self.held.values()), None)


class FakeToolbox:
    def __init__(self) -> None:
        self.NEXT_LIST: Any = None
        self.stopped: list[Any] = []

    def stop_job(self, value: Any = None) -> None:
        self.stopped.append(value)


def chunk(serial: int, *items: Any, queue: int = Q) -> list[Buffer]:
    return encode(Kind.CHUNK, dumps(list(items)), queue=queue, serial=serial, number=1.0)


def plain(inbox: FakeInbox, entry: Callable[..., Any], *, per_item: bool = False) -> FakeToolbox:
    toolbox = FakeToolbox()
    run_plain(inbox, toolbox, bind(entry, toolbox), per_item=per_item)  # type: ignore[arg-type]
    return toolbox


def classic(inbox: FakeInbox, entry: Callable[..., Any]) -> FakeToolbox:
    toolbox = FakeToolbox()
    call_until_done(inbox, toolbox, entry)  # type: ignore[arg-type]
    return toolbox


def answers(inbox: FakeInbox) -> list[tuple[int, int, Any]]:
    return [
        (frame.kind, frame.serial, loads(frame.payload) if frame.flags & HAS_VALUE else None)
        for frame in inbox.channel.sent
    ]


def error_of(frame: Frame) -> BaseException:
    assert frame.kind == Kind.FAILED
    return loads_error(frame.payload)


# ---- the plain style


def test_a_function_of_the_chunk() -> None:
    inbox = FakeInbox(chunk(0, 1, 2, 3), chunk(1, 4), chunk(0, 10, queue=6))
    plain(inbox, sum)
    assert answers(inbox) == [(Kind.ANSWER, 0, 6), (Kind.ANSWER, 1, 4), (Kind.ANSWER, 0, 10)]
    assert [frame.queue for frame in inbox.channel.sent] == [Q, Q, 6]
    assert all(frame.number >= 0 for frame in inbox.channel.sent)


def test_a_function_of_the_item() -> None:
    inbox = FakeInbox(chunk(0, 1, 2, 3), chunk(1))
    plain(inbox, lambda item: 10 * item, per_item=True)
    assert answers(inbox) == [(Kind.ANSWER, 0, [10, 20, 30]), (Kind.ANSWER, 1, [])]


def test_the_toolbox_may_be_the_second_parameter() -> None:
    seen: list[Any] = []

    def entry(rows: list[int], toolbox: Any) -> int:
        seen.append((toolbox, toolbox.NEXT_LIST))
        return len(rows)

    toolbox = plain(FakeInbox(chunk(0, 7, 8)), entry)
    assert seen == [(toolbox, [7, 8])]


def test_a_result_of_none_is_a_result() -> None:
    inbox = FakeInbox(chunk(0, 1))
    plain(inbox, lambda rows: None)
    (frame,) = inbox.channel.sent
    assert frame.flags & HAS_VALUE
    assert loads(frame.payload) is None


@pytest.mark.parametrize('error', [ValueError('bad'), SystemExit(3), KeyboardInterrupt(), MemoryError()], ids=repr)
def test_an_exception_fails_its_ticket_and_nothing_else(error: BaseException) -> None:
    def entry(rows: list[int]) -> int:
        if rows == [1]:
            raise error
        return sum(rows)

    inbox = FakeInbox(chunk(0, 1), chunk(1, 2))
    plain(inbox, entry)
    failed, answered = inbox.channel.sent
    assert (failed.queue, failed.serial) == (Q, 0)
    assert type(error_of(failed)) is type(error)
    assert (answered.kind, answered.serial) == (Kind.ANSWER, 1)


def test_a_result_that_cannot_be_pickled_fails_its_ticket() -> None:
    inbox = FakeInbox(chunk(0, 1), chunk(1, 2))
    plain(inbox, lambda rows: threading.Lock() if rows == [1] else rows)
    failed, answered = inbox.channel.sent
    assert isinstance(error_of(failed), PayloadError)
    assert 'lock cannot be pickled' in str(error_of(failed))
    assert answered.kind == Kind.ANSWER


def test_items_that_cannot_be_unpickled_fail_their_ticket() -> None:
    bad = encode(Kind.CHUNK, (b'\x80\x05cno_such_module\nThing\n.',), queue=Q, serial=4, number=1.0)
    inbox = FakeInbox(bad, chunk(5, 2))
    plain(inbox, sum)
    failed, answered = inbox.channel.sent
    assert (failed.serial, type(error_of(failed))) == (4, PayloadError)
    assert 'no_such_module' in str(error_of(failed))
    assert answered.serial == 5


def test_stop_job_answers_the_ticket_too() -> None:
    def entry(rows: list[int]) -> None:
        raise StopJob('found')

    inbox = FakeInbox(chunk(0, 1))
    toolbox = plain(inbox, entry)
    assert toolbox.stopped == ['found']
    assert answers(inbox) == [(Kind.ANSWER, 0, None)]


def test_the_manager_s_end_is_no_failure_of_the_ticket() -> None:
    def entry(rows: list[int]) -> None:
        raise Disconnected

    inbox = FakeInbox(chunk(0, 1))
    with pytest.raises(Disconnected):
        plain(inbox, entry)
    assert not inbox.channel.sent


def test_a_message_put_by_hand_does_not_end_a_plain_worker() -> None:
    inbox = FakeInbox(encode(Kind.MESSAGE, dumps('by hand'), queue=Q, serial=1), chunk(0, 1, 2))
    plain(inbox, sum)
    assert (Kind.ANSWER, 0, 3) in answers(inbox)


# ---- the classic style


def test_it_is_called_until_it_returns_something_falsy() -> None:
    endings: list[Any] = [None, False, 0, '', []]
    for falsy in endings:
        left = deque([1, True, 'again', falsy, 'never'])

        def entry(toolbox: Any, left: deque[Any] = left) -> Any:
            return left.popleft()

        classic(FakeInbox(), entry)
        assert list(left) == ['never']


def holding(inbox: FakeInbox, *serials: int) -> None:
    for serial in serials:
        frame = frames_of(chunk(serial, queue=Q + serial))[0]
        inbox.hold(frame.queue, frame.serial)


def test_what_a_call_still_holds_is_answered_when_it_returns_oldest_first() -> None:
    inbox = FakeInbox()

    def entry(toolbox: Any) -> bool:
        holding(inbox, 0, 1)
        return False

    classic(inbox, entry)
    assert answers(inbox) == [(Kind.ANSWER, 0, None), (Kind.ANSWER, 1, None)]


def test_what_a_call_holds_fails_when_it_raises_and_the_worker_lives_on() -> None:
    inbox = FakeInbox()
    calls: list[int] = []

    def entry(toolbox: Any) -> bool:
        calls.append(1)
        if len(calls) <= 10:
            holding(inbox, len(calls))
            raise ValueError(len(calls))
        return False

    classic(inbox, entry)
    assert len(calls) == 11
    assert [(frame.kind, frame.serial) for frame in inbox.channel.sent] == [(Kind.FAILED, n) for n in range(1, 11)]


def test_three_calls_in_a_row_that_fail_without_a_ticket_end_the_worker() -> None:
    inbox = FakeInbox()
    calls: list[int] = []

    def entry(toolbox: Any) -> bool:
        calls.append(1)
        if len(calls) in (3, 6):
            return True
        raise RuntimeError(f'call {len(calls)}')

    classic(inbox, entry)
    assert len(calls) == 9
    assert all((frame.kind, frame.queue) == (Kind.FAILED, ANY_QUEUE) for frame in inbox.channel.sent)
    assert str(error_of(inbox.channel.sent[0])) == 'call 1'


def test_stop_job_raised_ends_the_worker() -> None:
    inbox = FakeInbox()

    def entry(toolbox: Any) -> bool:
        holding(inbox, 0)
        raise StopJob(42)

    assert classic(inbox, entry).stopped == [42]
    assert answers(inbox) == [(Kind.ANSWER, 0, None)]


def test_a_return_value_without_a_truth_value_is_an_error_of_the_call() -> None:
    class Ambiguous:
        def __bool__(self) -> bool:
            raise ValueError('the truth value is ambiguous')

    inbox = FakeInbox()
    classic(inbox, lambda toolbox: Ambiguous())
    assert 'ambiguous' in str(error_of(inbox.channel.sent[0]))


def test_an_answer_to_stop_job_that_cannot_be_pickled_is_told() -> None:
    class Toolbox(FakeToolbox):
        def stop_job(self, value: Any = None) -> None:
            dumps(value)

    inbox = FakeInbox()
    calls: list[int] = []

    def entry(toolbox: Any) -> bool:
        calls.append(1)
        if len(calls) > 1:
            return False
        holding(inbox, 0)
        raise StopJob(threading.Lock())

    call_until_done(inbox, Toolbox(), entry)  # type: ignore[arg-type]
    error = error_of(inbox.channel.sent[0])
    assert isinstance(error, PayloadError | RemoteError)
    assert inbox.channel.sent[0].serial == 0


def test_an_answer_to_stop_job_that_cannot_be_pickled_is_told_in_the_plain_style_too() -> None:
    class Toolbox(FakeToolbox):
        def stop_job(self, value: Any = None) -> None:
            dumps(value)

    def entry(rows: list[int]) -> None:
        raise StopJob(threading.Lock())

    inbox = FakeInbox(chunk(0, 1))
    run_plain(inbox, Toolbox(), entry, per_item=False)  # type: ignore[arg-type]
    assert isinstance(error_of(inbox.channel.sent[0]), PayloadError)
    assert inbox.channel.sent[0].serial == 0


# ---- wants_toolbox


def rows_only(rows: Any) -> None: ...
def rows_and_toolbox(rows: Any, toolbox: Any) -> None: ...
def rows_and_default_toolbox(rows: Any, toolbox: Any = None) -> None: ...
def rows_and_another(rows: Any, box: Any) -> None: ...
def rows_and_option(rows: Any, limit: int = 3) -> None: ...
def rows_and_rest(rows: Any, *rest: Any) -> None: ...
def keyword_only(rows: Any, *, toolbox: Any = None) -> None: ...
def three(rows: Any, toolbox: Any, limit: int = 3) -> None: ...
def positional(rows: Any, toolbox: Any, /) -> None: ...
def nothing() -> None: ...


class Callable_:
    def __init__(self, second: bool = False) -> None: ...
    def __call__(self, rows: Any, toolbox: Any) -> None: ...
    def method(self, rows: Any) -> None: ...
    def method_with(self, rows: Any, toolbox: Any) -> None: ...
    @staticmethod
    def static(rows: Any, toolbox: Any) -> None: ...


@pytest.mark.parametrize(
    ('entry', 'wants'),
    [
        (rows_only, False),
        (rows_and_toolbox, True),
        (rows_and_default_toolbox, True),
        (rows_and_another, True),
        (rows_and_option, False),
        (rows_and_rest, False),
        (keyword_only, False),
        (three, True),
        (positional, True),
        (nothing, False),
        (lambda rows: rows, False),
        (lambda rows, toolbox: rows, True),
        (Callable_(), True),
        (Callable_().method, False),
        (Callable_().method_with, True),
        (Callable_.static, True),
        (functools.partial(rows_and_toolbox, toolbox=1), False),
        (functools.partial(three, limit=1), True),
        (functools.lru_cache(rows_and_toolbox), True),
        (sum, False),
        (len, False),
        (sorted, False),
        (max, False),
        (min, False),
        (str.upper, False),
        (list, False),
        (print, False),
    ],
    ids=lambda value: getattr(value, '__name__', type(value).__name__) if callable(value) else '',
)
def test_wants_toolbox(entry: Callable[..., Any], wants: bool) -> None:
    assert wants_toolbox(entry) is wants
