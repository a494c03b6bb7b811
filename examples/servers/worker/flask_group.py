"""One group of Flask servers: a thread for each port number, all of them in one process and on one database."""

import os
import signal
import sqlite3
import threading
import time
from contextlib import closing
from typing import Any

from flask import Flask, jsonify
from werkzeug.serving import BaseWSGIServer, make_server

import eisenmp


def worker_entrance(toolbox: Any) -> bool:
    """Serve a group of ports until this process is asked to end.

    The call lasts as long as the servers do, so the port numbers stay this worker's: if it dies, its replacement gets
    the same ones.
    """
    # A signal handler may come in the middle of anything: queues and events do not bear that, a list does.
    asked_to_end: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.append(number))

    group = toolbox.groups[toolbox.START_SEQUENCE_NUM % len(toolbox.groups)]
    _header, *ports = getattr(toolbox, group)["ports_in"].get()
    if toolbox.STOP_MSG in ports:
        return False  # more workers than groups: nothing is left for this one
    servers = [start_server(make_app(group, port, toolbox.database), port) for port in ports]
    toolbox.mp_print_q.put(f"{toolbox.WORKER_NAME} serves {group}: {', '.join(map(str, ports))}")

    while not asked_to_end:
        time.sleep(0.1)  # a wait without an end might sleep through a signal that comes just before it
    for server in servers:
        server.shutdown()  # accepts no more; threads that still answer are waited for
    return False


def start_server(app: Flask, port: int) -> BaseWSGIServer:
    """One server in a thread, on a socket that outlives this process: nobody who connects is turned away meanwhile."""
    listening = eisenmp.listen(port)
    server = make_server("127.0.0.1", port, app, threaded=True, fd=listening.detach())
    server.daemon_threads = False  # type: ignore[attr-defined,unused-ignore]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"flask-{port}").start()
    return server


def make_app(group: str, port: int, database: str) -> Flask:
    """The same application for each port; it knows where it stands."""
    app = Flask(f"{group}-{port}")

    def visit() -> Any:
        with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
            connection.execute("INSERT INTO visits (grp, port, pid) VALUES (?, ?, ?)", (group, port, os.getpid()))
            (count,) = connection.execute("SELECT count(*) FROM visits WHERE port = ?", (port,)).fetchone()
        return jsonify(group=group, port=port, pid=os.getpid(), visits=count)

    def health() -> str:
        return "well"

    app.add_url_rule("/", view_func=visit)
    app.add_url_rule("/health", view_func=health)
    return app
