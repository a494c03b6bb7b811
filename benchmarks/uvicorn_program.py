"""``uvicorn --workers N`` without the delay that it has by itself: ``… folder port workers``, for `servers.py`.

The command makes its listening socket without naming the protocol; the workers' asyncio then takes connections for
something else than TCP and does not set ``TCP_NODELAY``. Head and body of a response are two packets, and the second
one waits for the acknowledgement of the first, which clients delay by 40 ms. Here the socket names its protocol, and
all else is uvicorn's own.
"""

import socket
import sys

import uvicorn
from uvicorn.supervisors import Multiprocess


def main(port: int, workers: int) -> None:
    """Serve until SIGTERM."""
    config = uvicorn.Config("serve:app", workers=workers, log_level="warning", access_log=False)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    Multiprocess(config, sockets=[sock]).run()


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    main(int(sys.argv[2]), int(sys.argv[3]))
