"""One Starlette application on every core, all on one port; replaced process by process while it serves."""

import argparse
import http.client
import json
import os
import threading
import time
from collections import Counter
from typing import ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

PATIENCE = 30.0  # seconds


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "serve.py"),
        "WORKER_REF": "worker_entrance",
    }

    def __init__(self, workers: int | None, port: int) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers  # None: one for each core
        self.RESTARTS = 5  # within a minute and for each slot
        self.HEALTH_CHECK = "/health"

        self.port = port  # 0: one that is free, the same for all


class Report(NamedTuple):
    """Requests by process, those that failed, and how long replacing all processes took."""

    address: str
    by_process: dict[int, int]
    failed: int
    seconds: float
    restart_seconds: float


class Client(threading.Thread):
    """Asks again and again, on a connection that it keeps as long as the server lets it."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(name="client")
        self.address = address
        self.answers: Counter[int] = Counter()
        self.failed = 0
        self.enough = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        while not self.enough.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.answers[json.loads(answer.read())["pid"]] += 1
            except (OSError, http.client.HTTPException):
                self.failed += 1
                connection.close()
        connection.close()


def wait_for_server(emp: eisenmp.Mp) -> tuple[str, int]:
    """The address, once the first worker listens there; all others come to the same one."""
    deadline = time.monotonic() + PATIENCE
    while not emp.listening:
        if emp.begin_proc_shutdown or time.monotonic() > deadline:
            emp.wait(0)  # raises what went wrong
        time.sleep(0.02)
    return emp.listening[0]


def manager_entry(
    workers: int | None = None, port: int = 0, requests: int = 2_000, clients: int = 8, stay: bool = False
) -> Report:
    """Serve, ask `requests` times before and as often after all processes are replaced, and ask on meanwhile."""
    with eisenmp.Mp() as emp:
        emp.start(**ModuleConfiguration(workers, port).__dict__)
        address = wait_for_server(emp)
        if stay:
            print(f"http://{address[0]}:{address[1]}/ is served; Ctrl-C ends it.")
            emp.wait()
        begin = time.perf_counter()
        crowd = [Client(address) for _ in range(clients)]
        for client in crowd:
            client.start()
        try:
            wait_for_requests(emp, crowd, requests)
            before_restart = time.perf_counter()
            emp.restart_all(timeout=PATIENCE * len(emp.proc_list))
            restart_seconds = time.perf_counter() - before_restart
            wait_for_requests(emp, crowd, count(crowd) + requests)
        finally:
            for client in crowd:
                client.enough.set()
            for client in crowd:
                client.join()
        seconds = time.perf_counter() - begin
        emp.terminate()
    by_process: Counter[int] = Counter()
    for client in crowd:
        by_process += client.answers
    failed = sum(client.failed for client in crowd)
    return Report(f"{address[0]}:{address[1]}", dict(by_process), failed, seconds, restart_seconds)


def count(crowd: list[Client]) -> int:
    """Answers so far."""
    return sum(client.answers.total() for client in crowd)


def wait_for_requests(emp: eisenmp.Mp, crowd: list[Client], wanted: int) -> None:
    """Until there are so many answers."""
    while count(crowd) < wanted and not emp.begin_proc_shutdown:
        time.sleep(0.01)


def show(report: Report) -> None:
    """Print the report for people."""
    total = sum(report.by_process.values())
    print(f"{total:,} requests to {report.address} in {report.seconds:.1f} s: {total / report.seconds:,.0f} a second")
    for pid, answers in report.by_process.items():
        print(f"    process {pid}: {answers:,}")
    print(f"all processes were replaced meanwhile, one by one, in {report.restart_seconds:.1f} s")
    print(f"failed requests: {report.failed}")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Serve one application on every core, on one port.")
    parser.add_argument("--workers", type=int, help="worker processes; default: one for each core")
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument(
        "--requests", type=int, default=2_000, help="before and after the restart; default: %(default)s"
    )
    parser.add_argument("--clients", type=int, default=8, help="connections at once; default: %(default)s")
    parser.add_argument("--stay", action="store_true", help="serve until Ctrl-C")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        show(manager_entry(**vars(parse_arguments())))
    except KeyboardInterrupt:
        pass
