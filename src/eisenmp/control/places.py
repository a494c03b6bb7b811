"""Where control sockets are: in a folder that belongs to this user, and that nobody else can look into."""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Final

__all__ = [
    "folder_for",
    "forget_if_deaf",
    "is_own",
    "listening_socket",
    "own_folder",
    "remove",
    "sockets",
    "supported",
    "tidy",
]

_ENDING: Final = ".sock"
_CREDENTIALS: Final = struct.Struct("iII")  # pid, uid, gid, as Linux tells them
_jobs = count(1)  # of this process


def supported() -> bool:
    """Whether this system has sockets in the file system, and users."""
    return hasattr(socket, "AF_UNIX") and hasattr(os, "getuid")


def folder_for(environment: Mapping[str, str], uid: int, temporary: str) -> str:
    """The path of the folder: where the system keeps such things for a user, or else among temporary files."""
    run = environment.get("XDG_RUNTIME_DIR", "")
    return os.path.join(run, "eisenmp") if os.path.isabs(run) else os.path.join(temporary, f"eisenmp-{uid}")


def own_folder(*, make: bool) -> str | None:
    """The folder, made if it is to be; None: there is none.

    Raises:
        OSError: it cannot be made, or it is not this user's alone: somebody else may have laid it there.
    """
    uid = os.getuid()
    path = folder_for(os.environ, uid, tempfile.gettempdir())
    if make:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{path} is not a folder that is open to this user alone (0700): remove it")
    return path


def listening_socket(folder: str) -> tuple[socket.socket, str]:
    """A new socket for a job of this process, and its path.

    It gets its name when it listens already, so that whoever finds it is heard.

    Raises:
        OSError: the system refuses; the path is too long, say.
    """
    path = os.path.join(folder, f"{os.getpid()}-{next(_jobs)}{_ENDING}")
    begun = path + ".new"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove(begun)
        sock.bind(begun)
        os.chmod(begun, 0o600)
        sock.listen(16)
        sock.setblocking(False)
        os.rename(begun, path)
    except BaseException:
        sock.close()
        remove(begun)
        raise
    return sock, path


def sockets(folder: str) -> Iterator[tuple[int, str]]:
    """(pid, path) of all in the folder, of those that have gone too; in the order of their beginning."""
    found = []
    for name in os.listdir(folder):
        numbers = name.removesuffix(_ENDING).split("-")
        if name.endswith(_ENDING) and len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            path = os.path.join(folder, name)
            try:
                found.append((os.lstat(path).st_mtime, int(numbers[0]), path))
            except FileNotFoundError:
                pass  # it has just gone
    return ((pid, path) for _, pid, path in sorted(found))


def tidy(folder: str) -> None:
    """Remove what processes that were killed have left. Nobody is asked who may be alive."""
    for pid, path in sockets(folder):
        if not _is_alive(pid):
            forget_if_deaf(path)


def forget_if_deaf(path: str) -> bool:
    """Remove a socket at which nobody listens; tell whether that was so.

    The number of a process may be one of another container that shares the folder; that nobody listens is certain.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except ConnectionRefusedError:
            remove(path)
            return True
        except OSError:
            pass  # it has gone, or its process is busy
    return False


def is_own(sock: socket.socket) -> bool:
    """Whether this user, or root, is at the other end, as far as the system tells; the folder lets nobody else in."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    told = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(told)[1] in (os.getuid(), 0)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


def remove(path: str) -> None:
    """Nobody shall find it any more."""
    try:
        os.unlink(path)
    except OSError:
        pass
