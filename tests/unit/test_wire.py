"""Messages and their bytes: whatever is encoded comes out again, and noise is an error, never anything else."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eisenmp.errors import ProtocolError
from eisenmp.wire import (
    ANY_QUEUE,
    HAS_VALUE,
    HEAD_BYTES,
    Buffer,
    Decoder,
    Frame,
    Kind,
    Pieces,
    encode,
    place,
    read_head,
)

HEAD = struct.Struct('<BBHIQdIIIQ')


def joined(pieces: Iterable[Buffer]) -> bytes:
    return b''.join(bytes(piece) for piece in pieces)


def feed(decoder: Decoder, data: bytes, step: int = 1 << 30) -> list[Frame]:
    """Hand the bytes over, at most `step` at a time."""
    frames: list[Frame] = []
    at = 0
    while at < len(data):
        room = decoder.room()
        assert len(room) > 0
        count = min(step, len(room), len(data) - at)
        room[:count] = data[at : at + count]
        room.release()
        frames += decoder.advance(count)
        at += count
    return frames


def manager_side(size: int = 256 << 10) -> Decoder:
    return Decoder(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER, size)


def plain(frame: Frame) -> tuple[int, int, int, int, float, list[bytes]]:
    assert (frame.tickets, frame.skip, frame.rows) == (0, 0, 0)
    return (*frame[:5], [bytes(piece) for piece in frame.payload])


def test_the_head_is_44_bytes_and_its_numbers_come_back() -> None:
    data = joined(
        encode(Kind.ANSWER, (b'value',), queue=ANY_QUEUE, serial=2**64 - 1, number=-0.5, flags=HAS_VALUE),
    )
    assert HEAD_BYTES == 44
    assert len(data) == 44 + 5
    assert [plain(frame) for frame in feed(manager_side(), data)] == [
        (Kind.ANSWER, HAS_VALUE, ANY_QUEUE, 2**64 - 1, -0.5, [b'value'])
    ]


def test_the_kinds_are_numbered_within_their_direction() -> None:
    numbers = {name: number for name, number in vars(Kind).items() if name.isupper()}
    limits = {'LAST_TO_WORKER', 'FIRST_TO_MANAGER', 'LAST_TO_MANAGER'}
    kinds = {name: number for name, number in numbers.items() if name not in limits}
    assert len(set(kinds.values())) == len(kinds)
    to_worker = sorted(number for number in kinds.values() if number < Kind.FIRST_TO_MANAGER)
    to_manager = sorted(number for number in kinds.values() if number >= Kind.FIRST_TO_MANAGER)
    assert to_worker == list(range(1, Kind.LAST_TO_WORKER + 1))
    assert to_manager == list(range(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER + 1))


def test_a_message_without_a_payload_has_an_empty_body() -> None:
    (frame,) = feed(manager_side(), joined(encode(Kind.RETURNED)))
    assert plain(frame) == (Kind.RETURNED, 0, 0, 0, 0.0, [b''])


SAMPLES: list[list[bytes]] = [
    [b''],
    [b'x'],
    [b'body', b'one', b'two'],
    [b'', b'', b''],
    [b'body', b'y' * 100],
]


@pytest.mark.parametrize('payload', SAMPLES)
def test_a_message_may_be_split_at_every_byte(payload: list[bytes]) -> None:
    data = joined(encode(Kind.RESULT, payload, queue=3, serial=7))
    for cut in range(len(data) + 1):
        decoder = manager_side()
        frames = feed(decoder, data[:cut]) + feed(decoder, data[cut:])
        assert [plain(frame) for frame in frames] == [(Kind.RESULT, 0, 3, 7, 0.0, payload)]


def test_a_stream_may_come_byte_by_byte() -> None:
    data = b''.join(joined(encode(Kind.RESULT, payload, serial=n)) for n, payload in enumerate(SAMPLES))
    frames = feed(manager_side(), data, step=1)
    assert [[bytes(p) for p in frame.payload] for frame in frames] == SAMPLES
    assert [frame.serial for frame in frames] == list(range(len(SAMPLES)))


def test_many_messages_in_one_go() -> None:
    data = b''.join(joined(encode(Kind.GET, serial=n)) for n in range(1000))
    assert [frame.serial for frame in feed(manager_side(), data)] == list(range(1000))


SIZES = [(64 << 10) - 1, 64 << 10, (64 << 10) + 1, (256 << 10) - HEAD_BYTES, 256 << 10, 1_000_003]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('step', [4_099, 1 << 30])
def test_large_messages_around_the_sizes_where_the_way_changes(size: int, step: int) -> None:
    body = (b'0123456789' * (size // 10 + 1))[:size]
    data = joined(encode(Kind.ANSWER, (body,), serial=1)) + joined(encode(Kind.GET, serial=2))
    first, second = feed(manager_side(), data, step)
    assert bytes(first.body) == body
    assert second.serial == 2


def test_large_out_of_band_buffers_arrive_apart_and_can_be_written_to() -> None:
    payload = (b'body', bytearray(b'a' * 100_000), memoryview(b'b' * 70_000), b'')
    (frame,) = feed(manager_side(), joined(encode(Kind.ANSWER, payload)), step=9_999)
    assert [len(piece) for piece in frame.buffers] == [100_000, 70_000, 0]
    assert [bytes(piece) for piece in frame.payload] == [bytes(piece) for piece in payload]
    first = frame.buffers[0]
    assert isinstance(first, memoryview)
    first[0] = ord('z')
    assert bytes(frame.buffers[1]) == b'b' * 70_000


def test_a_frame_owns_its_memory() -> None:
    decoder = manager_side(256)
    (first,) = feed(decoder, joined(encode(Kind.ANSWER, (b'first' * 10,))))
    feed(decoder, joined(encode(Kind.ANSWER, (b'other' * 10,))))
    assert bytes(first.body) == b'first' * 10


def test_a_large_piece_is_passed_through_uncopied() -> None:
    body = bytearray(1 << 20)
    buffer = memoryview(bytearray(10))
    pieces = encode(Kind.ANSWER, (body, buffer))
    assert pieces[1] is body
    assert pieces[2] is buffer
    assert any(piece is body for piece in encode(Kind.ANSWER, (body,)))


@pytest.mark.parametrize('size', [64, 100, 1000])
def test_a_small_receive_buffer_grows_as_needed(size: int) -> None:
    payloads = [[b'x' * 500, b'y' * 300], [b'z' * 7], [b'', *[b'k'] * 200]]
    data = b''.join(joined(encode(Kind.ANSWER, payload)) for payload in payloads)
    for step in (1, 7, 1000):
        frames = feed(manager_side(size), data, step)
        assert [[bytes(p) for p in frame.payload] for frame in frames] == payloads


def test_the_most_buffers_that_fit_and_one_more() -> None:
    most = [b'body', *[b''] * 0xFFFF]
    (frame,) = feed(manager_side(), joined(encode(Kind.ANSWER, most)))
    assert len(frame.buffers) == 0xFFFF
    with pytest.raises(ProtocolError, match='65536 buffers; 65535 are allowed'):
        encode(Kind.ANSWER, [*most, b''])


@pytest.mark.parametrize('kind', [0, 1, Kind.LAST_TO_WORKER, 63, Kind.LAST_TO_MANAGER + 1, 255])
def test_a_kind_of_the_other_direction_is_refused(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f'kind {kind};'):
        feed(manager_side(), HEAD.pack(kind, 0, 0, 0, 0, 0.0, 0, 0, 0, 0))


def test_a_worker_refuses_what_only_a_worker_says() -> None:
    with pytest.raises(ProtocolError):
        feed(Decoder(1, Kind.LAST_TO_WORKER), HEAD.pack(Kind.ANSWER, 0, 0, 0, 0, 0.0, 0, 0, 0, 0))


@pytest.mark.parametrize('length', [(1 << 40) + 1, 1 << 63, 2**64 - 1])
def test_an_absurd_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match='bytes'):
        feed(manager_side(), HEAD.pack(Kind.ANSWER, 0, 0, 0, 0, 0.0, 0, 0, 0, length))


def test_absurd_buffers_are_refused() -> None:
    head = HEAD.pack(Kind.ANSWER, 0, 2, 0, 0, 0.0, 0, 0, 0, 5)
    with pytest.raises(ProtocolError):
        feed(manager_side(), head + struct.pack('<2Q', 1 << 39, 1 << 40))
    with pytest.raises(ProtocolError):  # no wrap-around at 64 bits
        feed(manager_side(), head + struct.pack('<2Q', 2**64 - 1, 2**64 - 1))


def test_a_claimed_length_claims_no_memory_before_its_bytes_come() -> None:
    tracemalloc.start()
    try:
        decoder = manager_side()
        feed(decoder, HEAD.pack(Kind.ANSWER, 0, 0, 0, 0, 0.0, 0, 0, 0, 1 << 40))
        feed(decoder, b'x' * 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20


def test_what_came_before_a_broken_message_is_not_lost_and_the_noise_is_named() -> None:
    decoder = manager_side()
    assert [f.serial for f in feed(decoder, joined(encode(Kind.GET, serial=1)))] == [1]
    with pytest.raises(ProtocolError):
        feed(decoder, b'\xff' * HEAD_BYTES)


def test_read_head() -> None:
    assert read_head(joined(encode(Kind.SETUP, (b'12345',)))[:HEAD_BYTES]) == (Kind.SETUP, 5)
    with pytest.raises(ProtocolError):
        read_head(HEAD.pack(Kind.SETUP, 0, 1, 0, 0, 0.0, 0, 0, 0, 5))
    with pytest.raises(ProtocolError):
        read_head(HEAD.pack(Kind.SETUP, 0, 0, 0, 0, 0.0, 0, 0, 0, 2**63))


# ---- bodies in pieces, and pieces that lie elsewhere


def test_a_body_in_pieces_arrives_as_one() -> None:
    body = Pieces([b'one', b'', b'two' * 100_000, b'three'])
    pieces = encode(Kind.ANSWER, (body, b'buffer'), serial=4)
    assert any(piece is body.pieces[2] for piece in pieces)
    (frame,) = feed(manager_side(), joined(pieces))
    assert [bytes(piece) for piece in frame.payload] == [bytes(body), b'buffer']
    (frame,) = feed(manager_side(), joined(encode(Kind.ANSWER, (Pieces([b'a', b'b']),))))
    assert frame.body == b'ab'


class Elsewhere:
    """Takes pieces as far as it has room."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.kept: list[bytes] = []

    def put(self, pieces: Sequence[Buffer], size: int) -> int | None:
        whole = joined(pieces)
        assert len(whole) == size
        if size > self.room:
            return None
        self.room -= size
        self.kept.append(whole)
        return len(self.kept) - 1

    def open(self, offset: int, size: int) -> Buffer:
        assert len(self.kept[offset]) == size
        return self.kept[offset]


