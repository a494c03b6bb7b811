"""The job of ``eisenmp map``: feed, write, tell what failed, end in good order."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eisenmp.cli.block import Block, Failed, Job, as_csv, as_json, as_text, error_text
from eisenmp.cli.exits import FAILED, FINE, INTERRUPTED, OutputClosed, say
from eisenmp.cli.inputs import Lines
from eisenmp.cli.output import Output, watch_reader
from eisenmp.errors import WorkerStartError
from eisenmp.functions import Function
from eisenmp.manager import Mp
from eisenmp.results import Outcome
from eisenmp.settings import Settings

__all__ = ["Course", "Plan"]

_MOST_TOLD = 20  # failures that are told one by one; then only their number at the end


@dataclass
class Plan:
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
    source: Iterable[Any]
    lines: Lines | None
    settings: Settings
    ordered: bool = True
    total: int | None = None


class Course:
    """One run. Makes an exit code of it."""

    def __init__(self, plan: Plan, output: Output) -> None:
        self._plan = plan
        self._output = output
        self._emp = Mp()
        self._failed = 0
        self._counted = (0, 0)  # a ticket, and how many items there are before it
        self._header: list[str] | None = None  # of CSV, as it was written
        self._closed = threading.Event()  # nobody reads the output any more

    def run(self) -> int:
        """Run the job to its end.

        Raises:
            OutputClosed: nobody reads the output any more.
            InputError, OutputError: as they say.
        """
        emp, plan = self._emp, self._plan
        emp.disown()
        reader = emp.results.outcomes(ordered=plan.ordered)
        emp.feed(plan.source, total=plan.total)
        emp.launch(plan.settings, [], {}, Function(plan.job, plan.job.prepare, (), None))
        watch_reader(self._reader_left)
        good = False
        try:
            good = all(map(self._take, reader)) and not self._closed.is_set()
            if good and emp.results.answer is not None:
                encode = as_json if plan.job.gives == "json" else as_text
                self._output.write(encode(emp.results.answer).encode("utf-8", "surrogateescape"))
        except KeyboardInterrupt:
            emp.kill()
            say(f"interrupted; {self._done()}")
            return INTERRUPTED
        except WorkerStartError as error:
            say(_start_text(error))
            return FAILED
        finally:
            emp.kill()
            emp.join()
            self._output.finish() if good else self._output.abandon()
        if self._closed.is_set():
            raise OutputClosed
        return self._verdict()

    def _reader_left(self) -> None:
        self._closed.set()
        self._emp.kill()

    # ---- outcomes

    def _take(self, outcome: Outcome) -> bool:
        """Write and tell what became of a chunk. False: that ends the job."""
        if outcome.state == "unread":
            return True
        if outcome.error is not None:
            whole = Failed(0, error_text(outcome.error))
            self._tell(outcome, whole, items=outcome.items)
            return self._plan.job.on_error != "raise"
        if outcome.value is None:  # it has raised StopJob
            return True
        block = Block(*outcome.value)
        data = self._with_header(block, outcome)
        if data:
            self._output.write(data)
        for failure in block.failures:
            self._tell(outcome, Failed(*failure))
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
            say(f"{where} failed:\n{failure.trace}")
        else:
            say(f"{where}: {failure.text}")

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
        items = sum(feeder.done for feeder in self._emp.snapshot().feeders)
        return f"{items} items" if items != 1 else "1 item"


def _start_text(error: WorkerStartError) -> str:
    """Without the place in our own code where it came up."""
    ours = re.escape(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return re.sub(rf"worker module {ours}{re.escape(os.sep)}\S+, line \d+: (?:\w+: )?", "", str(error))
