"""The job of ``eisenmp map``: feed, write, tell what failed, end in good order."""

from __future__ import annotations

import importlib
import logging
import os
import re
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from eisenmp.cli.block import Block, Failed, Job, as_csv, as_json, as_text, error_text
from eisenmp.cli.exits import FAILED, FINE, INTERRUPTED, WRONG, OutputClosed, say
from eisenmp.cli.inputs import Lines
from eisenmp.cli.output import Output, watch_reader
from eisenmp.errors import WorkerStartError
from eisenmp.functions import Function
from eisenmp.manager import Mp
from eisenmp.results import Outcome, Part
from eisenmp.settings import Settings
from eisenmp.sources import Source

__all__ = ["Course", "Plan"]

_MOST_TOLD = 20  # failures that are told one by one; then only their number at the end


class Plan(NamedTuple):
    """What was asked for.

    Attributes:
        job: what workers do with a chunk.
        source: the items.
        lines: the same, where they come from files.
        settings: of eisenmp.
        ordered: results come in the order of the items.
        total: how many items to expect.
    """

    job: Job
    source: Iterable[Any] | Source
    lines: Lines | None
    settings: Settings
    ordered: bool = True
    total: int | None = None


class Course:
    """One run. Makes an exit code of it. ``begun``: the job was started."""

    def __init__(self, plan: Plan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._emp = Mp()
        self.begun = False
        self._failed = 0
        self._counted = (0, 0)  # a ticket, and how many items there are before it
        self._header: list[str] | None = None  # of CSV, as it was written
        self._noted: dict[tuple[str, int], list[tuple[int, str]]] = {}  # failures that lie in results, for the job file
        self._closed = threading.Event()  # nobody reads the output any more

    def run(self) -> int:
        """Run the job to its end.

        Raises:
            OutputClosed: nobody reads the output any more.
            InputError, OutputError: as they say.
        """
        try:
            whole = self._write_all() and not self._closed.is_set()
        except KeyboardInterrupt:
            self._end()
            say(f"interrupted; {self._done()}")
            return INTERRUPTED
        except WorkerStartError as error:
            self._end()
            say(_start_text(error))
            return WRONG
        except BaseException:
            self._end()
            raise
        self._end(whole=whole)
        if self._closed.is_set():
            raise OutputClosed
        return self._verdict()

    def _write_all(self) -> bool:
        """Start the job and write its results. False: a failure has ended it."""
        emp, plan = self._emp, self._plan
        logging.getLogger("eisenmp").addFilter(_is_news)
        emp.disown()
        reader = emp.results.outcomes(ordered=plan.ordered)
        emp.feed(plan.source, total=plan.total)  # type: ignore[arg-type]  # a source stays what it is
        emp.launch(plan.settings, [], {}, Function(plan.job, plan.job.prepare, (), None))
        self.begun = True
        watch_reader(self._reader_left)
        if not all(map(self._take, reader)):
            return False
        if emp.results.answer is not None:
            self._write_line(emp.results.answer)
        return True

    def _end(self, *, whole: bool = False) -> None:
        """No process is left, and the output is there or is not."""
        if self.begun:
            self._emp.kill()
            self._emp.join()
            self._note()
        if whole:
            self._output.finish()
        else:
            self._output.abandon()

    def _note(self) -> None:
        """Have the job file tell which items have failed."""
        if self._noted and self._plan.settings.JOB is not None:
            from eisenmp.jobfile.retry import note_failures

            note_failures(self._plan.settings.JOB, self._noted)

    def _write_line(self, value: Any, times: int = 1) -> None:
        encode = as_json if self._plan.job.gives == "json" else as_text
        self._output.write(encode(value).encode("utf-8", "backslashreplace") * times)

    def _reader_left(self) -> None:
        self._closed.set()
        self._emp.kill()

    # ---- outcomes

    def _take(self, outcome: Outcome) -> bool:
        """Write and tell what became of a chunk. False: that ends the job."""
        if outcome.state == "unread":
            return True
        if outcome.parts:  # some items have killed their workers; they were looked for
            return all(self._take_part(outcome, part) for part in outcome.parts)
        return self._take_part(outcome, Part(0, outcome.items, outcome.value, outcome.error))

    def _take_part(self, outcome: Outcome, part: Part) -> bool:
        """The same of some of its items."""
        if part.error is not None:
            whole = Failed(part.first, error_text(part.error))
            self._tell(outcome, whole, items=part.items)
            if self._plan.job.on_error == "yield":
                self._write_line(self._plan.job.stand_in(whole.text), part.items)
            return self._plan.job.on_error != "raise"
        if part.value is None:  # it has raised StopJob
            return True
        block = Block(*part.value)
        data = self._with_header(block, outcome)
        if data:
            self._output.write(data)
        if block.failures:
            noted = self._noted.setdefault((outcome.queue, outcome.ticket), [])
            noted += [(part.first + at, text) for at, text, _ in block.failures]
        for at, text, trace in block.failures:
            self._tell(outcome, Failed(part.first + at, text, trace))
        return not (block.failures and self._plan.job.on_error == "raise")

    def _with_header(self, block: Block, outcome: Outcome) -> bytes:
        """Of CSV, the names of the columns are written once."""
        if block.header is None or block.header == self._header:
            return block.data
        if self._header is not None:
            text = f"results have other columns than those before: {', '.join(block.header)}"
            self._tell(outcome, Failed(0, text), items=block.calls)
            return b""
        self._header = block.header
        return as_csv(block.header, None).encode("utf-8", "surrogateescape") + block.data

    def _tell(self, outcome: Outcome, failure: Failed, items: int = 1) -> None:
        """Say which item failed, and how. `items`: so many in a row failed alike."""
        self._failed += items
        if self._failed > _MOST_TOLD and self._plan.job.on_error != "raise":
            return
        before = self._emp.results.first_item(outcome.queue, outcome.ticket, self._counted)
        self._counted = (outcome.ticket, before)
        where = self._where(before + failure.at)
        if items > 1:
            where += f" to {before + failure.at + items}"
        if failure.trace:
            self._say(f"{where} failed:\n{failure.trace}")
        else:
            self._say(f"{where}: {failure.text}")

    def _say(self, text: str) -> None:
        """While the job runs; the line of progress makes room for it."""
        self._emp.mp_print_q.put(f"eisenmp: {text}")  # leads to sys.stdout, which is standard error here

    def _where(self, number: int) -> str:
        lines = self._plan.lines
        return f"item {number + 1}" if lines is None else lines.where(number)

    def _verdict(self) -> int:
        if not self._failed:
            return FINE
        if self._failed > 1 or self._plan.job.on_error != "raise":
            say(f"{self._failed} of {self._done()} failed")
        return FAILED

    def _done(self) -> str:
        items = sum(feeder.done for feeder in self._emp.snapshot().feeders) if self.begun else 0
        return f"{items} items" if items != 1 else "1 item"


def _start_text(error: WorkerStartError) -> str:
    """Without a place that is not in the user's code: it only came up there."""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = "|".join(re.escape(os.path.join(folder, "")) for folder in (ours, os.path.dirname(importlib.__file__)))
    return re.sub(rf"worker module (?:{places})\S+, line \d+: ", "WORKER: ", str(error))


def _is_news(record: logging.LogRecord) -> bool:
    """A ticket that was set aside is told with the place of its items, see `_tell`."""
    return "was set aside" not in record.getMessage()
