"""One group of Flask servers: a thread for each port number, all of them in one process and on one database."""

import os
import signal
import sqlite3
import threading
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
    asked_to_end = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_end.set())

    group = toolbox.groups[toolbox.START_SEQUENCE_NUM % len(toolbox.groups)]
    _header, *ports = getattr(toolbox, group)["ports_in"].get()
    if toolbox.STOP_MSG in ports:
        return False  # more workers than groups: nothing is left for this one
    servers = [start_server(make_app(group, port, toolbox.database), port) for port in ports]
    toolbox.mp_print_q.put(f"{toolbox.WORKER_NAME} serves {group}: {', '.join(map(str, ports))}")

    asked_to_end.wait()
    for server in servers:
        server.shutdown()  # what has been accepted is answered
    return False


def start_server(app: Flask, port: int) -> BaseWSGIServer:
    """One server in a thread, on a socket that outlives this process: nobody who connects is turned away meanwhile."""
    listening = eisenmp.listen(port)
    server = make_server("127.0.0.1", port, app, threaded=True, fd=listening.detach())
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
