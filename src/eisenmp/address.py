"""Where the live page is served, and who may ask for it by which name: what ``DASHBOARD`` says. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import ipaddress

__all__ = ["ALLOWED", "TOKEN_ALLOWED", "Address", "address_of", "fits", "is_token"]

ALLOWED: Final = "True or False, a port from 1 to 65535, or 'host:port'"
TOKEN_ALLOWED: Final = "None, or a text of at least 16 letters, digits, '-', '.', '_' or '~'"

_LOOPBACK: Final = "127.0.0.1"
_FIRST: Final = 8642  # where the search for a free port begins
_TRIES: Final = 20
_TEXT: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]/@#?]+)):(?P<port>[0-9]{1,5})")
_HOST_HEADER: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:\[\]/@#?]+))(?::[0-9]{1,5})?")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~-]{16,}")


class Address(NamedTuple):
    """A host, and ports to be tried one after the other; 0: whichever is free."""

    host: str
    ports: tuple[int, ...]

    @property
    def is_local(self) -> bool:
        """Only programs of this machine get there."""
        return _is_loopback(self.host)

    @property
    def is_everywhere(self) -> bool:
        """It stands for all addresses of this machine."""
        ip = _ip(self.host)
        return ip is not None and ip.is_unspecified

    def url(self, port: int) -> str:
        """Of a port, for a browser on this machine."""
        host = self.host
        if self.is_everywhere:
            host = "::1" if ":" in host else _LOOPBACK
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def answers_to(self, header: str | None) -> bool:
        """Whether a ``Host`` header is one that a browser sends that was meant to come here.

        A page of another site can make its own name lead to this machine, but it cannot make the browser send another
        name than that. So names of loopback and the one that was asked for are good, and where all addresses were
        asked for, any number of a host: such a number leads nowhere else.
        """
        found = _HOST_HEADER.fullmatch(header or "")
        if found is None:
            return False
        host = (found["six"] or found["name"]).lower()
        if host == self.host.lower() or _is_loopback(host):
            return True
        return self.is_everywhere and _ip(host) is not None


def address_of(value: Any) -> Address | None:
    """What ``DASHBOARD`` means; None: no page.

    Raises:
        ValueError: nothing; see `ALLOWED`.
    """
    if value is None or value is False:
        return None
    if value is True:
        return Address(_LOOPBACK, (*range(_FIRST, _FIRST + _TRIES), 0))
    if isinstance(value, int) and 1 <= value <= 65535:
        return Address(_LOOPBACK, (value,))
    if isinstance(value, str) and (found := _TEXT.fullmatch(value)) and 1 <= int(found["port"]) <= 65535:
        six = found["six"]
        if six is None or _ip(six) is not None:
            return Address(six or found["name"], (int(found["port"]),))
    raise ValueError(f"{value!r}; allowed: {ALLOWED}")


def fits(value: Any) -> bool:
    """Whether ``DASHBOARD`` may be that."""
    if value is None:
        return False
    try:
        address_of(value)
    except ValueError:
        return False
    return True


def is_token(value: Any) -> bool:
    """Whether ``DASHBOARD_TOKEN`` may be that: it goes into a URL as it is, and must not be guessed."""
    return value is None or (isinstance(value, str) and _TOKEN.fullmatch(value) is not None)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress  # only a job with a page needs it

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    ip = _ip(host)
    return host.lower() == "localhost" if ip is None else ip.is_loopback
