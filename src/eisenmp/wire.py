"""Messages between manager and worker, and their bytes.

A message is a fixed header of 44 bytes, the lengths of its out-of-band buffers (8 bytes each), its body, its buffers::

    kind u8 | flags u8 | buffers u16 | queue u32 | serial u64 | number f64 |
    tickets u32 | skip u32 | rows u32 | body length u64

Messages about tickets speak of `tickets` of them in a row, from `serial` on; other kinds leave the three at 0. But
`skip` of GET and TAKEN is how many microseconds the worker has spent on sending results since the last of these.

With the flag PLACED, one offset (8 bytes) for the body and for each buffer follows the lengths: where in the shared
memory of the two sides it lies (ring.py), or INLINE, when it follows in the message as usual.

The header always decodes without opening the payload: the manager passes the body on as it came and sends the very
same bytes again when a worker dies. What `queue`, `serial` and `number` mean is said beside each kind below. Neither
side ever unpickles anything to find out where a message ends or what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from eisenmp.errors import ProtocolError

__all__ = [
    "AGAIN",
    "ALONE",
    "ANY_QUEUE",
    "AT_RETURN",
    "FOREVER",
    "HAS_VALUE",
    "HEAD_BYTES",
    "LARGE",
    "LISTED",
    "MOST_BUFFERS",
    "PART",
    "PART_ITEMS",
    "PICKLED",
    "WITH_ERRORS",
    "Buffer",
    "Decoder",
    "Far",
    "Frame",
    "Kind",
    "Pieces",
    "encode",
    "place",
    "read_head",
    "read_queue",
    "read_serial",
]

Buffer = bytes | bytearray | memoryview

ANY_QUEUE: Final = 0xFFFF_FFFF  # GET of a plain worker: from whichever queue has a feeder
FOREVER: Final = -1.0  # a time-out that never comes


class Kind:
    """What a message is. Manager to worker below 64, worker to manager from 64 on."""

    SETUP: Final = 1  # body: pickled dict, see worker/main.py
    # CHUNK: of the tickets in the body (LISTED or PICKLED: a batch, `rows` items each) `skip` are not meant, then come
    # `tickets` that are
    CHUNK: Final = 2  # queue, serial = first ticket, number = request it answers, 0 = handed out ahead
    MESSAGE: Final = 3  # queue, serial = request it answers; body: an object put by hand
    END: Final = 4  # queue, serial = request: all feeders of the queue are done
    EMPTY: Final = 5  # serial = request: nothing came in time
    ACCEPTED: Final = 6  # serial = request: the object is in the queue
    FULL: Final = 7  # serial = request: no room in time
    COUNT: Final = 8  # serial = request, number = how many objects are in the queue
    SHARE: Final = 9  # body: pickled (name, bytes of the object)
    TOOL: Final = 10  # body: an object put into mp_tools_q
    QUEUE: Final = 11  # body: pickled row of the queue table, for a queue made after the start
    AHEAD: Final = 12  # serial = request: take what was handed out ahead, it has arrived before this
    LISTENING: Final = (
        13  # serial = request, rows = 1: it is shared; a listening socket comes along with it; or with the
    )
    # flag ALONE none does, body: pickled (errno, text), why not
    LEAVING: Final = 14  # the process is about to be asked to end
    RING: Final = 15  # a descriptor comes along with it: shared memory for large pieces, see ring.py
    FREE: Final = 16  # body: offsets of slots in the worker's half that are no longer needed
    LAST_TO_WORKER: Final = 16

    UP: Final = 64  # modules are loaded, the first call comes next; number = seconds since the process began
    START_ERROR: Final = 65  # body: pickled (what is wrong and where, traceback)
    GET: Final = 66  # queue, serial = request, number = time-out
    PUT: Final = 67  # queue, serial = request (0: no answer wanted), number = time-out
    RESULT: Final = 68  # queue, serial = ticket: the result, held until the answer
    FORWARD: Final = 69  # queue = target, serial = ticket, number = queue of the ticket: held until the answer
    ANSWER: Final = (
        70  # queue, serial = first ticket, tickets, number = seconds; body (HAS_VALUE): the result, or a list
    )
    FAILED: Final = 71  # queue (ANY_QUEUE: no ticket), serial = ticket, number = seconds; body: see payload
    GIVE_BACK: Final = 72  # queue, serial, tickets handed out ahead that the worker does not get to
    ASK: Final = 73  # queue, serial = request, number = time to wait for the first object
    PRINT: Final = 74  # flags: 1 = stderr; body: utf-8 text of whole lines
    LOG: Final = 75  # body: pickled dict of a log record; OF_WARNING: of a warning
    RETURNED: Final = 76  # the entry function has returned something falsy
    STOP_JOB: Final = 77  # body: the answer of the job
    CLOSING: Final = 78  # queue; body: what was put under the closing header
    TAKEN: Final = 79  # queue, serial, tickets handed out ahead that the worker gets to now
    OPENED: Final = 80  # queue, serial: the items of a PART are made; body: utf-8, how a lone one looks
    LISTEN: Final = 81  # serial = request; body: pickled (family, host, port, backlog, shared), see listeners.py
    RING_READY: Final = 82  # the worker has mapped what came with RING
    FREED: Final = 83  # body: offsets of slots in the manager's half that are no longer needed
    FIRST_TO_MANAGER: Final = 64
    LAST_TO_MANAGER: Final = 83


HAS_VALUE: Final = 1  # the body is a result
LISTED: Final = 2  # CHUNK, ANSWER: the body is a list, `rows` entries a ticket (0: one)
PICKLED: Final = 4  # the same, and each entry is a pickle: objects that cannot share one without harm to each other
WITH_ERRORS: Final = 8  # ANSWER to one ticket: `rows` items have failed; last buffer: pickled list of (place, error)
ALONE: Final = 32  # the descriptor that should go with the message does not
AT_RETURN: Final = 64  # ANSWER: the entry function has returned for good
AGAIN: Final = 64  # CHUNK: a worker has had it before and died, or failed
PART: Final = 16  # CHUNK: of the ticket's items, only some are meant; the last buffer says which: first u64, items u64
OF_WARNING: Final = 32  # LOG: it tells of a warning, see worker/warned.py
PLACED: Final = 0x80  # of the wire alone: frames do not show it
INLINE: Final = 0xFFFF_FFFF_FFFF_FFFF
MOST_BUFFERS: Final = 0xFFFF
LARGE: Final = 128 << 10  # bytes from which a piece of a message is worth a place in shared memory

PART_ITEMS: Final = struct.Struct("<QQ")  # see PART

_HEAD: Final = struct.Struct("<BBHIQdIIIQ")
HEAD_BYTES: Final = _HEAD.size
_LENGTH: Final = struct.Struct("<Q")
_MAX_BYTES: Final = 1 << 40  # nobody sends a tebibyte in one message; a length beyond it is noise
_SMALL: Final = 64 << 10  # up to here a message is copied out of the receive buffer, beyond it gets its own memory
_BEGIN: Final = 1 << 20  # memory for one message that is claimed before more than its head has come
_STEP: Final = 64 << 20  # then it is claimed in such steps, as its bytes really arrive


class Pieces:
    """A body that lies in several pieces; sent one after the other, they arrive as one."""

    __slots__ = ("nbytes", "pieces")

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.nbytes = sum(map(len, pieces))

    def __len__(self) -> int:
        return self.nbytes

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)


class Far:
    """A body or buffer whose bytes are not here; see remote.py."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes

    def __len__(self) -> int:
        return self.nbytes


