"""What a job shows while it runs and when it ends. Displays only listen: nothing here is on the data's way.

::

    display.py     prints, log records and news of workers; the thread that shows progress
    screens.py     where it is shown, and which way it is to be: terminal, plain lines, the user's function …
    notebook.py    … in the output of a notebook's cell
    bar.py         … as a bar of tqdm
    progress.py    counts, rates and one line of words; pure
    board.py       snapshots -> rows, and which of them fit on the terminal; pure
    painter.py     rows -> lines with colours, by rich; the only module that imports it
    area.py        the lines at the bottom of a terminal; redirect.py: what others write goes above them
    usage.py       CPU and memory of processes;  words.py: numbers as people read them;  stream.py: careful writing
    report.py      results at the end
"""

from __future__ import annotations

from eisenmp.display.display import Display
from eisenmp.display.report import print_results

__all__ = ["Display", "print_results"]
