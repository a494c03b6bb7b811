"""Recorders on all cores: each process records as many streams as it is told, to files, until it is told to stop."""

import argparse
import os
import queue
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, NamedTuple

import eisenmp

dir_name = os.path.dirname(os.path.abspath(__file__))

TICK = 0.01  # seconds between two pieces of a stream
PIECE = 4 << 10  # bytes
PATIENCE = 30.0  # seconds


class ModuleConfiguration:
    """Everything the workers need to know; each attribute becomes a setting or an attribute of their toolbox."""

    template_module: ClassVar[dict[str, str]] = {
        "WORKER_PATH": os.path.join(dir_name, "worker", "capture.py"),
        "WORKER_REF": "worker_entrance",
    }

    def __init__(self, workers: int) -> None:
        self.worker_modules = [self.template_module]

        self.NUM_PROCS = workers
        self.GRACE = 5  # seconds between SIGTERM and a kill


class Report(NamedTuple):
    """For each stream the worker that recorded it, the bytes it told of, and those in the file."""

    rows: list[tuple[str, str, int, int]]
    sound: bool  # every file is what its stream sent
    messages: int
    blocks: int


class Station(BaseHTTPRequestHandler):
    """Sends a stream without end: its own name, over and over."""

    def do_GET(self) -> None:  # the name that http.server looks for
        """One listener; it leaves when it likes."""
        self.send_response(200)
        self.end_headers()
        name = self.path.strip("/").encode()
        piece = (name * (PIECE // len(name) + 1))[: PIECE // len(name) * len(name)]
        try:
            while True:
                self.wfile.write(piece)
                time.sleep(TICK)
        except OSError:
            pass  # nobody listens any more

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def manager_entry(workers: int = 2, streams: int = 4, seconds: float = 1.0, folder: str | None = None) -> Report:
    """Record `streams` streams for about so many seconds each, and compare the files with what was sent."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Station)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="station", daemon=True).start()
    try:
        if folder is not None:
            os.makedirs(folder, exist_ok=True)
            return record(workers, streams, seconds, server.server_port, folder)
        with tempfile.TemporaryDirectory() as scratch:
            return record(workers, streams, seconds, server.server_port, scratch)
    finally:
        server.shutdown()
        server.server_close()


def record(workers: int, streams: int, seconds: float, port: int, folder: str) -> Report:
    """Tell the workers what to do, and hear what they say."""
    names = [f"stream-{number};" for number in range(streams)]
    paths = {name: os.path.join(folder, f"{name.strip(';')}.bin") for name in names}
    emp = eisenmp.Mp()
    emp.queue_cust_dict_category_create(*[("commands", f"worker_{slot}", 0) for slot in range(workers)])
    emp.queue_cust_dict_std_create(("status_q", 0), ("data_q", 1000))
    commands = emp.queue_cust_dict_cat["commands"]
    status, data = emp.queue_cust_dict_std["status_q"], emp.queue_cust_dict_std["data_q"]
    with emp:
        emp.start(**ModuleConfiguration(workers).__dict__)
        meter = Meter(data)
        meter.start()
        for number, name in enumerate(names):
            url = f"http://127.0.0.1:{port}/{name}"
            commands[f"worker_{number % workers}"].put(("start", name, url, paths[name]))
        said = [status.get(timeout=PATIENCE) for _ in names]
        for worker, name, what, _ in said:
            print(f"{worker}: {what} {name.strip(';')}")
        time.sleep(seconds)
        # The first half is told to stop; the others are stopped, and their files closed, as their processes end.
        for number, name in enumerate(names[: streams // 2]):
            commands[f"worker_{number % workers}"].put(("stop", name))
            said.append(status.get(timeout=PATIENCE))
        emp.terminate()
        said += [status.get(timeout=PATIENCE) for _ in names[streams // 2 :]]
        emp.wait()
    meter.join()
    last = {name: (worker, written) for worker, name, what, written in said if what == "stopped"}
    rows = [(name.strip(";"), *last.get(name, ("nobody", 0)), os.path.getsize(paths[name])) for name in names]
    sound = all(is_sound(paths[name], name) for name in names)
    return Report(rows, sound and len(last) == streams, len(said), meter.blocks.total())


class Meter(threading.Thread):
    """Counts what comes through the data queue, until the job is over."""

    def __init__(self, data: Any) -> None:
        super().__init__(name="meter")
        self.data = data
        self.blocks: Counter[str] = Counter()

    def run(self) -> None:
        while True:
            try:
                message = self.data.get(timeout=PATIENCE)
            except queue.Empty:
                return
            if isinstance(message, list):  # the end of the stream
                return
            self.blocks[message[0]] += 1


def is_sound(path: str, name: str) -> bool:
    """Whether the file holds the stream from its beginning on, without a gap."""
    with open(path, "rb") as file:
        recorded = file.read()
    whole = name.encode() * (len(recorded) // len(name) + 1)
    return bool(recorded) and whole[: len(recorded)] == recorded


def show(report: Report) -> None:
    """Print the report for people."""
    for name, worker, told, size in report.rows:
        print(f"{name}: {worker} recorded {told:,} bytes, {size:,} are in the file")
    print(f"{report.messages} status messages, {report.blocks:,} blocks through the data queue")
    print("every file is what its stream sent" if report.sound else "SOMETHING IS MISSING")


def parse_arguments() -> argparse.Namespace:
    """The command line, whose names are those of manager_entry's parameters."""
    parser = argparse.ArgumentParser(description="Record streams that this program sends itself.")
    parser.add_argument("--workers", type=int, default=2, help="worker processes; default: %(default)s")
    parser.add_argument("--streams", type=int, default=4, help="how many to record; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long; default: %(default)s")
    parser.add_argument("--folder", help="where the files go and stay; default: a folder that is removed")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        show(manager_entry(**vars(parse_arguments())))
    except KeyboardInterrupt:
        pass
