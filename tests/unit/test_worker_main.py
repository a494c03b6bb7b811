"""A worker's first steps."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from eisenmp.payload import dumps
from eisenmp.wire import Decoder, Frame, Kind, encode
from eisenmp.worker import main
from eisenmp.worker.toolbox import Toolbox

ROW = (7, 'late', 'late', None, 2)


def frame_of(message: list[Any]) -> Frame:
    decoder = Decoder(1, Kind.LAST_TO_WORKER)
    data = b''.join(message)
    decoder.room()[: len(data)] = data
    (frame,) = decoder.advance(len(data))
    return frame


def test_a_queue_that_is_told_of_as_soon_as_there_is_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another thread brings the messages, the first one may come before the worker goes on."""
    made: list[Any] = []

    class Noted(Toolbox):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    def connect(on_frame: Callable[[Frame], None]) -> Any:
        on_frame(frame_of(encode(Kind.QUEUE, dumps(ROW))))
        raise InterruptedError('far enough')

    monkeypatch.setattr(main, "Toolbox", Noted)
    setup = {'call': 'toolbox', 'slot': 0, 'name': 'Process-1', 'settings': {'NUM_PROCS': 1}, 'queues': []}
    kit: Any = SimpleNamespace(setup=setup)
    with pytest.raises(InterruptedError):
        main._work(connect, kit, shared_process=True)
    (toolbox,) = made
    assert [row[0] for row in toolbox.Q_NAME_ID_LST] == ['late']
    assert toolbox.late.name == 'late'
