"""A worker that says where it is and waits there to be killed; once each, told by a file that only the first one makes.

`toolbox.spot` names the place: import, idle, before, during, result, late. `toolbox.marks` is a folder.
"""

import os
import threading
import time
from typing import Any


def once(marks: str, name: str) -> bool:
    """True for the first caller of all processes."""
    try:
        os.close(os.open(os.path.join(marks, name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def die_here(toolbox: Any, spot: str) -> None:
    """Say 'I am here' and wait for the end, the first time that anybody comes to the spot."""
    if toolbox.spot == spot and once(toolbox.marks, spot):
        toolbox.here.put(os.getpid())
        time.sleep(60)


def start_slowly(toolbox: Any) -> None:
    """A side module's entry: the worker is not up yet."""
    die_here(toolbox, 'start')


def classic(toolbox: Any) -> bool:
    """Sums of chunks, in the classic style."""
    die_here(toolbox, 'before')
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in rows:
        return False
    if 7 in rows:
        die_here(toolbox, 'during')
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, sum(rows)])
    toolbox.forward(toolbox.copies, header)
    if 7 in rows:
        die_here(toolbox, 'result')
    return True


def plain(rows: list[int], toolbox: Any) -> int:
    """Sums of chunks, in the plain style."""
    if 7 in rows:
        die_here(toolbox, 'during')
    toolbox.forward(toolbox.copies, rows[0])
    if 7 in rows:
        die_here(toolbox, 'result')
    return sum(rows)


def poison(rows: list[int]) -> int:
    """Sums of chunks; one chunk ends the process."""
    if 7 in rows:
        os._exit(3)
    return sum(rows)


def poison_classic(toolbox: Any) -> bool:
    """The same in the classic style."""
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in rows:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, poison(rows)])
    return True


def dies_at_start(toolbox: Any) -> None:
    """A side module's entry that ends the process before it is up."""
    os._exit(4)


def dies_idle(toolbox: Any) -> None:
    """A side module's entry that ends the process as soon as it is up and waits."""
    threading.Timer(0.05, os._exit, (5,)).start()


def hangs(rows: list[int]) -> int:
    """Sums of chunks; one chunk never ends."""
    if 7 in rows:
        time.sleep(60)
    return sum(rows)
