"""Three groups of Flask servers, one process for each group, many servers in each: all share one SQLite database."""

import argparse
import json
import os
import socket
import sqlite3
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

GROUPS = ("blue", "green", "red")
PATIENCE = 30.0  # seconds


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "flask_group.py"),
        "WORKER_REF": "worker_entrance",
    }

    def __init__(self, servers: int, database: str) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = len(GROUPS)
        self.NUM_ROWS = servers  # port numbers in a chunk: a process takes those of its group in one go
        self.CPU_AFFINITY = "spread"  # a core for each process, as far as there are enough
        self.HEALTH_CHECK = "/health"  # asked of each server; a process that does not answer is replaced
        self.RESTARTS = 5  # within a minute; its ports come back to a process that died

        self.groups = GROUPS
        self.database = database


class Report(NamedTuple):
    """What the servers did: for each port its group, its process before and after the restart, and its visits."""

    rows: list[tuple[str, int, int, int, int]]
    asked: int
    recorded: int
    restart_seconds: float


def port_generator(ports: list[int]) -> Iterator[int]:
    """The port numbers of one group."""
    yield from ports


def create_database(path: str) -> None:
    """Made before any server starts; readers and writers do not block each other (WAL)."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE visits (grp TEXT NOT NULL, port INTEGER NOT NULL, pid INTEGER NOT NULL)")


def free_ports(count: int) -> list[int]:
    """Port numbers that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def ask(port: int) -> dict[str, Any]:
    """One visit."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
        return dict(json.load(answer))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for servers to start."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.02)


def manager_entry(servers: int = 3, requests: int = 20, first_port: int = 0, stay: bool = False) -> Report:
    """Start the groups, visit every server, kill one process, and visit them again."""
    if first_port:
        ports = list(range(first_port, first_port + servers * len(GROUPS)))
    else:
        ports = free_ports(servers * len(GROUPS))
    by_group = {group: ports[at * servers : (at + 1) * servers] for at, group in enumerate(GROUPS)}

    with tempfile.TemporaryDirectory() as folder:
        database = os.path.join(folder, "visits.sqlite")
        create_database(database)
        emp = eisenmp.Mp()
        emp.queue_cust_dict_category_create(*[(group, "ports_in", 1) for group in GROUPS])
        with emp:
            emp.start(**ModuleConfiguration(servers, database).__dict__)
            for group in GROUPS:
                emp.run_q_feeder(
                    generator=port_generator(by_group[group]), input_q=emp.queue_cust_dict_cat[group]["ports_in"]
                )
            wait_until(lambda: len(emp.listening) == len(ports) or emp.begin_proc_shutdown, "all servers listen")
            if stay:
                print("Ctrl-C ends it.")
                emp.wait()
            report = visit_all(emp, by_group, requests, database)
            emp.terminate()  # SIGTERM to each process, which shuts its servers down
    return report


def visit_all(emp: eisenmp.Mp, by_group: dict[str, list[int]], requests: int, database: str) -> Report:
    """Half of the visits before a process is killed, half after it."""
    ports = [port for group in GROUPS for port in by_group[group]]
    with ThreadPoolExecutor(8) as visitors:
        before = list(visitors.map(ask, ports * (requests // 2)))
        began = time.monotonic()
        emp.proc_list[0].kill()
        # The ports stay open while there is no process behind them: this waits for the new one.
        after = list(visitors.map(ask, ports * (requests - requests // 2)))
        seconds = time.monotonic() - began
    with closing(sqlite3.connect(database)) as connection:
        counts = dict(connection.execute("SELECT port, count(*) FROM visits GROUP BY port"))
    first = {answer["port"]: answer["pid"] for answer in before}
    last = {answer["port"]: answer["pid"] for answer in after}
    rows = [
        (group, port, first.get(port, 0), last.get(port, 0), counts.get(port, 0))
        for group in GROUPS
        for port in by_group[group]
    ]
    return Report(rows, len(before) + len(after), sum(counts.values()), seconds)


def show(report: Report) -> None:
    """Print the report for people."""
    print("group   port   process, and after process 1 was killed   visits")
    for group, port, before, after, visits in report.rows:
        print(f"{group:<6} {port:>5}   {before:>7}   {after:>7}   {visits:>29}")
    print(f"{report.asked} requests were answered, {report.recorded} are in the database")
    print(f"the second half, the new process included, took {report.restart_seconds:.1f} s")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Serve three groups of ports, a process for each.")
    parser.add_argument("--servers", type=int, default=3, help="servers in each group; default: %(default)s")
    parser.add_argument("--requests", type=int, default=20, help="requests to each server; default: %(default)s")
    parser.add_argument("--first-port", type=int, default=0, help="of a row of ports; default: ports that are free")
    parser.add_argument("--stay", action="store_true", help="serve until Ctrl-C; the processes say on which ports")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        show(manager_entry(**vars(parse_arguments())))
    except KeyboardInterrupt:
        pass
