"""What the workers of the soak do, and how they come to grief when a file in a folder asks for it."""

import os
import threading
from typing import Any


def value(item: tuple[int, bytes]) -> int:
    """What comes out of an item; the plain loop, which it is compared with, calls this too."""
    number, load = item
    return number * number % 1009 + len(load)


def asked(toolbox: Any, wish: str) -> bool:
    """Whether somebody wishes it. One process gets it, once."""
    try:
        os.unlink(os.path.join(toolbox.wishes, wish))
    except FileNotFoundError:
        return False
    return True


def work(item: tuple[int, bytes], toolbox: Any) -> Any:
    """Some hundred microseconds, most of the time."""
    if asked(toolbox, '_exit'):
        os._exit(3)
    if asked(toolbox, 'raise'):
        raise ValueError(f'item {item[0]}')
    if asked(toolbox, 'unpicklable'):
        return threading.Lock()
    sum(range(10_000 * (item[0] % 3)))
    return value(item)


def classic(toolbox: Any) -> bool:
    """One chunk."""
    header, *rows = toolbox.mp_input_q.get()
    if toolbox.STOP_MSG in rows:
        return False
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, [work(row, toolbox) for row in rows]])
    return True


def plain(item: tuple[int, bytes], toolbox: Any) -> Any:
    """One item."""
    return work(item, toolbox)
