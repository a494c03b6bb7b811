"""The three printing settings: what is printed when a job ends."""

from __future__ import annotations

import sys

from eisenmp.display.stream import write
from eisenmp.results import Outcome, Results
from eisenmp.settings import Settings

__all__ = ["print_results"]


def print_results(results: Results, settings: Settings) -> None:
    """Print results under ``RESULT_LABEL`` (``RESULTS_PRINT``) and as a dictionary (``RESULTS_DICT_PRINT``)."""
    if not (settings.RESULTS_PRINT or settings.RESULTS_DICT_PRINT):
        return
    lines: list[str] = []
    if settings.RESULTS_PRINT:
        lines.append(f"--- {settings.RESULT_LABEL} ---")
        for name, outcomes in results.items():
            lines += [f"{name} _TID_{outcome.ticket}: {_result(outcome)}" for outcome in outcomes]
        lines += [f"closing of worker slot {slot}: {value!r}" for slot, value in sorted(results.closing.items())]
        lines.append(f"--- {results.summary()} ---")
    if settings.RESULTS_DICT_PRINT:
        import pprint  # few need it

        lines.append(pprint.pformat(results.as_dict(), width=120))
    try:
        write(sys.stdout, "\n".join(lines) + "\n")
    except (OSError, ValueError) as error:
        why = "the reader of the output has closed it" if isinstance(error, BrokenPipeError) else str(error)
        _complain(f"eisenmp: the results could not be printed: {why}\n")


def _complain(text: str) -> None:
    try:
        write(sys.stderr, text)
    except (OSError, ValueError):
        pass  # nobody is left to tell


def _result(outcome: Outcome) -> str:
    if outcome.error is not None:
        return f"{outcome.state}: {type(outcome.error).__name__}: {outcome.error}"
    return repr(outcome.value) if outcome.state == "done" else outcome.state
