"""Whose file it is. Pickles run code when they are opened, so those of a file from elsewhere stay closed.

A file carries a seal that only this user's programs can make: a hash of its identity with a key that lies in a private
file of the user's.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import socket
import tempfile
from typing import Final

__all__ = ["is_own", "seal"]

_BYTES: Final = 32


def seal(identity: str) -> str:
    """The seal of a file with that identity."""
    key = _key()
    if key is None:  # no place for a key: better than nothing
        return f"user {os.getuid() if hasattr(os, 'getuid') else ''} on {socket.gethostname()}"
    return hmac.new(key, identity.encode(), hashlib.sha256).hexdigest()


def is_own(identity: object, sealed: object) -> bool:
    """Whether this user has made the file."""
    return isinstance(identity, str) and isinstance(sealed, str) and hmac.compare_digest(seal(identity), sealed)


def _folder() -> str:
    home = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return os.path.join(home or os.path.join(os.path.expanduser("~"), ".local", "share"), "eisenmp")


def _key() -> bytes | None:
    """This user's key, made when it is needed first; None where none can be kept."""
    path = os.path.join(_folder(), "job.key")
    key = _read(path)
    if key is None:
        with contextlib.suppress(OSError):
            _make(path)
        key = _read(path)
    return key


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            key = file.read()
    except OSError:
        return None
    return key if len(key) == _BYTES else None


def _make(path: str) -> None:
    """Whole or not at all, and never over one that another process has made meanwhile."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    file, temporary = tempfile.mkstemp(dir=folder)  # mode 0600
    try:
        os.write(file, secrets.token_bytes(_BYTES))
        os.close(file)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if _read(path) is None:
                os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
