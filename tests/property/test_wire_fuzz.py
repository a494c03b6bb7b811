"""Whatever comes on a channel: bytes give frames or a ProtocolError, frames end at most the worker that sent them.

No process is started. Three doors are tried one after the other: the decoder, the memory that both sides share, and the
dispatcher with all that its desks open.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eisenmp.dispatcher import Dispatcher
from eisenmp.engines.base import Event
from eisenmp.engines.enclosures import Enclosures
from eisenmp.engines.sharing import Sharing
from eisenmp.errors import ProtocolError, ResultsError
from eisenmp.payload import dumps, dumps_error
from eisenmp.ring import Copier, Lender, Memory, packed
from eisenmp.wire import ANY_QUEUE, INLINE, PICKLED, WITH_ERRORS, Buffer, Decoder, Frame, Kind, encode
from eisenmp.worker.template import Note
from tests.unit.fakes import add_chunk, make_job

HEAD: Final = struct.Struct('<BBHIQdIIIQ')
PLACED: Final = 0x80
ROOM: Final = 4096  # of a decoder's receive buffer here
MIB: Final = 1 << 20

SIDES: Final = {
    'manager': (Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER),
    'worker': (1, Kind.LAST_TO_WORKER),
    'manager, of a template': (Kind.FIRST_TO_MANAGER, Note.LAST),
    'template': (1, Note.FORK),
}

sides = st.sampled_from(sorted(SIDES))
numbers = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32 - 1, 2**63, INLINE]))
words = numbers.map(lambda n: n & 0xFFFF_FFFF)
floats = st.one_of(st.floats(), st.sampled_from([0.0, -1.0, 1e300, float('nan'), float('inf')]))


@st.composite
def heads(draw: st.DrawFn, kinds: st.SearchStrategy[int]) -> bytes:
    """A header of whatever numbers, and some lengths and offsets behind it."""
    extra = draw(st.sampled_from([0, 0, 1, 2, 5, 0xFFFF]))
    flags = draw(st.sampled_from([0, 1, 7, PLACED, PLACED | 3]))
    length = draw(st.one_of(st.integers(0, 100), numbers))
    head = HEAD.pack(
        draw(kinds), flags, extra, draw(words), draw(numbers), draw(floats), *[draw(words) for _ in range(3)], length
    )
    return head + b''.join(struct.pack('<Q', draw(numbers)) for _ in range(draw(st.integers(0, 6))))


@st.composite
def valid(draw: st.DrawFn, kinds: st.SearchStrategy[int]) -> bytes:
    """A message as the other side would make it."""
    payload = draw(st.lists(st.binary(max_size=60), max_size=4))
    if draw(st.integers(0, 9)) == 0:
        payload.insert(0, bytes(100_000))
    pieces = encode(draw(kinds), payload, queue=draw(words), serial=draw(numbers), number=draw(floats))
    return b''.join(map(bytes, pieces))


@st.composite
def streams(draw: st.DrawFn, first: int, last: int) -> bytes:
    """Messages and noise, with some bytes of it changed, cut out, doubled or put in."""
    kinds = st.one_of(st.integers(first, last), st.integers(first, last), st.integers(0, 255))
    part = st.one_of(valid(kinds), valid(kinds), heads(kinds), st.binary(max_size=100))
    data = bytearray(b''.join(draw(st.lists(part, max_size=6))))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + draw(st.integers(1, 60))]
            case 2:
                data[at:at] = draw(st.binary(min_size=1, max_size=20))
            case _:
                data[at:at] = data[: draw(st.integers(0, 100))]
    return bytes(data)


def run_through(decoder: Decoder, data: bytes, cuts: list[int]) -> list[Frame]:
    """Hand the bytes over in pieces of these sizes, again and again, and watch the memory that is claimed for them."""
    frames: list[Frame] = []
    at = turn = 0
    while at < len(data):
        room = decoder.room()
        assert len(room) > 0
        assert len(room) <= 8 * at + 2 * MIB, 'memory was claimed for what has not come'
        count = min(cuts[turn % len(cuts)], len(room), len(data) - at)
        room[:count] = data[at : at + count]
        room.release()
        at += count
        turn += 1
        frames += decoder.advance(count)
    return frames


cuts = st.lists(st.sampled_from([1, 2, 43, 44, 45, 100, 1000, 1 << 30]), min_size=1, max_size=3)


@given(st.data(), sides, cuts)
@settings(max_examples=500, deadline=None)
def test_any_stream_gives_frames_or_a_protocol_error(data: st.DataObject, side: str, cuts: list[int]) -> None:
    first, last = SIDES[side]
    stream = data.draw(streams(first, last))
    if 1 in cuts and len(stream) > 10_000:
        cuts = [1000]
    frames: list[Frame] = []
    try:
        frames = run_through(Decoder(first, last, ROOM), stream, cuts)
    except ProtocolError:
        pass
    assert all(first <= frame.kind <= last for frame in frames)
    assert sum(len(piece) for frame in frames for piece in frame.payload) <= len(stream)


@given(st.data(), sides, cuts, cuts)
@settings(max_examples=200, deadline=None)
def test_how_a_stream_is_cut_makes_no_difference(
    data: st.DataObject, side: str, cuts: list[int], others: list[int]
) -> None:
    first, last = SIDES[side]
    stream = data.draw(streams(first, last))[:3000]

    def what_comes(cuts: list[int]) -> tuple[list[Any], bool]:
        frames: list[Frame] = []
        decoder = Decoder(first, last, ROOM)
        try:
            for at in range(0, len(stream), 50):
                frames += run_through(decoder, stream[at : at + 50], cuts)
        except ProtocolError:
            return [], True
        return [repr((*frame[:8], [bytes(piece) for piece in frame.payload])) for frame in frames], False

    assert what_comes(cuts) == what_comes(others)


# ---- memory that both sides share

HALF: Final = 16 * 4096

offsets = st.one_of(
    st.sampled_from([0, 4096, HALF - 4096, HALF - 1, HALF, 2 * HALF]), st.integers(0, 2 * HALF), numbers
)
lengths = st.one_of(st.sampled_from([0, 1, 4096, HALF, HALF + 1]), st.integers(0, HALF), numbers)


@pytest.fixture(scope='module')
def memory() -> Any:
    made = Memory.new(HALF)
    yield made
    made.close()


def placed(kind: int, places: list[tuple[int, int]]) -> bytes:
    """A message whose pieces are said to lie in shared memory: (offset, size) of each."""
    sizes = [size for _, size in places]
    head = HEAD.pack(kind, PLACED, len(places) - 1, 0, 0, 0.0, 0, 0, 0, sizes[0])
    return head + struct.pack(f'<{2 * len(places) - 1}Q', *sizes[1:], *[offset for offset, _ in places])


within = st.integers(0, HALF).flatmap(lambda at: st.tuples(st.just(at), st.integers(0, HALF - at)))
# INLINE is no place: such bytes would have to follow
elsewhere = st.tuples(offsets.filter(lambda offset: offset != INLINE), lengths)
places = st.lists(st.one_of(within, within, elsewhere), min_size=1, max_size=5)


@given(st.lists(places, max_size=5), st.booleans(), st.booleans())
@settings(max_examples=500, deadline=None)
def test_any_places_give_no_more_than_the_memory_has(
    memory: Memory, messages: list[list[tuple[int, int]]], copies: bool, told: bool
) -> None:
    reader = Copier(memory, HALF) if copies else Lender(memory, 0)
    decoder = Decoder(*SIDES['manager'], ROOM)
    decoder.open = reader.open
    try:
        for places in messages:
            for frame in run_through(decoder, placed(Kind.ANSWER, places), [1 << 30]):
                assert [len(piece) for piece in frame.payload] == [size for _, size in places]
                assert not copies or sum(size for _, size in places) <= HALF
            if told:
                reader.done()
    except ProtocolError:
        pass


@given(st.lists(st.tuples(st.sampled_from([Kind.RING_READY, Kind.FREED]), st.lists(offsets, max_size=3)), max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_talk_about_the_memory(said: list[tuple[int, list[int]]]) -> None:
    sharing = Sharing(Decoder(*SIDES['manager'], ROOM), Enclosures())
    try:
        sharing.outgoing(encode(Kind.CHUNK, (bytes(1 << 17),)))
        for kind, freed in said:
            sharing.heard(Frame(kind, 0, 0, 0, 0.0, 0, 0, 0, packed(freed), ()))
            sharing.outgoing(encode(Kind.CHUNK, (bytes(1 << 17),)))
    except ProtocolError:
        pass
    finally:
        sharing.close()


# ---- the dispatcher


class Leaves:
    """Ends whoever opens its pickle."""

    def __reduce__(self) -> Any:
        return exec, ('raise SystemExit(1)',)


BODIES: Final[list[tuple[Buffer, ...]]] = [
    (),
    (b'',),
    (b'noise',),
    *[(pickle.dumps(obj),) for obj in (None, 5, 'x', [], [1], [1, 2], [None, None], (), ('a', 'b'), {}, {1: 2})],
    *[
        (pickle.dumps(obj),)
        for obj in ({'msg': 'x'}, ('ValueError', 'm', 't', None), [b'', None], Leaves(), [Leaves()])
    ],
    (pickle.dumps(('ValueError', 'm', 't', [pickle.dumps(Leaves())])),),
    (pickle.dumps(['PERF_HEADER_ETA', float('nan')]),),
    tuple(bytes(piece) for piece in dumps_error(ValueError('x'))),
    tuple(map(bytes, dumps([1, 'a']))),
    (pickle.dumps(bytearray(5000), 5, buffer_callback=lambda _: None), bytes(5000)),
    (b'\x80\x05\x96' + b'\xff' * 7 + b'\x7f.',),  # a bytearray of exabytes
]

QUEUES: Final = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 99, ANY_QUEUE]
KINDS: Final = sorted(set(range(Kind.FIRST_TO_MANAGER, Kind.RING_READY)))


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """A message that decodes and may mean anything, often something about a ticket that there is."""
    body, *buffers = draw(st.sampled_from(BODIES)) or (b'',)
    return Frame(
        kind=draw(st.one_of(st.sampled_from(KINDS), st.sampled_from([Kind.ANSWER, Kind.RESULT]))),
        flags=draw(st.integers(0, 2 * WITH_ERRORS - 1)),
        queue=draw(st.sampled_from(QUEUES)),
        serial=draw(st.one_of(st.integers(0, 1), st.integers(0, 5), numbers)),
        number=draw(st.one_of(st.just(0.5), st.sampled_from([0.0, 1.0, -1.0]), floats)),
        tickets=draw(st.one_of(st.just(0), st.integers(0, 4), words)),
        skip=draw(words),
        rows=draw(st.one_of(st.integers(0, 3), words)),
        body=body,
        buffers=tuple(buffers),
    )


ENDING: Final = (Kind.STOP_JOB, Kind.CLOSING, Kind.START_ERROR, Kind.RETURNED)  # whose meaning is that the job may end


# a result that wants to leave when it is opened
LEAVES: Final = Frame(Kind.ANSWER, 1, 0, 0, 0.5, 0, 0, 0, pickle.dumps(Leaves()), ())


@given(st.lists(st.tuples(st.integers(0, 1), frames()), max_size=12), st.sampled_from(['raise', 'skip']))
@example([(0, LEAVES)], 'raise')
@example([(0, LEAVES._replace(flags=3))], 'raise')  # a list of values, as it says
@settings(max_examples=600, deadline=None)
def test_any_frames_end_no_loop(said: list[tuple[int, Frame]], on_error: str) -> None:
    job, engine, _, clock = make_job(RESULTS_STORE=True, ON_ERROR=on_error)
    dispatcher = Dispatcher(job, [], lambda: None)
    reader = job.results.outcomes()
    assert dispatcher._turn()
    queue = job.table[0]
    with job.lock:
        job.exchange.feeder_begins(queue)
        for _ in range(2):
            add_chunk(job.exchange, queue)
        payload = dumps([[0], [1], [2]])
        job.exchange.add_chunk(queue, job.ledger.add(0, 3, payload, 30, tickets=3, rows=1))

    def say(worker: int, frame: Frame) -> None:
        engine.events.append(Event(worker, frame))
        assert dispatcher._turn()
        clock.now += 0.01

    for worker in (0, 1):
        say(worker, Frame(Kind.UP, 0, 0, 0, 0.0, 0, 0, 0, b'', ()))
        say(worker, Frame(Kind.GET, 0, 0, 1, -1.0, 0, 0, 0, b'', ()))
    for worker, frame in said:
        if worker not in engine.killed:
            say(worker, frame)
        if job.over.is_set() or job.killed:
            break
    if not any(frame.kind in (*ENDING, Kind.FAILED) for _, frame in said):
        assert job.error is None
        assert not job.exchange.stopping
    _read_all(job.results, reader)


def _read_all(results: Any, reader: Any) -> None:
    """Whatever the values are, whoever reads them gets an outcome for each ticket."""
    for queue in results.values():
        outcomes = list(queue)
        assert [outcome.ticket for outcome in outcomes] == list(range(len(queue)))
        for outcome in outcomes:
            assert not isinstance(outcome.error, ProtocolError) or isinstance(outcome.error, ResultsError)
    with results.cond:
        results.over = True
    try:
        for _ in reader:
            pass
    except Exception as error:
        assert error is results.error  # noqa: PT017  # of the job, not of the reader


def test_the_fuzz_knows_all_flags() -> None:
    assert PICKLED < WITH_ERRORS < PLACED
