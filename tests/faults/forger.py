"""A worker that grabs its own channel and writes a forged message into it, once of all workers.

`toolbox.forgery` names the message, `toolbox.marks` is a folder. After a message that must end it, it waits for that.
"""

import math
import os
import pickle
import socket
import stat
import struct
import time
from collections.abc import Callable
from typing import Any

from eisenmp.wire import FOREVER, HAS_VALUE, LISTED, OF_WARNING, PICKLED, Kind, encode
from tests.faults.worker import once

ROWS = 10
PLACED = 0x80
HEAD = struct.Struct('<BBHIQdIIIQ')


def channel() -> int:
    """The descriptor of this worker's end; there must be no other socket in it."""
    (fd,) = [fd for fd in range(256) if _is_socket(fd)]
    return fd


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


class RunsCode:
    """Its pickle leaves a mark where it is opened, with the process id in it."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return exec, (f'import os; open({self.mark!r}, "a").write(f"{{os.getpid()}}\\n")',)


class Leaves:
    """Its pickle ends whoever opens it with an exception that is no ``Exception``."""

    def __reduce__(self) -> Any:
        return exec, ('raise SystemExit(9)',)


def head(kind: int, **fields: Any) -> bytes:
    """A header with whatever numbers; `length` and `buffers` need not be true."""
    names = ('flags', 'buffers', 'queue', 'serial', 'number', 'tickets', 'skip', 'rows', 'length')
    return HEAD.pack(kind, *[fields.get(name, 0.0 if name == 'number' else 0) for name in names])


def message(kind: int, body: bytes | None = None, **fields: Any) -> bytes:
    """A message that decodes."""
    return b''.join(map(bytes, encode(kind, () if body is None else (body,), **fields)))


def placed(kind: int, *places: tuple[int, int], **fields: Any) -> bytes:
    """A message whose body and buffers are said to lie in shared memory: (offset, size) each."""
    sizes = b''.join(struct.pack('<Q', size) for _, size in places[1:])
    offsets = b''.join(struct.pack('<Q', offset) for offset, _ in places)
    return head(kind, flags=PLACED, buffers=len(places) - 1, length=places[0][1], **fields) + sizes + offsets


# What ends the worker that says it. `n`: the ticket that it holds; `mark`: a file that opened pickles would make.
ENDS: dict[str, Callable[[int, str], bytes]] = {
    'noise': lambda n, mark: b'\xff' * 100,
    'a kind of the other direction': lambda n, mark: message(Kind.CHUNK),
    'a kind of nobody': lambda n, mark: message(Kind.LAST_TO_MANAGER + 1),
    'a kind of the template': lambda n, mark: message(121, serial=0, number=1.0),
    'huge': lambda n, mark: head(Kind.PRINT, length=2**63),
    'huge buffers': lambda n, mark: head(Kind.PRINT, buffers=2) + b'\xff' * 16,
    'a queue that is not there': lambda n, mark: message(Kind.ANSWER, queue=99, serial=n),
    'any queue, where one is meant': lambda n, mark: message(Kind.PUT, pickle.dumps(1), queue=0xFFFF_FFFF),
    'billions of tickets': lambda n, mark: message(Kind.ANSWER, serial=n, tickets=2**32 - 1, number=0.1),
    'billions of tickets, with a list': lambda n, mark: message(
        Kind.ANSWER, pickle.dumps([1]), serial=n, tickets=2**32 - 1, number=0.1, flags=HAS_VALUE | LISTED
    ),
    'tickets that were never made': lambda n, mark: message(Kind.ANSWER, serial=2**64 - 1, tickets=7, number=0.1),
    'no number of seconds': lambda n, mark: message(Kind.ANSWER, serial=n, number=math.nan),
    'endless seconds': lambda n, mark: message(Kind.ANSWER, serial=n, number=math.inf),
    'seconds beyond a float': lambda n, mark: message(Kind.ANSWER, serial=n, number=1e300),
    'seconds below zero': lambda n, mark: message(Kind.ANSWER, serial=n, number=-1e9),
    'a wait without a number': lambda n, mark: message(Kind.ASK, serial=1, number=math.nan),
    'a forward of no queue': lambda n, mark: message(Kind.FORWARD, pickle.dumps(1), serial=n, number=math.nan),
    'a forward of an endless queue': lambda n, mark: message(Kind.FORWARD, pickle.dumps(1), serial=n, number=math.inf),
    'an error that is none': lambda n, mark: message(Kind.FAILED, pickle.dumps(5), serial=n, number=0.1),
    'an error without a body': lambda n, mark: message(Kind.FAILED, serial=n, number=0.1),
    'an error that runs code': lambda n, mark: message(Kind.FAILED, pickle.dumps(RunsCode(mark)), serial=n, number=0.1),
    'an error without a ticket that is none': lambda n, mark: message(
        Kind.FAILED, pickle.dumps([1, 2]), queue=0xFFFF_FFFF, number=0.1
    ),
    'a start error that is none': lambda n, mark: message(Kind.START_ERROR, pickle.dumps(5)),
    'a start error that runs code': lambda n, mark: message(Kind.START_ERROR, pickle.dumps((RunsCode(mark), ''))),
    'a log record that is none': lambda n, mark: message(Kind.LOG, pickle.dumps([1])),
    'a log record of other things': lambda n, mark: message(Kind.LOG, pickle.dumps({1: 2})),
    'a log record that runs code': lambda n, mark: message(Kind.LOG, pickle.dumps({'msg': RunsCode(mark)})),
    'a log record that leaves': lambda n, mark: message(Kind.LOG, pickle.dumps({'msg': Leaves()})),
    'a log record that is no pickle': lambda n, mark: message(Kind.LOG, b'\x80\x05garbage'),
    'a warning that is none': lambda n, mark: message(Kind.LOG, pickle.dumps({'text': 'x'}), flags=OF_WARNING),
    'a list that is none, cut apart': lambda n, mark: (
        message(Kind.RESULT, pickle.dumps(1), serial=n)
        + message(Kind.ANSWER, b'garbage', serial=n, number=0.1, flags=HAS_VALUE | PICKLED)
    ),
    'memory that is not shared': lambda n, mark: placed(Kind.ANSWER, (0, 100), serial=n, number=0.1),
    'ready for what was not offered': lambda n, mark: message(Kind.RING_READY),
    'free, and nothing is': lambda n, mark: message(Kind.FREED, bytes(8)),
}


# What is heard and does no harm: the worker works on.
STAYS: dict[str, Callable[[int, str], bytes]] = {
    'an answer to a ticket of somebody else': lambda n, mark: message(
        Kind.ANSWER, pickle.dumps('forged'), serial=0, number=0.1, flags=HAS_VALUE
    ),
    'an error of a ticket of somebody else': lambda n, mark: message(
        Kind.FAILED, pickle.dumps(('ValueError', 'forged', '', None)), serial=0, number=0.1
    ),
    'a result of a ticket that was never made': lambda n, mark: message(Kind.RESULT, pickle.dumps(1), serial=2**64 - 1),
    'up, once more': lambda n, mark: message(Kind.UP, number=0.1),
    'a progress that runs code': lambda n, mark: message(
        Kind.PUT, pickle.dumps([RunsCode(mark), 1]), queue=3, number=FOREVER
    ),
}


def forge(data: bytes) -> None:
    """Write it, past all that the worker itself would say."""
    with socket.socket(fileno=os.dup(channel())) as own:
        own.sendall(data)


def chunk(rows: list[int], toolbox: Any) -> int:
    """Sums of chunks; who gets the one with number 47 forges once."""
    if 47 in rows and once(toolbox.marks, 'forged'):
        ticket = rows[0] // ROWS
        name, mark = toolbox.forgery, os.path.join(toolbox.marks, 'opened')
        forge((ENDS.get(name) or STAYS[name])(ticket, mark))
        if name in ENDS:
            time.sleep(60)
    return sum(rows)
