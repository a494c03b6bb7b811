"""Both ends of a channel that share memory, in one process, and a peer that talks nonsense about it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import eisenmp.ring
from eisenmp.engines.channel import ManagerChannel
from eisenmp.errors import ProtocolError
from eisenmp.payload import dumps, loads
from eisenmp.ring import Lender, Memory, packed
from eisenmp.wire import HEAD_BYTES, LARGE, Buffer, Frame, Kind, encode
from eisenmp.worker.channel import WorkerChannel
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not hasattr(socket, 'send_fds'), reason='no descriptors over sockets')


class Pair:
    """A manager's channel and a worker's, each at one end of a socket pair."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.manager = ManagerChannel(ours, shares=True)
        self.theirs = theirs
        self.came: list[Frame] = []
        self.worker = WorkerChannel(theirs, self.came.append, shared_process=True)
        self.counted = 0  # bytes that went through the socket to the worker
        read = self.worker._read

        def count(room: memoryview) -> int:
            got = read(room)
            self.counted += got
            return got

        self.worker._read = count  # type: ignore[method-assign]

    def tell(self, *messages: list[Buffer]) -> None:
        """From the manager to the worker, all of it."""
        for message in messages:
            self.manager.keep(message)
        wanted = len(self.came) + len(messages)
        sender = threading.Thread(target=self._flush)
        sender.start()
        self.worker.wait_for(lambda: len(self.came) >= wanted)
        sender.join()

    def _flush(self) -> None:
        while not self.manager.flush():
            pass

    def hear(self, count: int) -> list[Frame]:
        """What the worker has sent, until there are so many messages."""
        frames: list[Frame] = []

        def enough() -> bool:
            more, closed = self.manager.receive()
            assert not closed
            frames.extend(more)
            return len(frames) >= count

        wait_until(enough)
        return frames

    def share(self) -> None:
        """The first large piece, which makes both sides share memory."""
        self.tell(chunk(np.zeros(LARGE)))
        self.came.clear()
        assert self.hear(0) == []
        assert self.worker._shared is not None
        self.counted = 0

    def close(self) -> None:
        self.came.clear()
        self.manager.close()
        self.theirs.close()
        if self.worker._shared is not None:
            while self.worker._shared[0].done():
                pass
            for memory in list(eisenmp.ring._open):
                memory.close()


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    monkeypatch.setattr(Lender, 'live_on', lambda _: None)  # to the end of the process, that is
    made = Pair()
    yield made
    made.close()


def chunk(obj: Any, serial: int = 0) -> list[Buffer]:
    return encode(Kind.CHUNK, dumps(obj), serial=serial)


def result(obj: Any, serial: int = 0) -> list[Buffer]:
    return encode(Kind.ANSWER, dumps(obj), serial=serial)


def test_nothing_is_shared_for_small_messages(pair: Pair) -> None:
    pair.tell(*[chunk([n] * 100) for n in range(50)])
    pair.tell(chunk(bytes(LARGE - 200)))
    assert pair.worker._shared is None
    assert list(eisenmp.ring._open) == []


@pytest.mark.parametrize('obj', [b'x' * (4 << 20), 'ü' * (1 << 20), np.arange(500_000)], ids=['bytes', 'str', 'array'])
def test_large_objects_both_ways(pair: Pair, obj: Any) -> None:
    pair.tell(chunk(obj))
    assert pair.counted > 1 << 20, 'the first one goes through the socket'
    first = loads(pair.came.pop().payload)
    pair.share()
    pair.tell(chunk(obj))
    assert pair.counted < 1000, 'the others do not'
    second = loads(pair.came.pop().payload)
    pair.worker.send(result(second, serial=7))
    (frame,) = pair.hear(1)
    assert frame.serial == 7
    third = loads(frame.payload)
    for came in (first, second, third):
        assert type(came) is type(obj)
        assert (came == obj).all() if isinstance(obj, np.ndarray) else came == obj
        assert not isinstance(came, np.ndarray) or came.flags.writeable


def test_a_large_result_makes_the_manager_offer_memory(pair: Pair) -> None:
    sender = threading.Thread(target=lambda: pair.worker.send(result(np.arange(500_000))))
    sender.start()
    pair.hear(1)
    sender.join()
    pair.tell(chunk(1))
    assert pair.hear(0) == []
    assert pair.worker._shared is not None
    pair.worker.send(result(np.arange(500_000)))  # nobody reads: the socket would make it wait
    (frame,) = pair.hear(1)
    assert (loads(frame.payload) == np.arange(500_000)).all()


def test_ready_and_the_first_large_result_may_come_in_one_go(pair: Pair) -> None:
    pair.tell(chunk(np.zeros(LARGE)))
    pair.worker.send(result(np.arange(500_000)))
    (frame,) = pair.hear(1)
    assert (loads(frame.payload) == np.arange(500_000)).all()


def test_what_is_kept_stays_and_the_rest_is_used_again(pair: Pair) -> None:
    pair.share()
    kept = []
    for n in range(300):
        pair.tell(chunk(np.full(1 << 19, n)))  # 4 MiB; eight would fill it
        array = loads(pair.came.pop().payload)
        assert (array == n).all()
        if n in (3, 50):
            kept.append(array[1000:2000])
        if n == 100:
            kept.append(array)
        del array
        pair.worker.send(encode(Kind.GET))
        pair.hear(1)
    assert pair.counted < 1 << 20
    assert [set(array.tolist()) for array in kept] == [{3}, {50}, {100}]