class Frame(NamedTuple):
    """One decoded message. ``body`` and ``buffers`` own their memory, or lie in shared memory that is theirs."""

    kind: int
    flags: int
    queue: int
    serial: int
    number: float
    tickets: int
    skip: int
    rows: int
    body: Buffer
    buffers: tuple[Buffer, ...]

    @property
    def payload(self) -> tuple[Buffer, ...]:
        """Body and out-of-band buffers, as :func:`eisenmp.payload.loads` takes them."""
        return (self.body, *self.buffers)


def encode(  # noqa: PLR0913  # one argument a field of the header
    kind: int,
    payload: Sequence[Buffer | Pieces] = (),
    *,
    queue: int = 0,
    serial: int = 0,
    number: float = 0.0,
    flags: int = 0,
    tickets: int = 0,
    skip: int = 0,
    rows: int = 0,
) -> list[Buffer]:
    """Return the pieces of one message, ready for ``sendmsg``. Large pieces are passed through uncopied."""
    buffers = len(payload) - 1
    if buffers < 0:
        return [_HEAD.pack(kind, flags, 0, queue, serial, number, tickets, skip, rows, 0)]
    body = payload[0]
    if buffers > MOST_BUFFERS:
        raise ProtocolError(f"a message of {buffers} buffers; {MOST_BUFFERS} are allowed")
    head = _HEAD.pack(kind, flags, buffers, queue, serial, number, tickets, skip, rows, len(body))
    if type(body) is Pieces:
        body_pieces: list[Buffer] = [*body.pieces]
    elif not buffers and len(body) <= _SMALL:
        return [head + body]  # type: ignore[operator]  # not Pieces
    else:
        body_pieces = [body]  # type: ignore[list-item]
    if buffers:
        rest: Sequence[Buffer] = payload[1:]  # type: ignore[assignment]  # only a body lies in pieces
        head += b"".join([_LENGTH.pack(_nbytes(b)) for b in rest])
        return [head, *body_pieces, *rest]
    return [head, *body_pieces]


