"""``eisenmp map`` over a million lines, beside what a shell offers for the same Python function.

Each run is a command in a shell, from its start to its end, imports and all. ``xargs`` gives each of its processes as
many lines as a command line can well hold, GNU parallel a block of lines on standard input: a process for each line
would be no match.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.contenders import Contender, Plan, seconds_of
from benchmarks.machine import ROOT, check, folder
from benchmarks.rounds import Contest, Goal

__all__ = ["run"]

LINES: Final = 1_000_000
WORKERS: Final = 2
PER_CALL: Final = 80_000  # lines that xargs hands over at once: more do not fit into a command line

_WORK: Final = """
def work(line):
    return str(int(line) * 3)
"""

_PROGRAMS: Final = {
    "work.py": _WORK,
    # what users write who know the library, and not the command
    "short.py": """
import sys
import eisenmp
from work import work

def lines():
    for line in sys.stdin:
        yield line[:-1]

def block(rows):
    return "".join([work(row) + "\\n" for row in rows])

for text in eisenmp.imap_chunks(block, lines(), max_workers=2):
    sys.stdout.write(text)
""",
    "loop.py": """
import sys
from work import work
sys.stdout.writelines([work(line[:-1]) + "\\n" for line in sys.stdin])
""",
    "arguments.py": """
import sys
from work import work
sys.stdout.write("".join([work(line) + "\\n" for line in sys.argv[1:]]))
""",
}


def commands() -> dict[str, str]:
    """Contender -> a command line that reads the file ``lines``; what the shell lacks is left out."""
    python = shlex.quote(sys.executable)
    field = {
        "eisenmp map": f"{python} -m eisenmp map work.py:work -j {WORKERS} lines",
        "eisenmp.imap_chunks": f"{python} short.py < lines",
        "one process": f"{python} loop.py < lines",
    }
    if shutil.which("xargs"):
        field["xargs -P"] = f"xargs -P {WORKERS} -n {PER_CALL} -s 1000000 {python} arguments.py < lines"
    if shutil.which("parallel"):
        field["parallel --pipe"] = f"parallel --pipe --keep-order -j {WORKERS} {python} loop.py < lines"
    return field


def seconds(command: str, where: str, expected: int) -> float:
    """Of a command line, with a look at what came out. Lines of xargs come in any order."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), where])}
    out = Path(where, "out")
    with open(out, "wb") as file:
        begin = time.perf_counter()
        subprocess.run(command, shell=True, check=True, cwd=where, env=env, stdout=file)
        took = time.perf_counter() - begin
    check(sum(map(int, out.read_bytes().split())), expected, "the sum of all results")
    return took


def run(plan: Plan) -> Iterator[Contest]:
    """All contests of this file."""
    with folder() as where:
        for name, text in _PROGRAMS.items():
            Path(where, name).write_text(text, encoding="ascii")
        Path(where, "lines").write_text("".join([f"{n}\n" for n in range(LINES)]), encoding="ascii")
        expected = 3 * sum(range(LINES))
        field = [Contender(name, partial(seconds, text, where, expected)) for name, text in commands().items()]
        turns = plan.compete(field, most=7)
        contest = turns.contest("command", "a million lines through a command", "ms", seconds_of(turns))
        for peer in ("xargs -P", "parallel --pipe"):
            contest.against("eisenmp map", peer, Goal(must=3.0))
        contest.part_of("eisenmp map", "eisenmp.imap_chunks", Goal(must=1.3, least=False))
        yield contest
