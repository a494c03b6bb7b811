"""The worker process, from its first breath to its last.

1. take the end of the channel that the manager left for this process, and read SETUP, its first message
2. take over the manager's search path; die when the manager dies; leave Ctrl-C to the manager
3. send prints and log records to the manager
4. fill the toolbox; wait for the shared objects that were announced
5. load the worker modules, the last one first; call all but the first one once
6. say UP, then call the first one again and again (worker/loop.py)
7. say RETURNED, wait for the threads that the modules have started, end

SETUP is a pickled dict of plain data::

    sys_path, argv, slot, name, queues (rows of the queue table), modules [(path, ref)], function (of a short form, see
    functions.py; else None), call ('toolbox', …), settings,
    attributes [(name, payload)], shares and tools (how many such messages follow), log_levels, or template=True
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from eisenmp.errors import ProtocolError
from eisenmp.functions import unpack_function
from eisenmp.payload import loads
from eisenmp.wire import HEAD_BYTES, Kind, encode, read_head
from eisenmp.worker.channel import Disconnected, WorkerChannel
from eisenmp.worker.inbox import Inbox
from eisenmp.worker.loader import load
from eisenmp.worker.loop import bind, call_until_done, run_plain
from eisenmp.worker.streams import LineStream, redirect, redirect_logging
from eisenmp.worker.toolbox import Toolbox

__all__ = ["from_command_line", "run", "run_forked", "run_in_thread"]


def from_command_line() -> None:
    """Entry of a spawned process: ``… package_home descriptor`` (on Windows the socket comes on stdin)."""
    if sys.argv[2] == "stdin":
        sock = socket.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined,unused-ignore]
    else:
        sock = socket.socket(fileno=int(sys.argv[2]))
    run(sock)


def run_forked(sock: socket.socket) -> int:
    """Entry of a forked process, which must not come back: its exit code."""
    code = 1
    try:
        sys.stdin = open(os.devnull, encoding="utf-8")  # the manager's input is not ours to read
        # What was the manager's dispatcher thread, a daemon, is the main thread here; threads inherit that from it.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
        run(sock)
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:
        traceback.print_exc()
    return code


def run(sock: socket.socket) -> None:
    """A worker process on its end of the channel, or the template process of ``forkserver``."""
    setup = _read_setup(sock)
    sys.path[:] = setup["sys_path"]
    _quiet_signals()
    _die_with_manager()
    if setup.get("template"):
        from eisenmp.worker.template import serve

        serve(sock, run_forked)
        return
    sys.argv[:] = setup["argv"]
    _work(sock, setup, shared_process=False)


def run_in_thread(sock: socket.socket) -> None:
    """A worker as a thread of the manager (engine ``inline``): nothing of the process is changed."""
    try:
        _work(sock, _read_setup(sock), shared_process=True)
    except Disconnected:
        pass


def _work(sock: socket.socket, setup: Mapping[str, Any], *, shared_process: bool) -> None:
    began = time.perf_counter()
    toolbox = Toolbox()
    plain = setup["call"] != "toolbox"
    inbox = Inbox(toolbox, plain=plain)
    inbox.on_queue = toolbox.add_queue
    channel = WorkerChannel(sock, inbox.on_frame, shared_process=shared_process)
    inbox.connect(channel)
    streams: tuple[LineStream, ...] = ()
    if not shared_process:
        channel.watch_manager()
        streams = redirect(inbox)
        redirect_logging(inbox, setup["log_levels"], setup)
    try:
        entry = _prepare(toolbox, inbox, setup)
        channel.send(encode(Kind.UP, number=time.perf_counter() - began))
        if plain:
            short, per_item = setup.get("function"), setup["call"] == "item"
            call = entry if short is not None else bind(entry, toolbox)
            run_plain(inbox, toolbox, call, per_item=per_item, retries=short["retries"] if short is not None else None)
        else:
            call_until_done(inbox, toolbox, entry)
        inbox.stock.give_all_back()
        channel.send(encode(Kind.RETURNED))
    except StartError as error:
        channel.send(encode(Kind.START_ERROR, (pickle.dumps(error.args),)))
    finally:
        if not shared_process:
            _wait_for_threads()
            inbox.stock.give_all_back()
        inbox.close()
        for stream in streams:
            stream.finish()


class StartError(Exception):
    """The worker cannot begin. ``args``: (what is wrong and where, traceback text)."""


def _prepare(toolbox: Toolbox, inbox: Inbox, setup: Mapping[str, Any]) -> Callable[..., Any]:
    """Fill the toolbox, load and start the modules; the first module's entry is returned, not called."""
    what = "the toolbox"
    try:
        toolbox.furnish(inbox, setup)
        for name, payload in setup["attributes"]:
            what = f"the toolbox attribute {name!r}"
            toolbox.update([(name, loads(payload))])
        what = "a shared object"
        inbox.channel.wait_for(lambda: inbox.shares_seen >= setup["shares"] and inbox.tools_seen >= setup["tools"])
    except Disconnected:
        raise
    except BaseException as error:
        words = f"{what} cannot be made in the worker: {type(error).__name__}: {error}"
        raise StartError(words, _traceback(error)) from error
    if setup.get("function") is not None:
        return _prepare_function(setup["function"])
    path, ref = setup["modules"][0]
    try:
        for path, ref in reversed(setup["modules"][1:]):
            load(path, ref)(toolbox)
        path, ref = setup["modules"][0]
        return load(path, ref)
    except Disconnected:
        raise
    except BaseException as error:
        raise StartError(_blame(error, path), _traceback(error)) from error