def test_without_room_it_goes_through_the_socket(pair: Pair) -> None:
    pair.share()
    kept = []
    for n in range(20):
        pair.tell(chunk(np.full(1 << 19, n)))
        kept.append(loads(pair.came.pop().payload))
    assert pair.counted > 10 * (4 << 20)
    assert [(array.min(), array.max()) for array in kept] == [(n, n) for n in range(20)]
    del kept[5:]
    pair.worker.send(encode(Kind.GET))
    pair.hear(1)
    pair.counted = 0
    pair.tell(chunk(np.full(1 << 19, 77)))
    assert pair.counted < 1000
    assert [(array.min(), array.max()) for array in kept] == [(n, n) for n in range(5)]


def test_results_without_room_go_through_the_socket(pair: Pair) -> None:
    """The manager does not read; the worker must not wait for it before the socket makes it wait."""
    pair.share()

    def send() -> None:
        for n in range(20):
            pair.worker.send(result(np.full(1 << 19, n), n))

    sender = threading.Thread(target=send)
    sender.start()
    frames = pair.hear(20)
    sender.join()
    for n, frame in enumerate(frames):
        array = loads(frame.payload)
        assert (frame.serial, array.min(), array.max()) == (n, n, n)
    pair.tell(chunk(1))
    assert pair.worker._shared is not None
    writer = pair.worker._shared[1]
    assert writer._slots.taken == {}, 'the manager has told that it is done'


def test_what_is_larger_than_the_memory(pair: Pair) -> None:
    pair.share()
    huge = b'h' * (40 << 20)
    pair.tell(chunk(huge))
    assert loads(pair.came.pop().payload) == huge


def test_a_worker_that_cannot_map_it_goes_on_without(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Memory, fd: int) -> None:
        os.close(fd)
        raise OSError('cannot allocate memory')

    pair.tell(chunk(1))
    manager_memory = Memory.new()
    monkeypatch.setattr(Memory, 'new', classmethod(lambda cls: manager_memory))
    monkeypatch.setattr(Memory, '__init__', refuse)
    for n in range(3):
        pair.tell(chunk(np.full(1 << 19, n)))
        assert (loads(pair.came.pop().payload) == n).all()
    assert pair.counted > 3 * (4 << 20)
    assert pair.worker._shared is None


@pytest.mark.parametrize('kind', [Kind.SETUP, Kind.SHARE])
def test_nothing_comes_before_the_first_messages(pair: Pair, kind: int) -> None:
    """A shared object comes as one of them, large as it is, where there is no file to lay it down in."""
    pair.manager.keep(encode(kind, dumps(bytes(LARGE))))
    pair.manager.flush()
    assert pair.theirs.recv(1)[0] == kind


def test_a_manager_that_gets_no_memory_asks_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(cls: type[Memory]) -> Memory:
        asked.append(1)
        raise OSError('no space left')

    monkeypatch.setattr(Memory, 'new', classmethod(refuse))
    for n in range(3):
        pair.tell(chunk(np.full(1 << 19, n)))
        assert (loads(pair.came.pop().payload) == n).all()
    assert asked == [1]


def test_the_descriptor_does_not_get_lost_among_other_messages(pair: Pair) -> None:
    messages = [chunk(n) for n in range(200)]
    messages[100:100] = [chunk(np.arange(LARGE))]
    pair.tell(*messages)
    assert len(pair.came) == 201
    assert [loads(frame.payload) for frame in pair.came[:100]] == list(range(100))
    assert pair.hear(0) == []
    assert pair.worker._shared is not None


def test_closing_leaves_nothing_open(pair: Pair) -> None:
    pair.tell(chunk(np.arange(LARGE)))
    pair.manager.keep(chunk(np.arange(LARGE)))
    assert len(eisenmp.ring._open) == 2
    pair.close()
    assert list(eisenmp.ring._open) == []


# ---- nonsense

PLACED = 0x80


def placed_at(offset: int, size: int) -> bytes:
    """An answer whose body is said to lie there."""
    head = bytearray(encode(Kind.ANSWER)[0])
    head[1] |= PLACED
    head[HEAD_BYTES - 8 :] = size.to_bytes(8, 'little')
    return bytes(head) + offset.to_bytes(8, 'little')


HALF = eisenmp.ring.HALF
NONSENSE: dict[str, Callable[[], bytes]] = {
    'ready twice': lambda: bytes(encode(Kind.RING_READY)[0]),
    'free, and never taken': lambda: bytes(encode(Kind.FREED, (packed([4096]),))[0]),
    'free twice': lambda: bytes(encode(Kind.FREED, (packed([0, 0]),))[0]),
    'free, cut short': lambda: bytes(encode(Kind.FREED, (b'12345',))[0]),
    'beyond the end': lambda: placed_at(HALF, 1),
    'too long': lambda: placed_at(0, HALF + 1),
    'far away': lambda: placed_at(2**64 - 2, 10),
    'absurdly long': lambda: placed_at(0, 2**63),
    'the same bytes over and over': lambda: placed_at(0, HALF) * 2,
}


@pytest.mark.parametrize('what', NONSENSE)
def test_nonsense_of_a_worker_is_an_error_of_its_own(pair: Pair, what: str) -> None:
    pair.share()
    pair.manager.keep(chunk(np.arange(LARGE)))
    pair.manager.flush()
    pair.theirs.sendall(NONSENSE[what]())
    with pytest.raises(ProtocolError):
        wait_until(lambda: pair.manager.receive()[0])


@pytest.mark.parametrize('shares', [True, False])
@pytest.mark.parametrize('message', [bytes(encode(Kind.RING_READY)[0]), NONSENSE['free twice'](), placed_at(0, 10)])
def test_talk_about_memory_that_is_not_shared(message: bytes, shares: bool) -> None:
    ours, theirs = socket.socketpair()
    channel = ManagerChannel(ours, shares=shares)
    theirs.sendall(message)
    with pytest.raises(ProtocolError):
        channel.receive()
    channel.close()
    theirs.close()