def _nbytes(piece: object) -> int:
    return piece.nbytes if isinstance(piece, Far) else memoryview(piece).nbytes  # type: ignore[arg-type]  # a Buffer


def place(message: list[Buffer], put: Callable[[Sequence[Buffer], int], int | None], least: int) -> list[Buffer]:
    """The same message with body and buffers of `least` bytes and more put elsewhere, as far as `put` takes them.

    Args:
        message: as :func:`encode` has made it; it stays as it is.
        put: gets the pieces of a body or buffer and their size in all; returns where they are now, or None.
        least: what is smaller stays in the message.
    """
    if len(message) == 1:
        return message
    head = message[0]
    _, _, extra, _, _, _, _, _, _, length = _HEAD.unpack_from(head)
    sizes = (length, *struct.unpack_from(f"<{extra}Q", head, HEAD_BYTES))
    if max(sizes) < least:
        return message
    offsets: list[int] = []
    inline: list[Buffer] = []
    rest = iter(message[1:])
    for size in sizes:
        pieces = _next_bytes(rest, size)
        offset = put(pieces, size) if size >= least else None
        if offset is None:
            inline += pieces
        offsets.append(INLINE if offset is None else offset)
    if offsets.count(INLINE) == len(offsets):
        return message
    marked = bytearray(head)
    marked[1] |= PLACED
    return [bytes(marked) + struct.pack(f"<{len(offsets)}Q", *offsets), *inline]


def _next_bytes(pieces: Iterator[Buffer], size: int) -> list[Buffer]:
    """As many of the next pieces as make up `size` bytes; those without any stay behind."""
    found: list[Buffer] = []
    while size:
        piece = next(pieces)
        if len(piece):
            found.append(piece)
            size -= len(piece)
    return found


def read_queue(head: Buffer) -> int:
    """What a message says as ``queue``, from its first ``HEAD_BYTES`` bytes."""
    queue: int = _HEAD.unpack_from(head)[3]
    return queue


def read_serial(head: Buffer) -> int:
    """What a message says as ``serial``, from its first ``HEAD_BYTES`` bytes."""
    serial: int = _HEAD.unpack_from(head)[4]
    return serial


def read_head(head: bytes) -> tuple[int, int]:
    """(kind, body length) of a message without out-of-band buffers, from its first ``HEAD_BYTES`` bytes."""
    kind, _, buffers, _, _, _, _, _, _, length = _HEAD.unpack(head)
    if buffers or length > _MAX_BYTES:
        raise ProtocolError(f"a first message with {buffers} buffers and {length} bytes")
    return kind, length


def _nothing_placed(offset: int, size: int) -> Buffer:
    raise ProtocolError(f"{size} bytes at {offset}, and no memory is shared")


_Head = tuple[int, int, int, int, float, int, int, int]  # of a Frame


