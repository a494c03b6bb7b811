"""Keeps one template process after the other for the local engine: opens them, listens to them, replaces dead ones."""

from __future__ import annotations

import selectors
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from eisenmp.engines.base import Event
from eisenmp.engines.processes import manager_only
from eisenmp.engines.template import Message, Template, TemplateProcess
from eisenmp.errors import ProtocolError
from eisenmp.parcel import SharedFile
from eisenmp.wire import Buffer, Frame, Kind

__all__ = ["Ended", "ForkServer"]

Ended = tuple[int, str]  # a worker whose end is known, and what is to be said about it beyond its exit code


class ForkServer:
    """The template there is, if there is one.

    Args:
        selector: of the engine; a template is registered with itself as data.
        noted: of the engine: who has something to send.
        kit: what all workers get alike, by name; the engine keeps it.
    """

    def __init__(self, selector: selectors.BaseSelector, noted: deque[Any], kit: Mapping[str, Message]) -> None:
        self._selector = selector
        self._noted = noted
        self._kit = kit
        self._template: Template | None = None
        self._preload = True  # until it has turned out that the modules cannot be imported once for all

    def start(self, worker: int, name: str, child: socket.socket) -> TemplateProcess:
        """Ask for a worker that owns `child`.

        Raises:
            OSError: there is no template, and the system gives none.
        """
        template = self._template or self._open()
        process = TemplateProcess(name)
        manager_only.add(child)  # which stays open here until the template has it
        template.fork(worker, process, child)
        self._noted.append(template)
        return process

    def equip(self, message: list[Buffer], files: Sequence[SharedFile]) -> None:
        """One more message for the workers to come."""
        if self._template is not None:
            self._template.channel.keep(message, files)
            self._noted.append(self._template)

    def is_open(self, template: Template) -> bool:
        """Whether it is registered with the selector."""
        return self._template is template

    def hear(self, template: Template) -> tuple[list[Event], list[Ended]]:
        """The template has spoken, or is gone: (what it says in a worker's name, workers that have ended)."""
        events: list[Event] = []
        ended: list[Ended] = []
        try:
            frames, gone = template.channel.receive()
            for frame in frames:
                self._take(template, frame, events, ended)
        except ProtocolError:
            gone = True  # and its workers with it
        self._noted.append(template)  # taking notes makes room for more requests
        if gone and self._template is template:
            ended += self._replace(template)
        return events, ended

    def close(self) -> None:
        """All workers are gone."""
        if self._template is not None:
            self._template.close()
            for process, child in self._template.waiting.values():
                process.lost()
                child.close()

    def _open(self) -> Template:
        self._template = Template(preload=self._preload, kit=self._kit.values())
        self._selector.register(self._template.channel.sock, selectors.EVENT_READ, self._template)
        self._noted.append(self._template)
        return self._template

    def _take(self, template: Template, frame: Frame, events: list[Event], ended: list[Ended]) -> None:
        if frame.kind in (Kind.PRINT, Kind.LOG):
            events.append(Event(template.speaker(), frame))
        elif (end := template.take(frame)) is not None:
            ended.append(end)

    def _replace(self, template: Template) -> list[Ended]:
        """A template is gone, and its workers with it. The next one does without preparations if it never got to fork.

        Requests go on to the next one only when it is sure that nobody has been forked for them: two processes on one
        channel would be worse than a start that has failed.
        """
        self._selector.unregister(template.channel.sock)
        self._template, how = None, f"the end of its template process ({template.close()})"
        self._preload = self._preload and template.proved
        lost = list(template.forked.items())
        successor = None
        if template.preload and not template.ready:
            try:
                successor = self._open()
            except OSError as error:
                how = f"no process: {error}"
        for number, (process, child) in template.waiting.items():
            if successor is not None and process.is_alive():
                successor.fork(number, process, child)
            else:
                child.close()
                lost.append((number, process))
        for _, process in lost:
            process.lost()
        return [(number, how) for number, _ in lost]
