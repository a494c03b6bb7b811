"""What processes cost, measurements in a process of their own, and an alarm for contenders that hang."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.rounds import NoAnswer

__all__ = [
    "ROOT",
    "alarm",
    "answer",
    "apart",
    "check",
    "children",
    "cpu_seconds",
    "end_session",
    "family",
    "folder",
    "fresh_seconds",
    "guarded",
    "lives",
    "noted",
    "program",
    "pss_mib",
    "resident_bytes",
    "run_file",
    "session",
    "wait_until",
]

ROOT: Final = Path(__file__).resolve().parents[1]
# Not `-m`: a spawned process of multiprocessing imports its parent's main module anew, and would pay for ours.
_BEGIN: Final = "from benchmarks.machine import answer; answer()"
_NO_ANSWER: Final = "no answer"  # what stands for the exception in JSON


def apart(module: str, function: str, *arguments: Any) -> Any:
    """Call ``benchmarks.<module>.<function>(*arguments)`` in a fresh interpreter. All of it must be plain JSON.

    For figures that must not depend on what ran before: a heap that has grown once hides the next growth, a helper
    process that is up already hides what starting it costs.
    """
    done = subprocess.run(
        _call(module, function, arguments), cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def guarded(seconds: float, module: str, function: str, *arguments: Any) -> Any:
    """The same for somebody who may hang, or leave processes behind: all that it has started is ended as well.

    Raises:
        NoAnswer: it hangs; or it has raised this itself.
    """
    call = _call(module, function, arguments)
    with tempfile.TemporaryFile() as errors:
        with program(call, stdout=subprocess.PIPE, stderr=errors, cwd=ROOT) as process:
            assert process.stdout is not None
            # Not until the end of the pipe: forked workers have it too, and some stay.
            if not select.select([process.stdout], [], [], seconds)[0]:
                raise NoAnswer("hangs")
            told = process.stdout.readline()
        if not told:
            errors.seek(0)
            last = errors.read().decode(errors="replace").rstrip().splitlines()[-1:]
            raise RuntimeError(f"{module}.{function}{arguments!r} ended without an answer: {''.join(last)}")
    value = json.loads(told)
    if isinstance(value, dict) and list(value) == [_NO_ANSWER]:
        raise NoAnswer(value[_NO_ANSWER])
    return value


@contextlib.contextmanager
def program(command: list[Any], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own; at the end of the block nothing of that session is left."""
    with subprocess.Popen(command, env=_environment(here=True), start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            end_session(process.pid)


def session(leader: int) -> list[psutil.Process]:
    """The processes of a session that still run. Some outlive their parents, so the tree does not show them."""
    members = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader and lives(process := psutil.Process(pid)):
                members.append(process)
        except (OSError, psutil.NoSuchProcess):
            continue
    return members


def lives(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_session(leader: int) -> None:
    """Kill what is left of a session, until nothing is: a pool starts new workers while it is being ended."""
    deadline = time.monotonic() + 10.0
    while (members := session(leader)) and time.monotonic() < deadline:
        for member in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        time.sleep(0.002)


def _call(module: str, function: str, arguments: tuple[Any, ...]) -> list[str]:
    return [sys.executable, "-c", _BEGIN, module, function, json.dumps(arguments)]


def answer() -> None:
    """The other end of `apart` and `guarded`. What else is printed meanwhile goes to standard error."""
    module, function, arguments = sys.argv[1:]
    pipe = os.dup(1)
    os.dup2(2, 1)
    try:
        value = getattr(importlib.import_module(f"benchmarks.{module}"), function)(*json.loads(arguments))
    except NoAnswer as words:
        value = {_NO_ANSWER: str(words)}
    with open(pipe, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(value) + "\n")


def fresh_seconds(statement: str) -> float:
    """Seconds of a fresh interpreter that runs the statement, from its start to its end."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, env=_environment())
    return time.perf_counter() - begin


def run_file(path: Path, *arguments: str) -> str:
    """Run a file as a program, in a fresh interpreter that finds this package: what it prints."""
    done = subprocess.run(
        [sys.executable, path, *arguments], env=_environment(here=True), stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def _environment(*, here: bool = False) -> dict[str, str]:
    """Search paths hold wherever it runs; and bytecode may be written, as an installed package has it.

    With `here`, a file that is run as a program finds this package.
    """
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    if env.get("PYTHONPATH"):
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    if here:
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    return env


def children() -> set[int]:
    """All descendants of this process."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def family() -> list[int]:
    """This process and all its descendants."""
    return [os.getpid(), *children()]


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time that running processes have used so far, user and system.

    Linux counts it in nanoseconds and tells whoever knows how a process's clock is numbered; elsewhere it comes in
    ticks, a hundredth of a second as a rule.
    """
    if platform.system() == "Linux":
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)


def resident_bytes() -> int:
    """Resident memory of this process."""
    return int(psutil.Process().memory_info().rss)


def pss_mib(pids: Iterable[int]) -> float:
    """Memory of processes together; a page that several share is counted once, a part for each. Linux only."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def check(got: object, expected: object, what: str) -> None:
    """Outside the clock: a library that loses results must not look fast."""
    if got != expected:
        raise AssertionError(f"{what}: {got!r:.200} came out, not {expected!r:.200}")


def wait_until(condition: Callable[[], bool], seconds: float = 30.0, *, pause: float = 0.002) -> None:
    """Wait for the state that a measurement begins with."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the state that the measurement begins with was not reached")
        time.sleep(pause)


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A folder in which workers can leave notes, whatever library started them: see `work.note`."""
    # a process that is being ended may still leave one while it is removed
    with tempfile.TemporaryDirectory(prefix="benchmarks-", ignore_cleanup_errors=True) as path:
        yield path


def noted(path: str, count: int) -> bool:
    """Whether so many workers have left their note in the folder."""
    return len(os.listdir(path)) >= count


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes too long, and end the processes that it has left behind.

    It is for libraries that hang. Works in the main thread of a system that has SIGALRM, and is nothing elsewhere.
    """
    before = children()

    def ring(*_: object) -> None:
        faulthandler.dump_traceback(all_threads=True)  # where does it hang?
        raise TimeoutError(f"not done after {seconds:g} s")

    armed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if armed:
        handler = signal.signal(signal.SIGALRM, ring)
        timer = signal.setitimer(signal.ITIMER_REAL, seconds, 10.0)  # again, should the cleaning up hang as well
    try:
        yield
    except BaseException:
        if armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for pid in children() - before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
    finally:
        if armed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)