class Decoder:
    """Turns a stream of bytes into frames.

    Receive into :meth:`room`, then call :meth:`advance` with the number of bytes that came. `first` and `last` are
    the kinds this side accepts; anything else raises :class:`ProtocolError`, after which the stream is unusable.
    """

    def __init__(self, first: int, last: int, size: int = 256 << 10) -> None:
        self._first = first
        self._last = last
        self.open: Callable[[int, int], Buffer] = _nothing_placed  # offset, size -> what lies there
        self.large = 0  # bytes of the largest message so far that came through the stream
        self._buf = bytearray(size)
        self._view = memoryview(self._buf)
        self._start = 0
        self._stop = 0
        self._large: _Large | None = None
        self._places: list[tuple[int, int]] = []  # of the message that is being received: (offset, size) of each piece

    def room(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._large is not None:
            return self._large.room()
        if self._start and len(self._buf) - self._stop < _SMALL:
            rest = self._stop - self._start
            self._buf[:rest] = bytes(self._view[self._start : self._stop])
            self._start, self._stop = 0, rest
        return self._view[self._stop :]

    def advance(self, count: int) -> list[Frame]:
        """`count` more bytes have come; return the frames that are complete now."""
        frames: list[Frame] = []
        if self._large is not None:
            if self._large.advance(count):
                frames.append(self._finish_large(self._large))
            return frames
        self._stop += count
        while self._stop - self._start >= HEAD_BYTES:
            frame = self._next()
            if frame is None:
                break
            frames.append(frame)
        if self._start == self._stop:
            self._start = self._stop = 0
        return frames

    def _next(self) -> Frame | None:
        at = self._start
        kind, flags, extra, queue, serial, number, tickets, skip, rows, length = _HEAD.unpack_from(self._buf, at)
        if not self._first <= kind <= self._last:
            raise ProtocolError(f"message of kind {kind}; {self._first} to {self._last} are known here")
        at += HEAD_BYTES
        sizes = [length]
        self._places = []
        if extra or flags & PLACED:
            more = 8 * (extra if not flags & PLACED else 2 * extra + 1)
            if self._stop - at < more:
                self._grow(HEAD_BYTES + more)
                return None
            sizes = self._sizes(at, extra, length, placed=bool(flags & PLACED))
            flags &= ~PLACED
            at += more
        total = sum(sizes)
        if total > _MAX_BYTES:
            raise ProtocolError(f"message of {total} bytes; {_MAX_BYTES} are allowed")
        head = (kind, flags, queue, serial, number, tickets, skip, rows)
        if total > _SMALL:
            have = min(self._stop - at, total)
            self._large = large = _Large(head, sizes, self._view[at : at + have])
            self._start = at + have
            return None if large.missing else self._finish_large(large)
        if self._stop - at < total:
            self._grow(at - self._start + total)
            return None
        return self._finish_small(head, sizes, at)

    def _sizes(self, at: int, extra: int, length: int, *, placed: bool) -> list[int]:
        """How many bytes of body and buffers follow in the stream; notes which of them lie elsewhere."""
        sizes = [length, *struct.unpack_from(f"<{extra}Q", self._buf, at)]
        if placed:
            offsets = struct.unpack_from(f"<{extra + 1}Q", self._buf, at + 8 * extra)
            self._places = list(zip(offsets, sizes, strict=True))
            sizes = [size if offset == INLINE else 0 for offset, size in self._places]
        return sizes

    def _finish_small(self, head: _Head, sizes: list[int], at: int) -> Frame:
        body = bytes(self._view[at : at + sizes[0]])
        at += sizes[0]
        buffers: list[Buffer] = []
        for size in sizes[1:]:
            buffers.append(bytearray(self._view[at : at + size]))  # writable, as the arrays made of them are
            at += size
        self._start = at
        frame = Frame(*head, body, tuple(buffers))
        return self._filled(frame) if self._places else frame

    def _finish_large(self, large: _Large) -> Frame:
        self._large = None
        frame = large.frame()
        self.large = max(self.large, *map(len, frame.payload))
        return self._filled(frame) if self._places else frame

    def _filled(self, frame: Frame) -> Frame:
        """The frame with those pieces that lie elsewhere."""
        pieces = [
            piece if offset == INLINE else self.open(offset, size)
            for piece, (offset, size) in zip(frame.payload, self._places, strict=True)
        ]
        self._places = []
        return frame._replace(body=pieces[0], buffers=tuple(pieces[1:]))

    def _grow(self, need: int) -> None:
        """Make sure that a small message of `need` bytes fits behind ``_start``."""
        if need <= len(self._buf) - self._start:
            return
        rest = bytes(self._view[self._start : self._stop])
        if need > len(self._buf):
            self._buf = bytearray(need + _SMALL)
            self._view = memoryview(self._buf)
        self._buf[: len(rest)] = rest
        self._start, self._stop = 0, len(rest)


class _Large:
    """A message that is received straight into memory of its own."""

    def __init__(self, head: _Head, sizes: list[int], begin: memoryview) -> None:
        self._head = head
        self._sizes = sizes
        self._total = sum(sizes)
        self._mem = bytearray(min(self._total, max(_BEGIN, len(begin))))
        self._mem[: len(begin)] = begin
        self._have = len(begin)

    @property
    def missing(self) -> int:
        return self._total - self._have

    def room(self) -> memoryview:
        if self._have == len(self._mem):
            most = max(2 * self._have, min(8 * self._have, _STEP))
            self._mem += bytes(min(self._total, most) - self._have)
        return memoryview(self._mem)[self._have :]

    def advance(self, count: int) -> bool:
        self._have += count
        return not self.missing

    def frame(self) -> Frame:
        view = memoryview(self._mem)
        pieces = []
        at = 0
        for size in self._sizes:
            pieces.append(view[at : at + size])
            at += size
        return Frame(*self._head, pieces[0], tuple(pieces[1:]))
