"""The command ``eisenmp``, the extra ``eisenmp[cli]``. docs/command.md is its manual.

::

    app.py        the commands' names, help texts of the whole; loads a command when it is called
    exits.py      exit codes, and what is said on standard error
    firstly.py    eisenmp map: its workers begin, before anything is loaded
    quick.py        its plain calls are read;  map.py  the others: the options
    mapping.py      what they ask for;  course.py  the job
    block.py        inside a worker: lines in, calls, results out
    inputs.py       files, line by line;  rows.py  CSV;  spacetext.py  --range and --space
    output.py       standard output, or a file that is there whole or not at all
    run.py        eisenmp run, and script.py: a program as __main__
    demo.py       eisenmp demo
    status.py     eisenmp status;  results.py  eisenmp results
    doctor.py     eisenmp doctor: machine.py looks, selftest.py tries

Workers import this package for block.py, so nothing here may load anything else at import.
"""

from __future__ import annotations

import gc
import sys
from functools import partial

__all__ = ["main"]


def main() -> int:
    """Run the command with the arguments of this process; return the exit code."""
    try:
        from eisenmp.cli import firstly

        with firstly.workers(sys.argv[1:]):
            gc.disable()  # what is loaded stays: there is nothing to collect
            from eisenmp.cli import quick
            from eisenmp.cli.exits import code_of
            from eisenmp.unnamed import fill_streams

            fill_streams()
            call = quick.read(sys.argv[1:])
            if call is not None:
                return code_of(partial(quick.run, call))
            try:
                import click
            except ImportError:
                print("eisenmp: the command needs its extra: pip install 'eisenmp[cli]'", file=sys.stderr)
                return 2
            from eisenmp.cli.app import start

            del click
            gc.enable()
            return start()
    except KeyboardInterrupt:  # while things were loaded
        return 130
