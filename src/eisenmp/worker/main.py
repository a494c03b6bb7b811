"""The worker process, from its first breath to its last.

1. take the end of the channel that the manager left for this process; read up to the last part of SETUP
2. take over the manager's search path; die when the manager dies; leave Ctrl-C to the manager
3. send prints and log records to the manager
4. open the attributes and shared objects, fill the toolbox; wait for the tools that were announced
5. load the worker modules, the last one first; call all but the first one once
6. say UP, then call the first one again and again (worker/loop.py)
7. say RETURNED, wait for the threads that the modules have started, end

SETUP is a pickled dict of plain data and comes in parts, SHARE messages between them (worker/kit.py)::

    for all alike:    manager (its pid), sys_path, argv, modules [(path, ref)], call ('toolbox', …), settings,
                      log_levels, attributes [(name, place)], among them the function of a short form (functions.py)
    the last part:    slot, name, cores (None: any), queues (rows of the queue table), tools (how many such messages
                      follow)

A fork of the template (worker/template.py) finds all but the last part done, the modules' imports included.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from eisenmp.errors import ProtocolError
from eisenmp.functions import Function, begin
from eisenmp.traces import remote_text
from eisenmp.unnamed import fill_streams
from eisenmp.wire import HEAD_BYTES, Frame, Kind, encode, read_head
from eisenmp.worker import ports
from eisenmp.worker.channel import Channel, Disconnected, WorkerChannel
from eisenmp.worker.inbox import Inbox
from eisenmp.worker.kit import Kit, StartError
from eisenmp.worker.loader import load
from eisenmp.worker.loop import bind, call_until_done, run_plain
from eisenmp.worker.streams import Outlets
from eisenmp.worker.toolbox import Toolbox

__all__ = [
    "Connect",
    "die_with",
    "from_command_line",
    "quiet_signals",
    "run",
    "run_beside",
    "run_fork",
    "run_forked",
    "run_in_thread",
]

Connect = Callable[[Callable[[Frame], None]], Channel]  # gets what is called for each message that comes


def from_command_line() -> None:
    """Entry of a spawned process: ``… package_home descriptor`` (on Windows the socket comes on stdin)."""
    if sys.argv[2] == "stdin":
        sock = socket.fromshare(sys.stdin.buffer.read())  # type: ignore[attr-defined,unused-ignore]
    else:
        sock = socket.socket(fileno=int(sys.argv[2]))
        sock.set_inheritable(False)  # a program that the worker starts has no part in it
    try:
        run(sock)
    except Disconnected:
        os._exit(1)  # before anything was begun


def run_forked(sock: socket.socket, *, by_main: bool = False) -> int:
    """Entry of a copy of the manager, which must not come back: its exit code. `by_main`: made by its main thread."""

    def work() -> None:
        fill_streams()
        sys.stdin = open(os.devnull, encoding="utf-8")  # the manager's input is not ours to read
        _forget_handlers()
        # What was the manager's dispatcher thread, a daemon, is the main thread here; threads inherit that from it.
        threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
        if sys.version_info >= (3, 13) and not by_main:
            from eisenmp.worker.signals import pass_on

            pass_on()
        run(sock, own_files=False)

    return _exit_code(work)


def run_fork(sock: socket.socket, kit: Kit, outlets: Outlets) -> int:
    """Entry of a fork of the template: its exit code."""

    def work() -> None:
        _read_setup(sock, kit)
        _work(_by_socket(sock), kit, outlets=outlets)

    return _exit_code(work)


def _exit_code(work: Callable[[], None]) -> int:
    code = 1
    try:
        work()
        code = 0
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except Disconnected:
        pass  # nobody is there to be told
    except BaseException:
        sys.excepthook(*sys.exc_info())
    return code


def run(sock: socket.socket, *, own_files: bool = True) -> None:
    """A worker process on its end of the channel. `own_files`: see :class:`Kit`."""
    kit = Kit(own_files=own_files)
    _read_setup(sock, kit)
    sys.path[:] = kit.setup["sys_path"]
    quiet_signals()
    die_with(kit.setup["manager"])
    sys.argv[:] = kit.setup["argv"]
    _work(_by_socket(sock), kit)


def run_beside(kit: Kit, connect: Connect) -> int:
    """A worker on a thread of a process that is its own, and whose main thread is not (engine ``ray``): its exit code.

    The process may be on another machine: of the manager's search path, what is there too goes ahead of its own.
    """

    def work() -> None:
        found = [folder for folder in kit.setup["sys_path"] if folder not in sys.path and os.path.isdir(folder)]
        sys.path[:0] = found
        sys.argv[:] = kit.setup["argv"]
        _work(connect, kit)

    return _exit_code(work)


def run_in_thread(sock: socket.socket) -> None:
    """A worker as a thread of the manager (engine ``inline``): nothing of the process is changed."""
    kit = Kit(own_files=False)
    try:
        _read_setup(sock, kit)
        _work(_by_socket(sock, shared_process=True), kit, shared_process=True)
    except Disconnected:
        pass


def _by_socket(sock: socket.socket, *, shared_process: bool = False) -> Connect:
    return lambda on_frame: WorkerChannel(sock, on_frame, shared_process=shared_process)


def _work(connect: Connect, kit: Kit, *, outlets: Outlets | None = None, shared_process: bool = False) -> None:
    began = time.perf_counter()
    setup = kit.setup
    if setup.get("cores") and not shared_process:
        _keep_to(setup["cores"])
    toolbox = Toolbox()
    plain = setup["call"] != "toolbox"
    inbox = Inbox(toolbox, plain=plain)
    inbox.on_queue = toolbox.add_queue
    toolbox.furnish(inbox, setup)  # first: a message may come as soon as there is a channel, on another thread
    channel = connect(inbox.on_frame)
    inbox.connect(channel)
    ports.enter(inbox, shared_process=shared_process)
    if not shared_process:
        channel.watch_manager()
        if outlets is None:
            outlets = Outlets(inbox, setup["log_levels"], setup)
        else:
            outlets.turn(inbox, setup)
    try:
        entry = _prepare(toolbox, inbox, kit)
        channel.send(encode(Kind.UP, number=time.perf_counter() - began))
        if plain:
            if not shared_process:
                _work_in_the_background()
            function, per_item = kit.function(), setup["call"] == "item"
            call = entry if function is not None else bind(entry, toolbox)
            retries = function.retries if function is not None else _item_retries(setup)
            run_plain(inbox, toolbox, call, per_item=per_item, retries=retries)
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
        ports.leave(inbox)
        if outlets is not None:
            outlets.finish()


def _prepare(toolbox: Toolbox, inbox: Inbox, kit: Kit) -> Callable[..., Any]:
    """Fill the toolbox, load and start the modules; the first module's entry is returned, not called."""
    toolbox.update(kit.open().items())
    inbox.channel.wait_for(lambda: inbox.tools_seen >= kit.setup["tools"])
    function = kit.function()
    if function is not None:
        return _begin_function(function)
    modules: list[tuple[str, str]] = kit.setup["modules"]
    path, ref = modules[0]
    try:
        for path, ref in reversed(modules[1:]):
            load(path, ref)(toolbox)
        path, ref = modules[0]
        return load(path, ref)
    except Disconnected:
        raise
    except BaseException as error:
        raise StartError(_blame(error, path), remote_text(error)) from error