def test_large_pieces_are_placed_and_the_message_stays_small() -> None:
    message = encode(Kind.ANSWER, (b'body', b'x' * 1000, b'', b'y' * 10, b'z' * 2000), serial=3, flags=HAS_VALUE)
    before = list(message)
    elsewhere = Elsewhere()
    placed = place(message, elsewhere.put, 1000)
    assert message == before
    assert elsewhere.kept == [b'x' * 1000, b'z' * 2000]
    assert len(joined(placed)) < 200
    decoder = manager_side()
    decoder.open = elsewhere.open
    (frame,) = feed(decoder, joined(placed))
    assert plain(frame) == (
        Kind.ANSWER, HAS_VALUE, 0, 3, 0.0, [b'body', b'x' * 1000, b'', b'y' * 10, b'z' * 2000],
    )  # fmt: skip


def test_nothing_is_placed_where_nothing_is_large_or_has_room() -> None:
    message = encode(Kind.ANSWER, (b'body', b'', b'x' * 1000))
    assert place(message, Elsewhere().put, 1001) is message
    assert place(message, Elsewhere(room=999).put, 1000) is message


def test_pieces_elsewhere_without_such_a_place_are_refused() -> None:
    placed = place(encode(Kind.ANSWER, (b'', b'x' * 1000)), Elsewhere().put, 1000)
    with pytest.raises(ProtocolError, match='no memory is shared'):
        feed(manager_side(), joined(placed))


