"""A program whose two workers are busy for longer than anybody waits: ``LIBRARY METHOD KIND FOLDER``. See `faults`.

Written as users of each library write it, with nothing done about signals. KIND is ``python`` or ``C``: what keeps the
workers busy (`work.occupied`). As soon as they are, each leaves a note in the folder.
"""

import signal
import sys

from benchmarks.work import modules, occupied

TASKS = 8


def _eisenmp(method: str, task: tuple[str, str]) -> None:
    import eisenmp

    emp = eisenmp.Mp()
    emp.start(worker_modules=modules("occupied"), NUM_PROCS=2, NUM_ROWS=1, WORKER_CALL="item", START_METHOD=method)
    emp.feed([task] * TASKS)
    emp.wait()


def _pool(method: str, task: tuple[str, str]) -> None:
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        pool.map(occupied, [task] * TASKS, chunksize=1)


def _executor(method: str, task: tuple[str, str]) -> None:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as executor:
        list(executor.map(occupied, [task] * TASKS))


def _pebble(method: str, task: tuple[str, str]) -> None:
    from pebble import ProcessPool

    with ProcessPool(2) as pool:
        list(pool.map(occupied, [task] * TASKS).result())


def main() -> None:
    """Be busy until a signal comes."""
    library, method, kind, path = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the benchmarks may have it ignored
    programs = {"eisenmp": _eisenmp, "Pool": _pool, "executor": _executor, "pebble": _pebble}
    programs[library](method, (path, kind))


if __name__ == "__main__":
    main()
