"""Bytes that lie elsewhere: how they are packed, told of, and brought."""

import pytest

from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.engines.ray.groups import SHELVED_BYTES, Unpacker, pack, split
from eisenmp.remote import LostError, Remote, brought, is_remote
from eisenmp.wire import Kind, encode, read_serial

BIG = bytes(SHELVED_BYTES)
QUEUE = len(DEFAULT_QUEUES)  # the first one of a user's own


def remote(size: int = SHELVED_BYTES) -> Remote:
    return Remote(size, 'where', lambda ref: {'where': BIG[:size]}[ref])


@pytest.mark.parametrize('kind', [Kind.PUT, Kind.FORWARD])
def test_large_pieces_of_messages_between_workers_stay(kind: int) -> None:
    shelf: dict[int, object] = {}
    messages = [
        encode(Kind.ANSWER, (BIG,), queue=QUEUE),
        encode(kind, (b'body', BIG, b'small'), queue=QUEUE),
        encode(kind, (BIG,), queue=DEFAULT_QUEUES.index('mp_output_q')),  # the manager reads it
        encode(kind, (BIG[1:],), queue=QUEUE),
    ]
    _, large = pack(messages, shelf.__setitem__)
    assert large == [BIG, None, BIG, BIG[1:]]
    assert shelf == {1: BIG}


def test_without_a_shelf_all_comes_along() -> None:
    assert pack([encode(Kind.PUT, (BIG,), queue=QUEUE)])[1] == [BIG]


def test_who_unpacks_gets_what_lies_elsewhere_as_such() -> None:
    streams, large = pack([encode(Kind.FORWARD, (b'body', BIG), queue=QUEUE, serial=3)], lambda *_: None)
    assert large == [None]
    piece = remote()
    (frame,) = Unpacker(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER).add(0, streams, [piece], own=True)
    assert list[object](frame.payload) == [b'body', piece]
    assert is_remote(frame.payload)
    again = encode(Kind.MESSAGE, frame.payload, queue=QUEUE, serial=77)
    assert read_serial(again[0]) == 77
    streams, large = pack([again])
    assert large == [piece], 'it goes on as it is'


def test_a_message_with_such_pieces_is_a_group_of_its_own() -> None:
    plain = encode(Kind.MESSAGE, (b'x',))
    far = encode(Kind.MESSAGE, (remote(),))  # type: ignore[arg-type]
    assert split([plain, plain, far, far, plain, plain]) == [[plain, plain], [far], [far], [plain, plain]]


def test_they_are_brought_once() -> None:
    calls: list[object] = []

    def fetch(ref: object) -> bytes:
        calls.append(ref)
        return b'12345'

    piece = Remote(5, 'here', fetch)
    assert len(piece) == 5
    assert piece.ref == 'here', 'not brought yet'
    assert brought((b'body', piece)) == brought((b'body', piece)) == (b'body', b'12345')
    assert calls == ['here']
    assert piece.bring() == b'12345'
    assert calls == ['here']
    assert piece.ref is None


def test_what_cannot_be_brought_is_lost_and_says_why() -> None:
    piece = Remote(5, 'nowhere', {}.__getitem__)
    with pytest.raises(LostError, match=r"^5 bytes are lost: KeyError: 'nowhere'$"):
        brought((piece,))