payloads = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


@given(
    st.lists(st.tuples(payloads, st.booleans(), st.integers(0, 60)), max_size=5),
    st.integers(1, 20),
    st.integers(1, 60),
    st.sampled_from([64, 4096]),
    st.integers(0, 3).map(lambda n: (1, 7, 100, 1 << 20)[n]),
)
@settings(max_examples=150, deadline=None)
def test_any_pieces_may_lie_elsewhere(
    messages: list[tuple[list[bytes], bool, int]], least: int, step: int, size: int, scale: int
) -> None:
    elsewhere = Elsewhere(room=200 * min(scale, 100))
    data = b''
    for payload, split, cut in messages:
        first: Buffer | Pieces = payload[0]
        if split:
            first = Pieces([payload[0][:cut], payload[0][cut:]])
        data += joined(place(encode(Kind.ANSWER, (first, *payload[1:])), elsewhere.put, least))
    decoder = manager_side(size)
    decoder.open = elsewhere.open
    frames = feed(decoder, data, step)
    assert [[bytes(piece) for piece in frame.payload] for frame in frames] == [payload for payload, _, _ in messages]


# ---- any messages, any cuts, any bytes

messages = st.builds(
    lambda kind, flags, queue, serial, number, payload: (kind, flags, queue, serial, number, payload),
    st.integers(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER),
    st.integers(0, 127),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.floats(allow_nan=False),
    st.lists(st.binary(max_size=300), min_size=1, max_size=6),
)


