"""Records streams to files: a loop that never returns for each stream, steered by commands, telling what it does."""

import signal
import threading
import urllib.request
from typing import Any

BLOCK = 16 << 10  # bytes


class Recording(threading.Thread):
    """One stream on its way to one file."""

    def __init__(self, name: str, url: str, path: str, toolbox: Any) -> None:
        super().__init__(name=f"recording-{name}")
        self.stream, self.url, self.path = name, url, path
        self.toolbox = toolbox
        self.enough = threading.Event()

    def run(self) -> None:
        """Read and write until told to stop, or until the stream ends."""
        written = 0
        try:
            with urllib.request.urlopen(self.url, timeout=10) as source, open(self.path, "wb") as file:
                self.say("recording", 0)
                while not self.enough.is_set() and (block := source.read1(BLOCK)):
                    file.write(block)
                    written += len(block)
                    self.toolbox.data_q.put((self.stream, len(block)))
        except OSError as error:
            self.say(f"broken: {error}", written)
        else:
            self.say("stopped" if self.enough.is_set() else "ended", written)

    def say(self, what: str, written: int) -> None:
        """A status message for the manager."""
        self.toolbox.status_q.put((self.toolbox.WORKER_NAME, self.stream, what, written))


class Desk:
    """Does what the commands of this worker's own queue say."""

    def __init__(self, toolbox: Any) -> None:
        self.toolbox = toolbox
        self.recordings: dict[str, Recording] = {}

    def obey(self, command: tuple[str, ...]) -> None:
        """``('start', name, url, path)`` or ``('stop', name)``."""
        verb, name, *rest = command
        if verb == "start" and name not in self.recordings:
            url, path = rest
            self.recordings[name] = Recording(name, url, path, self.toolbox)
            self.recordings[name].start()
        elif verb == "stop" and name in self.recordings:
            recording = self.recordings.pop(name)
            recording.enough.set()
            recording.join()
        else:
            self.toolbox.status_q.put((self.toolbox.WORKER_NAME, name, f"cannot {verb}", 0))

    def close(self) -> None:
        """Stop what still records, so that every file is whole."""
        for recording in self.recordings.values():
            recording.enough.set()
        for recording in self.recordings.values():
            recording.join()


def worker_entrance(toolbox: Any) -> bool:
    """Do what the commands say until the end of their stream: it comes when the manager ends the job."""
    commands = toolbox.commands[f"worker_{toolbox.START_SEQUENCE_NUM}"]
    desk = Desk(toolbox)
    # SIGTERM comes as well, and would cut the files off; the end of the stream says the same.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    while toolbox.STOP_MSG not in (command := commands.get()):
        desk.obey(command)
    desk.close()
    return False