def _prepare_function(packed: dict[str, Any]) -> Callable[..., Any]:
    try:
        return unpack_function(packed)
    except Disconnected:
        raise
    except BaseException as error:
        raise StartError(_blame(error, "function"), _traceback(error)) from error


def _blame(error: BaseException, path: str) -> str:
    """Which module, where in the user's own code, and what."""
    where, message = path, str(error)
    if isinstance(error, SyntaxError) and error.filename:
        where, message = f"{error.filename}, line {error.lineno}", error.msg
    else:
        ours = os.path.dirname(os.path.abspath(__file__))
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(("<frozen", ours)):
                where = f"{frame.filename}, line {frame.lineno}"
    return f"worker module {where}: {type(error).__name__}: {message}"


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _read_setup(sock: socket.socket) -> dict[str, Any]:
    """The first message, read byte-exact so that nothing of the next one is taken along."""
    kind, length = read_head(_read_exactly(sock, HEAD_BYTES))
    if kind != Kind.SETUP:
        raise ProtocolError(f"the first message is of kind {kind}, not SETUP")
    setup: dict[str, Any] = pickle.loads(_read_exactly(sock, length))
    return setup


def _read_exactly(sock: socket.socket, need: int) -> bytes:
    data = bytearray()
    while len(data) < need:
        more = sock.recv(min(need - len(data), 1 << 20))
        if not more:
            raise Disconnected
        data += more
    return bytes(data)


def _quiet_signals() -> None:
    """Ctrl-C reaches every process of the terminal: ending workers is the manager's business."""
    if threading.current_thread() is threading.main_thread():
        # a handler that does nothing, not SIG_IGN, which programs started by the worker would inherit
        signal.signal(signal.SIGINT, lambda *_: None)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _die_with_manager() -> None:
    """Linux ends this process with the thread that started it, even when it is busy in C code."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        return  # the end-of-file on the channel tells as well
    if os.getppid() != parent:  # it died just before
        os._exit(1)


def _wait_for_threads() -> None:
    """A worker lives as long as the threads that its modules have started; its own are daemons."""
    me = threading.current_thread()
    while True:
        others = [t for t in threading.enumerate() if t is not me and not t.daemon and t is not threading.main_thread()]
        if not others:
            return
        for thread in others:
            thread.join()
