"""A worker that comes to grief once, for the table of faults: at which spot, and in which way, says `AFFLICTION`.

That variable of the environment holds the fault, the spot, and a folder with a named pipe `here`, through which the
process says its pid right before it happens. Whoever reads the pipe knows where the process is.
"""

import contextlib
import faulthandler
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eisenmp.wire import HEAD_BYTES, PLACED, read_head

MARKED: Final = 7  # the item whose chunk is hit


def affliction() -> list[str]:
    """Fault, spot and folder. Looked up each time: the process that runs the tests imports this file too."""
    return os.environ.get('AFFLICTION', '- - -').split(maxsplit=2)


def _raise() -> None:
    raise ValueError('afflicted')


def _leave() -> None:
    raise SystemExit(3)


def _exit() -> None:
    os._exit(3)


def _signal(number: signal.Signals) -> Callable[[], None]:
    def strike() -> None:
        faulthandler.disable()  # a copy of a manager that runs tests would print all its threads
        with contextlib.suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # to this very thread: another one might take a signal for the process, and this one go on meanwhile
        signal.pthread_kill(threading.get_ident(), number)

    return strike


def _hang() -> None:
    """As `SIGTERM` is ignored from the import on, see below, only SIGKILL helps."""
    while True:
        time.sleep(60)


EXCEPTIONS: Final = ('raise', 'SystemExit')
FAULTS: Final[dict[str, Callable[[], None]]] = {
    'raise': _raise,
    'SystemExit': _leave,
    '_exit': _exit,
    'SIGKILL': _signal(signal.SIGKILL),
    'SIGSEGV': _signal(signal.SIGSEGV),
    'SIGSTOP': _signal(signal.SIGSTOP),
    'hangs': _hang,
}


def first() -> bool:
    """True for the first caller of all processes."""
    try:
        os.close(os.open(Path(affliction()[2], 'once'), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def strike(*signalled: Any) -> None:
    """Say 'I am here', and let it happen."""
    fault, *_, folder = affliction()
    with Path(folder, 'here').open('w') as pipe:
        pipe.write(str(os.getpid()))
    FAULTS[fault]()


def come_to(spot: str) -> None:
    """It happens here if this is the spot, to the first process that gets here."""
    if spot == affliction()[1] and first():
        strike()


def raise_at(spot: str) -> None:
    """If this is the spot, and it is an exception that is to happen, it happens each time, and nothing is said."""
    fault, where, *_ = affliction()
    if spot == where and fault in EXCEPTIONS:
        FAULTS[fault]()


class HalfWay:
    """The worker's socket, until it happens: when half of the next message is out, others may wait behind it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._sock: Any = channel._sock
        channel._sock = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendmsg(self, pieces: list[memoryview]) -> int:
        self._channel._sock = self._sock
        if first():
            whole = b''.join(pieces)
            self._sock.sendall(whole[: _middle(whole)])
            strike()
        return int(self._sock.sendmsg(pieces))


def _middle(messages: bytes) -> int:
    """Where the first message is cut: in its body, or where that lies in shared memory, in the list of places."""
    _, length = read_head(messages[:HEAD_BYTES])
    if messages[1] & PLACED:
        return HEAD_BYTES + 4
    return HEAD_BYTES + length // 2 if length else HEAD_BYTES // 2


class Trap:
    """An item: it happens when a worker unpickles it."""

    def __reduce__(self) -> Any:
        return _sprung, ()


def _sprung() -> int:
    come_to('before')
    return MARKED


class Late:
    """A result: it happens when it is pickled, after the function has returned."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        come_to('result')
        raise_at('result')  # it is pickled in another way when the first one fails
        return int, (self.value,)


def classic(toolbox: Any) -> bool:
    """Sums of chunks, in the classic style."""
    come_to('before')
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in rows:
        return False
    toolbox.forward(toolbox.copies, header)
    if MARKED in rows:
        _at_work(toolbox)
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, sum(rows)])
    if MARKED in rows:
        come_to('result')
    return True


def plain(rows: list[int], toolbox: Any) -> Any:
    """Sums of chunks, in the plain style."""
    toolbox.forward(toolbox.copies, rows[0])
    if MARKED not in rows:
        return sum(rows)
    _at_work(toolbox)
    return Late(sum(rows))


def _at_work(toolbox: Any) -> None:
    come_to('during')
    if affliction()[1] == 'write':
        HalfWay(toolbox._inbox.channel)


FAULT, SPOT, *_ = affliction()
if FAULT == 'hangs':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if SPOT == 'idle':
    signal.signal(signal.SIGUSR1, strike)
raise_at('import')
come_to('import')
