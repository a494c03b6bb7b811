"""Queues in a worker's hands, with an inbox that gives what the test put there."""

from __future__ import annotations

import inspect
import queue
from collections import deque
from typing import Any

import pytest

from eisenmp.constants import OUTPUT_HEADER, STOP_MSG
from eisenmp.errors import PayloadError
from eisenmp.payload import dumps, loads, loads_error
from eisenmp.wire import FOREVER, Buffer, Frame, Kind, encode
from eisenmp.worker.batch import Batch, answer_message
from eisenmp.worker.inbox import Lease
from eisenmp.worker.proxies import OutputProxy, PrintProxy, QueueProxy
from tests.unit.fakes import frames_of

Q = 5
NUMBERS = {'q': Q, 'batch_1|video_in': 6, 'mp_output_q (default)': 1}


class FakeInbox:
    """Channel, inbox and toolbox in one."""

    def __init__(self, *replies: list[Buffer]) -> None:
        self.channel = self.toolbox = self
        self.replies: deque[Frame] = deque(frame for pieces in replies for frame in frames_of(pieces))
        self.sent: list[Frame] = []
        self.waits: list[float] = []
        self.leases: dict[int, Lease] = {}
        self.lying_ahead = 0
        self.answers = self.stock = self
        self.opened: deque[tuple[Batch, int]] = deque()
        self.NEXT_LIST: Any = None

    def send(self, *messages: list[Buffer]) -> None:
        for pieces in messages:
            self.sent += frames_of(pieces)

    def take(self, number: int, timeout: float, *answers: list[Buffer]) -> Frame:
        self.send(*answers)
        self.waits.append(timeout)
        return self.replies.popleft()

    def ask(self, kind: int, number: int, timeout: float, payload: tuple[Buffer, ...] = ()) -> Frame:
        self.send(encode(kind, payload, queue=number, number=timeout))
        self.waits.append(timeout)
        return self.replies.popleft()

    def note(self, lease: Lease) -> None:
        self.send(answer_message(lease.queue, lease.serial, lease.seconds(), lease.value))

    def open(self, batch: Batch) -> None:
        self.opened.extend([(batch, at) for at in range(batch.tickets)])

    def next_opened(self, number: int) -> tuple[Batch, int] | None:
        return self.opened.popleft() if self.opened else None

    def keep_result(self, number: int, serial: int, value: tuple[Buffer, ...]) -> bool:
        lease = self.leases.get(number)
        if lease is None or lease.serial != serial:
            return False
        lease.value = lease.value or value
        return True

    def hold(self, queue: int, serial: int, batch: object = None) -> Lease:
        lease = self.leases[queue] = Lease(queue, serial, batch)
        return lease

    def let_go(self, number: int) -> Lease | None:
        return self.leases.pop(number, None)

    def count(self, number: int) -> int:
        return self.lying_ahead


def chunk(serial: int, *items: Any) -> list[Buffer]:
    return encode(Kind.CHUNK, dumps(list(items)), queue=Q, serial=serial, number=1.0)


def proxy(inbox: FakeInbox, maxsize: int = 0) -> QueueProxy:
    return QueueProxy(inbox, Q, 'q', maxsize)  # type: ignore[arg-type]


def output(inbox: FakeInbox) -> OutputProxy:
    return OutputProxy(inbox, 1, 'mp_output_q (default)', 0, NUMBERS)  # type: ignore[arg-type]


@pytest.mark.parametrize('name', ['put', 'get', 'put_nowait', 'get_nowait', 'qsize', 'empty', 'full'])
def test_the_surface_is_that_of_queue_queue(name: str) -> None:
    ours = list(inspect.signature(getattr(QueueProxy, name)).parameters.values())
    theirs = list(inspect.signature(getattr(queue.Queue, name)).parameters.values())
    first = 2 if name.startswith('put') else 1
    assert [(p.name, p.default) for p in ours[first:]] == [(p.name, p.default) for p in theirs[first:]]


