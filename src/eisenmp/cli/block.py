"""Inside a worker: a chunk of raw items in, one block of output out.

Decoding, the calls and encoding are all done here, so that the manager moves bytes and nothing else. A worker loads
json, csv and traceback when it needs them, and has no use for dataclasses: each would cost every start some
milliseconds.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, NamedTuple

from eisenmp.errors import CrashError, StopJob
from eisenmp.worker.channel import Disconnected
from eisenmp.worker.loader import load

__all__ = ["Block", "Failed", "Job", "Slab", "as_csv", "as_json", "as_text", "error_text"]

Format = Literal["text", "json", "csv", "items"]
_NOTHING: Final = object()  # in the place of a result: no call was made
_PIECE: Final = 16 << 10  # bytes of lines that are worked at together: what comes of them fits into a core's cache
_PACKAGE: Final = __name__.partition(".")[0] + "."


class Slab:
    """Some lines in a row: a sequence of bytes, which is made when somebody asks for one of them.

    Args:
        data: the lines with a newline between any two.
        size: how many there are, one at least.
    """

    def __init__(self, data: bytes, size: int) -> None:
        self.data = data
        self._size = size
        self._lines: list[bytes] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Slab, (self.data, self._size)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._apart())

    def __getitem__(self, at: Any) -> Any:
        return self._apart()[at]

    def pieces(self) -> Iterator[bytes]:
        """All of it, some lines at a time."""
        at, whole = 0, self.data
        while 0 <= (end := whole.find(b"\n", at + _PIECE)):
            yield whole[at:end]
            at = end + 1
        yield whole[at:]

    def _apart(self) -> list[bytes]:
        if not self._lines:
            self._lines = self.data.split(b"\n")
        return self._lines


class Failed(NamedTuple):
    """One item that has no result.

    Attributes:
        at: its place in the chunk.
        text: type and message of what was raised.
        trace: the frames of the user's own code, only where the job stops for it.
    """

    at: int
    text: str
    trace: str = ""


class Block(NamedTuple):
    """What became of one chunk.

    Attributes:
        data: the output, ready to be written.
        calls: items that were worked at.
        failures: those of them that have no result.
        header: of ``--csv``, the names of the columns in `data`; None: its rows have no names.
    """

    data: bytes
    calls: int
    failures: list[Failed]
    header: list[str] | None = None


class Job:
    """What is done with each chunk; travels to the workers.

    Args:
        path, ref: where the function is.
        takes: what the items are: lines of text or JSON, rows of CSV, or anything.
        gives: what is made of the results.
        on_error: ``'raise'``, ``'skip'``, ``'yield'``.
        retries: how often an item that raised is tried again.
        header: names of the columns, of CSV.
    Attributes:
        source: tells one text of the worker module from another, with ``--job``.
    """

    def __init__(  # what the command line says
        self,
        path: str,
        ref: str,
        takes: Format = "text",
        gives: Format = "text",
        on_error: str = "raise",
        retries: int = 0,
        header: Sequence[str] = (),
    ) -> None:
        self._path = path
        self._ref = ref
        self.takes = takes
        self.gives = gives
        self.on_error = on_error
        self.retries = retries
        self.header = header
        self.source = ""

    def prepare(self) -> None:
        """Load the function: a worker calls this first. Raises whatever the module raises."""
        self._function = load(self._path, self._ref)
        self._call = self._make_call()

    def __call__(self, rows: Any) -> tuple[Any, ...]:
        """Work through a chunk. A :class:`Block` comes of it, as plain data, which travels fastest."""
        if not isinstance(rows, Slab):
            block = self._work(_texts(b"\n".join(rows)) if self.takes == "text" else rows)
            return (block.data, block.calls, [tuple(failure) for failure in block.failures], block.header)
        data: list[bytes] = []
        calls = 0
        failures: list[tuple[int, str, str]] = []
        for piece in rows.pieces():
            block = self._work(_texts(piece) if self.takes == "text" else piece.split(b"\n"))
            data.append(block.data)
            failures += [(calls + at, text, trace) for at, text, trace in block.failures]
            calls += block.calls
            if failures and self.on_error == "raise":
                break
        return (b"".join(data), calls, failures, None)

    def _work(self, items: Sequence[Any]) -> Block:
        failures: list[Failed] = []
        results: list[Any] = []
        walk = iter(items)
        while (error := self._go_on(walk, results)) is not None:
            item = items[len(results)]
            result = self._again(item, error)
            if isinstance(result, BaseException):
                failures.append(self._failed(len(results), result, item))
                if self.on_error == "raise":
                    break
                result = self.stand_in(failures[-1].text)
            results.append(result)
        return self._encode(results, failures)

    # ---- calls

    def _make_call(self) -> Callable[[Any], Any]:
        function = self._function
        if self.takes == "json":
            from json import loads

            return lambda line: _NOTHING if line.isspace() or not line else function(_open_json(line, loads))
        if self.takes == "csv":
            return lambda row: function(_open_row(row, self.header))
        return function

    def _go_on(self, walk: Iterator[Any], results: list[Any]) -> BaseException | None:
        """Call for one item after the other, as far as it goes: return what one of them raised."""
        try:
            results.extend(map(self._call, walk))  # keeps what came before an exception
        except (StopJob, Disconnected, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit of the function is its failure, not the worker's
            return error
        return None

    def _again(self, item: Any, error: BaseException) -> Any:
        """The result of a further try, or the last exception."""
        for _ in range(self.retries):
            results: list[Any] = []
            again = self._go_on(iter((item,)), results)
            if again is None:
                return results[0]
            error = again
        return error

    def _failed(self, at: int, error: BaseException, item: Any) -> Failed:
        text = error_text(error)
        if self.takes == "items":
            text = f"{text} (item {reprlib.repr(item)})"
        return Failed(at, text, _frames(error) if self.on_error == "raise" else "")

    def stand_in(self, text: str) -> Any:
        """What stands in the output for an item that failed."""
        if self.on_error == "skip":
            return _NOTHING
        return {"error": text} if self.gives == "json" else text

    # ---- results

    def _encode(self, results: list[Any], failures: list[Failed]) -> Block:
        calls = len(results)
        if self.gives == "csv":
            header = next((list(map(str, result)) for result in results if isinstance(result, dict)), None)
            encode: Callable[[Any], str] = lambda result: as_csv(result, header)  # noqa: E731
        else:
            header, encode = None, as_json if self.gives == "json" else as_text
        # counted in a list: a third less than in a set, and nearly all that is left to save beside the calls
        if self.gives == "text" and list(map(type, results)).count(str) == calls:
            try:
                results.append("")
                return Block("\n".join(results).encode("utf-8", "surrogateescape"), calls, failures)
            except UnicodeEncodeError:
                results.pop()  # one of them fails, below
        lines: list[bytes] = []
        for at, result in enumerate(results):
            if result is _NOTHING:
                continue
            try:
                lines.append(encode(result).encode("utf-8", "surrogateescape"))
            except Exception as error:
                text = f"the result {reprlib.repr(result)} cannot be written: {error_text(error)}"
                failures = sorted([*failures, Failed(at, text)])
                if self.on_error == "raise":
                    failures, calls = [Failed(at, text)], at
                    break
                if self.on_error == "yield":
                    lines.append(encode(self.stand_in(text)).encode("utf-8", "backslashreplace"))
        return Block(b"".join(lines), calls, failures, header)


def _texts(lines: bytes) -> list[str]:
    """Lines as text, all at once, for speed. Bytes that are no UTF-8 survive the way through."""
    whole = lines.decode("utf-8", "surrogateescape")
    texts = whole.split("\n")
    return [text.removesuffix("\r") for text in texts] if "\r" in whole else texts


def _open_json(line: bytes, loads: Callable[[bytes], Any]) -> Any:
    try:
        return loads(line)
    except ValueError as error:
        shown = reprlib.repr(line.decode("utf-8", "backslashreplace"))
        raise _NotJsonError(f"no JSON: {error}: {shown}") from None


class _NotJsonError(ValueError):
    """Stands for itself in messages: what it says is enough."""


def _open_row(row: Sequence[str], header: Sequence[str]) -> dict[str, str]:
    if len(row) != len(header):
        raise ValueError(f"the row has {len(row)} fields, the header {len(header)}: {reprlib.repr(list(row))}")
    return dict(zip(header, row, strict=True))


def as_text(result: Any) -> str:
    """One line; nothing for None."""
    if result is None:
        return ""
    if isinstance(result, bytes):
        return result.decode("utf-8", "surrogateescape") + "\n"
    return f"{result!s}\n"


def as_json(result: Any) -> str:
    """One line of JSON."""
    import json

    return json.dumps(result, ensure_ascii=False) + "\n"


def as_csv(result: Any, header: list[str] | None) -> str:
    """A row of CSV for a dict with the columns of `header`, a list or a tuple; a line of text for anything else."""
    if isinstance(result, dict):
        if list(map(str, result)) != header:
            raise ValueError(f"its columns are not those of the results before it: {', '.join(header or ())}")
        result = list(result.values())
    if not isinstance(result, list | tuple):
        return as_text(result)
    import csv
    import io

    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(result)
    return line.getvalue()


def error_text(error: BaseException) -> str:
    """Type and message, on one line."""
    if isinstance(error, _NotJsonError):
        return str(error)
    if isinstance(error, CrashError):
        return f"its worker died {len(error.exits)} times ({', '.join(error.exits)})"
    import traceback

    return " ".join("".join(traceback.format_exception_only(error)).split())


def _frames(error: BaseException) -> str:
    """The traceback without frames of ours."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_globals.get("__name__", "")):
        trace = trace.tb_next
    if trace is None:
        return ""
    import traceback

    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_ours(module: str) -> bool:
    return module.startswith(_PACKAGE)
