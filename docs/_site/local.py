"""Whether a site gets everything from where it lies: no fonts, scripts, styles or pictures from other hosts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

__all__ = ["foreign_requests"]

_LOADED: Final = {  # what a browser loads by itself; a link in a text (`a href`) waits for a click
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "input": ("src",),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
}
_NOT_LOADED: Final = {"canonical", "next", "prev", "search", "index", "author", "license"}  # kinds of `link`
_HOST: Final = re.compile(r"\s*(?:[a-z]+:)?//", re.IGNORECASE)
_STYLE: Final = re.compile(r"(?:url\(|@import)\s*[\"']?((?:[a-z]+:)?//[^\"')\s;]*)", re.IGNORECASE)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._in_style = tag == "style"
        if tag == "link" and given.get("rel") in _NOT_LOADED:
            return
        for name in _LOADED.get(tag, ()):
            value = given.get(name) or ""
            if _HOST.match(value):
                self.found.append(f"<{tag} {name}={value!r}>")
        self.found += _STYLE.findall(given.get("style") or "")

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += _STYLE.findall(data)


def foreign_requests(site: Path) -> Iterator[str]:
    """What the pages and styles below the folder `site` would load from elsewhere, one line each."""
    for path in sorted(site.rglob("*")):
        if path.suffix not in (".html", ".css", ".svg"):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".css":
            found = _STYLE.findall(text)
        else:
            reader = _Reader()
            reader.feed(text)
            found = reader.found
        for what in found:
            yield f"{path.relative_to(site)}: {what}"
