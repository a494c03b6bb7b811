"""``--range`` and ``--space``: from a text to items. A small language of its own; nothing is evaluated.

::

    space    = name "(" [argument {"," argument}] ")"
    argument = space | list | text | "repeat" "=" number
    list     = "[" [text {"," text}] "]"
    text     = "quoted" | 'quoted' | bare          bare: up to a comma, a bracket or a space

The last argument of all but chain and zip is their number, when it looks like one: ``product(abc, 5)``. A bare number
in a list or in ``range`` is a number; a text that stands for a pool is the pool of its characters.
"""

from __future__ import annotations

import re
from typing import Any, Final

from eisenmp import spaces
from eisenmp.errors import SettingsError, nearest

__all__ = ["parse_range", "parse_space"]

_TOKEN: Final = re.compile(r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<mark>[(),=\[\]])|(?P<bare>[^\s(),=\[\]"']+))""")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:_\d+)*\Z")
_DEEPEST: Final = 20  # spaces within spaces

_KINDS: Final[dict[str, Any]] = {
    "range": spaces.Range,
    "product": spaces.Product,
    "permutations": spaces.Permutations,
    "combinations": spaces.Combinations,
    "combinations_with_replacement": spaces.CombinationsWithReplacement,
    "chain": spaces.Chain,
    "zip": spaces.Zip,
}


class _Text(str):
    """A text that stood in quotes: no number, whatever it looks like."""


def parse_range(text: str) -> range:
    """``A:B`` or ``A:B:STEP``.

    Raises:
        SettingsError: it is something else.
    """
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(_NUMBER.match(part.strip()) for part in parts):
        raise SettingsError(f"--range {text!r} does not fit; allowed: A:B or A:B:STEP with whole numbers, as 0:1000")
    start, stop, step = [*map(int, parts), 1][:3]
    if not step:
        raise SettingsError(f"--range {text!r}: a STEP of 0 leads nowhere")
    return range(start, stop, step)


def parse_space(text: str) -> spaces.Space[Any]:
    """``product(abc, 5)``.

    Raises:
        SettingsError: it says what is wrong, and where.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._at = 0

    def _split(self) -> list[tuple[str, str, int]]:
        """(kind, token, place of it), and an end."""
        tokens, at = [], 0
        text = self._text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._wrong("a quote that nothing closes", at)
            kind = match.lastgroup or ""
            tokens.append((kind, match[kind], match.start(kind)))
            at = match.end()
        return [*tokens, ("end", "", len(text))]

    def _wrong(self, what: str, at: int) -> SettingsError:
        return SettingsError(f"--space {self._text!r}: {what}, at character {at + 1}")

    def _next(self) -> tuple[str, str, int]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _peek(self, offset: int = 0) -> str:
        kind, token, _ = self._tokens[min(self._at + offset, len(self._tokens) - 1)]
        return token if kind == "mark" else ""

    def _expect(self, *marks: str) -> str:
        _, token, at = self._next()
        if token not in marks:
            shown = f"{token!r}" if token else "the end"
            raise self._wrong(f"{shown} in the place of {' or '.join(repr(mark) for mark in marks)}", at)
        return token

    def whole(self) -> spaces.Space[Any]:
        made = self._space(0)
        kind, token, at = self._next()
        if kind != "end":
            raise self._wrong(f"{token!r} after the end", at)
        return made

    def _space(self, depth: int) -> spaces.Space[Any]:
        kind, name, at = self._next()
        if kind != "bare" or self._peek() != "(" or depth > _DEEPEST:
            raise self._wrong(f"a space such as product(abc, 5) is needed; there are: {', '.join(_KINDS)}", at)
        if name not in _KINDS:
            raise self._wrong(f"no space {name!r}{nearest(name, _KINDS)}; there are: {', '.join(_KINDS)}", at)
        self._expect("(")
        arguments: list[Any] = []
        options: dict[str, int] = {}
        while self._peek() != ")":
            self._argument(arguments, options, depth)
            if self._expect(",", ")") == ")":
                break
        else:
            self._expect(")")
        try:
            return _make(name, arguments, options)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._wrong(str(error), at) from None

    def _argument(self, arguments: list[Any], options: dict[str, int], depth: int) -> None:
        if self._peek() == "[":
            arguments.append(self._list())
            return
        if self._peek(1) == "(":
            arguments.append(self._space(depth + 1))
            return
        kind, token, at = self._next()
        if kind not in ("bare", "quoted"):
            raise self._wrong(f"{token!r} in the place of an argument" if token else "an argument is missing", at)
        if kind == "bare" and self._peek() == "=":
            self._expect("=")
            _, number, place = self._next()
            if token not in ("repeat", "r") or not _NUMBER.match(number):
                raise self._wrong(f"{token}={number}: allowed is repeat= or r= with a whole number", place)
            options[token] = int(number)
            return
        arguments.append(_Text(token[1:-1]) if kind == "quoted" else token)

    def _list(self) -> list[Any]:
        self._expect("[")
        elements: list[Any] = []
        while self._peek() != "]":
            kind, token, at = self._next()
            if kind not in ("bare", "quoted"):
                raise self._wrong("a list holds texts and numbers, as [red, green, 3]", at)
            elements.append(token[1:-1] if kind == "quoted" else _number_or_text(token))
            if self._expect(",", "]") == "]":
                return elements
        self._expect("]")
        return elements


def _number_or_text(token: str) -> int | str:
    return int(token) if _NUMBER.match(token) else token


def _is_number(argument: Any) -> bool:
    return isinstance(argument, str) and not isinstance(argument, _Text) and bool(_NUMBER.match(argument))


def _make(name: str, arguments: list[Any], options: dict[str, int]) -> spaces.Space[Any]:
    """Build it. Raises what the space raises about its arguments."""
    if name == "range":
        if not arguments or options or not all(map(_is_number, arguments)):
            raise TypeError("range takes one to three whole numbers")
        return spaces.Range(*map(int, arguments))
    if name not in ("chain", "zip") and len(arguments) > 1 and not options and _is_number(arguments[-1]):
        options["repeat" if name == "product" else "r"] = int(arguments.pop())
    made: spaces.Space[Any] = _KINDS[name](*[str(a) if isinstance(a, str) else a for a in arguments], **options)
    return made