# ---- get


def test_a_chunk_is_a_list_with_its_header_first() -> None:
    inbox = FakeInbox(chunk(7, 'a', 'b'))
    rows = proxy(inbox).get()
    assert rows == ['q;_TID_7;', 'a', 'b']
    assert inbox.NEXT_LIST is rows
    assert inbox.waits == [FOREVER]


def test_asking_again_answers_the_chunk_before() -> None:
    inbox = FakeInbox(chunk(7), chunk(8))
    q = proxy(inbox)
    q.get()
    assert inbox.sent == []
    q.get()
    (frame,) = inbox.sent
    assert (frame.kind, frame.queue, frame.serial, frame.flags) == (Kind.ANSWER, Q, 7, 0)
    assert frame.number >= 0


def test_the_end_of_the_stream() -> None:
    inbox = FakeInbox(chunk(7), encode(Kind.END, queue=Q))
    q = proxy(inbox)
    q.get()
    rows = q.get()
    assert rows[1:] == [STOP_MSG]
    assert '_TID_' not in rows[0]
    assert [frame.serial for frame in inbox.sent] == [7]
    assert inbox.leases == {}


def test_a_message_comes_as_it_was_put() -> None:
    inbox = FakeInbox(encode(Kind.MESSAGE, dumps({'by': 'hand'}), queue=Q))
    assert proxy(inbox).get() == {'by': 'hand'}
    assert inbox.leases == {}


def test_nothing_there() -> None:
    inbox = FakeInbox(encode(Kind.EMPTY), encode(Kind.EMPTY), encode(Kind.EMPTY))
    q = proxy(inbox)
    with pytest.raises(queue.Empty):
        q.get(timeout=1.5)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(block=False)
    assert inbox.waits[0] == 1.5
    assert all(0 < wait <= 0.05 for wait in inbox.waits[1:])  # old polling loops must not burn a core


def test_a_chunk_is_answered_though_nothing_follows() -> None:
    inbox = FakeInbox(chunk(7), encode(Kind.EMPTY), encode(Kind.EMPTY))
    q = proxy(inbox)
    q.get()
    for _ in range(2):
        with pytest.raises(queue.Empty):
            q.get_nowait()
    assert [(frame.kind, frame.serial) for frame in inbox.sent] == [(Kind.ANSWER, 7)]


def test_a_negative_time_out_is_refused_before_anything_is_answered() -> None:
    inbox = FakeInbox(chunk(7))
    q = proxy(inbox)
    q.get()
    with pytest.raises(ValueError, match='non-negative'):
        q.get(timeout=-1)
    assert inbox.sent == []
    assert list(inbox.leases) == [Q]


def test_a_chunk_that_cannot_be_unpickled_fails_its_ticket_and_the_next_one_comes() -> None:
    bad = encode(Kind.CHUNK, (b'\x80\x05cno_such_module\nThing\n.',), queue=Q, serial=7)
    inbox = FakeInbox(bad, chunk(8, 'good'))
    assert proxy(inbox).get() == ['q;_TID_8;', 'good']
    (frame,) = inbox.sent
    assert (frame.kind, frame.queue, frame.serial) == (Kind.FAILED, Q, 7)
    error = loads_error(frame.payload)
    assert isinstance(error, PayloadError)
    assert 'no_such_module' in str(error)
    assert [lease.serial for lease in inbox.leases.values()] == [8]


# ---- put


def test_a_put_without_a_bound_waits_for_nothing() -> None:
    inbox = FakeInbox()
    proxy(inbox).put({'x': 1})
    proxy(inbox).put_nowait(2)
    assert [(f.kind, f.queue, f.serial, loads(f.payload)) for f in inbox.sent] == [
        (Kind.PUT, Q, 0, {'x': 1}),
        (Kind.PUT, Q, 0, 2),
    ]


