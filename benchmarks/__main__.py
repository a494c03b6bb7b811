"""``python -m benchmarks [name …] [--rounds N] [--check]``"""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks import big, memory, startup, stream, waiting
from benchmarks.figures import table

SUITE = {"stream": stream.run, "big": big.run, "startup": startup.run, "waiting": waiting.run, "memory": memory.run}


def main() -> int:
    """Run what was named, or all; print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(SUITE)}; all without one")
    parser.add_argument("--rounds", type=int, default=7, help="counted rounds of each pair (default: 7)")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in SUITE]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(SUITE)}")
    # Installed packages come with their bytecode; an environment that forbids it would measure the compiler.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    figures = []
    for name in arguments.names or SUITE:
        print(f"{name} …", file=sys.stderr, flush=True)
        figures += SUITE[name](arguments.rounds)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {arguments.rounds} rounds")
    print(table(figures))
    return int(arguments.check and any(figure.met is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