@given(st.lists(messages, max_size=6), st.lists(st.integers(1, 400), max_size=30), st.sampled_from([64, 300, 4096]))
@settings(max_examples=150, deadline=None)
def test_any_messages_come_through_any_cuts(
    wanted: list[tuple[int, int, int, int, float, list[bytes]]], cuts: Sequence[int], size: int
) -> None:
    data = b''.join(
        joined(encode(kind, payload, flags=flags, queue=queue, serial=serial, number=number))
        for kind, flags, queue, serial, number, payload in wanted
    )
    decoder = manager_side(size)
    frames: list[Frame] = []
    at = 0
    for cut in cuts:
        frames += feed(decoder, data[at : at + cut])
        at += cut
    frames += feed(decoder, data[at:])
    assert [plain(frame) for frame in frames] == wanted


heads = st.builds(
    HEAD.pack,
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from([0, 0, 0, 1, 2, 0xFFFF]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.floats(),
    *[st.integers(0, 2**32 - 1)] * 3,
    st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
)


@given(
    st.lists(st.one_of(st.binary(max_size=80), heads), max_size=8).map(b''.join),
    st.sampled_from([1, 13, 1 << 30]),
    st.sampled_from([64, 4096]),
)
@example(HEAD.pack(Kind.ANSWER, 0, 0xFFFF, 0, 0, 0.0, 0, 0, 0, 2**63), 1 << 30, 64)
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_frames_or_a_protocol_error(data: bytes, step: int, size: int) -> None:
    frames: list[Frame] = []
    try:
        frames = feed(manager_side(size), data, step)
    except ProtocolError:
        pass
    for frame in frames:
        assert Kind.FIRST_TO_MANAGER <= frame.kind <= Kind.LAST_TO_MANAGER
    assert sum(len(piece) for frame in frames for piece in frame.payload) <= len(data)