def test_a_put_into_a_bounded_queue() -> None:
    inbox = FakeInbox(encode(Kind.ACCEPTED), encode(Kind.FULL), encode(Kind.FULL))
    q = proxy(inbox, maxsize=1)
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, timeout=0.5)
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    assert inbox.waits == [FOREVER, 0.5, 0.0]


@pytest.mark.parametrize('maxsize', [0, 1])
def test_what_cannot_be_pickled_is_not_put(maxsize: int) -> None:
    inbox = FakeInbox()
    with pytest.raises(PayloadError):
        proxy(inbox, maxsize).put(n for n in 'abc')
    assert inbox.sent == []


def test_looking() -> None:
    counts = [encode(Kind.COUNT, number=float(n), flags=end) for n, end in ((3, 0), (2, 0), (0, 0), (0, 1), (1, 0))]
    inbox = FakeInbox(*counts)
    q = proxy(inbox, maxsize=2)
    assert q.qsize() == 3
    assert q.full()
    assert q.empty()
    assert not q.empty()  # the end is something to get
    assert not q.empty()
    inbox.lying_ahead = 1
    assert not q.empty()


# ---- mp_output_q


@pytest.mark.parametrize(
    ('obj', 'ticket', 'result'),
    [
        ([OUTPUT_HEADER + 'q;_TID_7;', 'r'], (Q, 7), 'r'),
        (['q;_TID_7;', 'r'], (Q, 7), 'r'),
        ((OUTPUT_HEADER + 'batch_1|video_in;_TID_0;', None), (6, 0), None),
        ([OUTPUT_HEADER + 'q;_TID_7;', 'r', 's'], (Q, 7), ['r', 's']),
        ([OUTPUT_HEADER + 'q;_TID_7;'], (Q, 7), []),
    ],
)
def test_what_is_put_under_a_header_is_that_ticket_s_result(obj: Any, ticket: tuple[int, int], result: Any) -> None:
    inbox = FakeInbox()
    output(inbox).put(obj)
    (frame,) = inbox.sent
    assert (frame.kind, (frame.queue, frame.serial)) == (Kind.RESULT, ticket)
    assert loads(frame.payload) == result


def test_what_is_put_under_a_closing_header() -> None:
    inbox = FakeInbox(encode(Kind.END, queue=Q))
    header, _ = proxy(inbox).get()
    output(inbox).put([OUTPUT_HEADER + header, {'sum': 7}])
    (frame,) = inbox.sent
    assert (frame.kind, frame.queue, loads(frame.payload)) == (Kind.CLOSING, Q, {'sum': 7})


@pytest.mark.parametrize(
    'obj',
    ['text', [], ['no header', 1], [OUTPUT_HEADER + 'unknown;_TID_1;', 1], [7, 8], {'q;_TID_7;': 1}, None, 'q;_TID_7;'],
    ids=repr,
)
def test_anything_else_on_it_is_a_message(obj: Any) -> None:
    inbox = FakeInbox()
    output(inbox).put(obj)
    (frame,) = inbox.sent
    assert (frame.kind, frame.queue, loads(frame.payload)) == (Kind.PUT, 1, obj)


def test_a_result_that_cannot_be_pickled_raises_where_it_is_put() -> None:
    inbox = FakeInbox()
    with pytest.raises(PayloadError):
        output(inbox).put([OUTPUT_HEADER + 'q;_TID_7;', (n for n in 'abc')])
    assert inbox.sent == []


# ---- mp_print_q


@pytest.mark.parametrize('obj', ['größer', 7, None, ['a', 1], 'a\udce9'], ids=repr)
def test_prints(obj: Any) -> None:
    inbox = FakeInbox()
    PrintProxy(inbox, 2, 'mp_print_q (default)', 0).put(obj)  # type: ignore[arg-type]
    (frame,) = inbox.sent
    assert frame.kind == Kind.PRINT
    assert bytes(frame.body).decode() == str(obj).encode('utf-8', 'backslashreplace').decode()