def _begin_function(function: Function) -> Callable[..., Any]:
    try:
        return begin(function)
    except Disconnected:
        raise
    except BaseException as error:
        raise StartError(_blame(error, "function"), remote_text(error)) from error


def _blame(error: BaseException, path: str) -> str:
    """Which module, where in the user's own code, and what."""
    where, message = path, str(error)
    if isinstance(error, SyntaxError) and error.filename:
        where, message = f"{error.filename}, line {error.lineno}", error.msg
    else:
        import traceback

        ours = os.path.dirname(os.path.abspath(__file__))
        for frame in traceback.extract_tb(error.__traceback__):
            if not frame.filename.startswith(("<frozen", ours)):
                where = f"{frame.filename}, line {frame.lineno}"
    return f"worker module {where}: {type(error).__name__}: {message}"


def _read_setup(sock: socket.socket, kit: Kit) -> None:
    """The first messages, read byte-exact so that nothing of what follows is taken along."""
    while not kit.complete:
        kind, length = read_head(_read_exactly(sock, HEAD_BYTES))
        body = _read_exactly(sock, length)
        if kind == Kind.SETUP:
            kit.add_setup(body)
        elif kind == Kind.SHARE:
            kit.add_share(body)
        else:
            raise ProtocolError(f"a message of kind {kind} ahead of SETUP")


def _read_exactly(sock: socket.socket, need: int) -> bytes:
    data = bytearray()
    while len(data) < need:
        more = sock.recv(min(need - len(data), 1 << 20))
        if not more:
            raise Disconnected
        data += more
    return bytes(data)


def quiet_signals() -> None:
    """Ctrl-C reaches every process of the terminal: ending workers is the manager's business."""
    if threading.current_thread() is threading.main_thread():
        # a handler that does nothing, not SIG_IGN, which programs started by the worker would inherit
        signal.signal(signal.SIGINT, lambda *_: None)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _forget_handlers() -> None:
    """What the program does about signals is its own affair: in a copy of it they take their default actions again."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)


def die_with(parent: int) -> None:
    """Linux ends this process with the thread that started it, even when it is busy in C code.

    Args:
        parent: the process that has started this one, which may be gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (ImportError, OSError, AttributeError):
        return  # the end-of-file on the channel tells as well
    if os.getppid() != parent:  # it died just before
        os._exit(1)


def _item_retries(setup: dict[str, Any]) -> int | None:
    """How often an item is tried again that raised; then it fails alone. None: its chunk fails, and with it the job."""
    settings = setup["settings"]
    fail_alone = setup["call"] == "item" and settings["ON_ERROR"] == "skip"
    return settings["RETRIES"] if fail_alone else None


def _work_in_the_background() -> None:
    """Whoever computes does not push others off a processor in the moment it gets work.

    The manager that hands out the work would be the first, with the next chunk half made and another core free. The
    share of the processors stays what it is. Not for classic workers, which may be servers.
    """
    if hasattr(os, "SCHED_BATCH") and os.sched_getscheduler(0) == os.SCHED_OTHER:
        try:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        except OSError:
            pass  # a container that forbids it


def _keep_to(cores: list[int]) -> None:
    """``CPU_AFFINITY``: this process, and all threads that it will start, run on these cores only."""
    try:
        os.sched_setaffinity(0, cores)
    except (AttributeError, OSError) as error:  # they were there when the job started
        print(f"CPU_AFFINITY: cores {cores} cannot be had here: {error}", file=sys.stderr)


def _wait_for_threads() -> None:
    """A worker lives as long as the threads that its modules have started; its own are daemons."""
    me = threading.current_thread()
    while True:
        others = [t for t in threading.enumerate() if t is not me and not t.daemon and t is not threading.main_thread()]
        if not others:
            return
        for thread in others:
            thread.join()
