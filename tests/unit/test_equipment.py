"""What a new worker gets, and names that cannot be given twice."""

from __future__ import annotations

import enum
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from eisenmp.equipment import Equipment, _log_levels, share_message
from eisenmp.errors import PayloadError, SettingsError, WorkerStartError
from eisenmp.parcel import open_place
from eisenmp.payload import dumps, loads
from eisenmp.queues import QueueTable
from eisenmp.settings import ModuleSpec, Settings
from eisenmp.wire import Kind, encode
from eisenmp.worker.toolbox import Toolbox
from tests.unit.fakes import frames_of

LARGE = 1 << 20
DOTTED = [ModuleSpec('package.worker', 'entry')]


def prepared(
    custom: dict[str, Any] | None = None, table: QueueTable | None = None, modules: list[ModuleSpec] = DOTTED
) -> Equipment:
    equipment = Equipment()
    equipment.prepare(Settings(NUM_PROCS=3), modules, custom or {}, table or QueueTable())
    return equipment


def share(equipment: Equipment, name: Any, obj: Any, table: QueueTable | None = None) -> None:
    """As the manager does it."""
    table = table or QueueTable()
    equipment.refuse_share(name, table)
    equipment.share(name, equipment.pack(obj), table)


def setup_of(equipment: Equipment, slot: int = 0, table: QueueTable | None = None) -> dict[str, Any]:
    """Both parts of it, as a worker puts them together."""
    setup: dict[str, Any] = {}
    base, last = equipment.common()[0], equipment.messages(slot, f'Process-{slot + 1}', table or QueueTable())[0]
    for message in (base.message, last):
        (frame,) = frames_of(message)
        assert frame.kind == Kind.SETUP
        setup.update(pickle.loads(frame.body))
    return setup


def shared_of(equipment: Equipment) -> dict[str, Any]:
    """What a worker makes of the SHARE messages."""
    shared = {}
    for common in equipment.common():
        (frame,) = frames_of(common.message)
        if frame.kind == Kind.SHARE:
            name, place = pickle.loads(frame.body)
            assert name == common.name
            shared[name] = open_place(place)
    return shared


def test_the_setup() -> None:
    table = QueueTable()
    table.create([('batch_1', 'video_in', 3)])
    setup = setup_of(prepared({'BLUE': 7, 'rows': [1, 2]}, table), 2, table)
    assert (setup['slot'], setup['name'], setup['call']) == (2, 'Process-3', 'toolbox')
    assert setup['queues'][-1] == (5, 'batch_1|video_in', 'video_in', 'batch_1', 3)
    assert {name: loads(payload) for name, payload in setup['attributes']} == {'BLUE': 7, 'rows': [1, 2]}
    assert (setup['settings']['NUM_PROCS'], setup['settings']['NUM_ROWS']) == (3, 1000)
    assert setup['tools'] == 0


def test_the_setup_opens_without_the_user_s_classes() -> None:
    """Attributes travel pickled within it, so that one that does not unpickle can be named."""

    class Local:
        pass

    setup = setup_of(prepared({'thing': Local()}))
    ((name, payload),) = setup['attributes']
    assert name == 'thing'
    assert all(isinstance(piece, bytes) for piece in payload)


def test_shared_objects_and_tools() -> None:
    equipment = prepared()
    table = QueueTable()
    share(equipment, 'model', [1, 2, 3], table)
    share(equipment, 'words', {'a': 1}, table)
    share(equipment, 'model', [4], table)  # the newest counts
    equipment.tools.append(encode(Kind.TOOL, dumps('tool')))
    assert shared_of(equipment) == {'model': [4], 'words': {'a': 1}}
    last, tool = [frames_of(pieces)[0] for pieces in equipment.messages(0, 'Process-1', table)]
    assert pickle.loads(last.body)['tools'] == 1
    assert tool.kind == Kind.TOOL


@pytest.mark.parametrize('size', [10, LARGE])
def test_a_worker_that_lives_gets_all_of_it_in_the_message(size: int) -> None:
    parcel = prepared().pack(bytes(range(10)) + bytes(size))
    assert bool(parcel.files) == (size == LARGE)
    (frame,) = frames_of(share_message('model', parcel.pieces()))
    name, place = pickle.loads(frame.body)
    assert name == 'model'
    assert isinstance(place, list)
    assert open_place(place) == bytes(range(10)) + bytes(size)


def test_large_objects_lie_in_files_up_to_a_number() -> None:
    equipment = prepared({f'large_{n}': bytes(LARGE) for n in range(2)})
    for n in range(70):
        share(equipment, f'shared_{n}', bytes([n]) * LARGE, QueueTable())
    assert sum(len(common.files) for common in equipment.common()) == 64
    assert shared_of(equipment) == {f'shared_{n}': bytes([n]) * LARGE for n in range(70)}
    for common in equipment.common():
        for file in common.files:
            file.close()


@pytest.mark.parametrize('name', ['', '7', 'two words', 'class', None, 3, 'a.b'])
def test_a_share_needs_a_name(name: Any) -> None:
    with pytest.raises(SettingsError, match='cannot be an attribute'):
        share(prepared(), name, 1, QueueTable())


def test_a_share_that_cannot_be_pickled() -> None:
    equipment = prepared()
    with pytest.raises(PayloadError, match='lock'):
        share(equipment, 'model', threading.Lock(), QueueTable())
    share(equipment, 'model', 1, QueueTable())


def test_names_are_given_once() -> None:
    table = QueueTable()
    table.create([(None, 'blue_q_7', 3), ('batch_1', 'video_in', 3)])
    equipment = prepared({'BLUE': 7}, table)
    share(equipment, 'model', 1, table)
    for name in ('BLUE', 'model', 'mp_input_q', 'forward', 'WORKER_ID', 'kwargs'):
        with pytest.raises(SettingsError, match=name):
            equipment.refuse_taken(name, 'queue')
    for name in ('BLUE', 'blue_q_7', 'batch_1', 'mp_print_q', 'stop_job'):
        with pytest.raises(SettingsError, match=name):
            share(equipment, name, 1, table)
    equipment.refuse_taken('free', 'queue')
    share(equipment, 'video_in', 1, table)  # only its category is an attribute


def test_an_attribute_may_not_hide_anything_of_the_toolbox() -> None:
    public = [name for name in dir(Toolbox) if not name.startswith('_')]
    own = list(vars(Toolbox())) + list(Toolbox.__annotations__)
    for name in {*public, *own}:
        with pytest.raises(SettingsError, match=name):
            prepared({name: 1})


def test_an_attribute_may_not_hide_a_queue_or_a_category() -> None:
    table = QueueTable()
    table.create([(None, 'blue_q_7', 3), ('batch_1', 'video_in', 3)])
    for name in ('blue_q_7', 'batch_1'):
        with pytest.raises(SettingsError, match=name):
            prepared({name: 1}, table)
    prepared({'video_in': 1}, table)


def test_an_attribute_that_cannot_be_pickled_is_named() -> None:
    with pytest.raises(SettingsError, match="the attribute 'guard' cannot go to the workers: .*lock"):
        prepared({'BLUE': 1, 'guard': threading.Lock()})


# ---- worker files


def test_a_file_is_found_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / 'worker.py').touch()
    monkeypatch.chdir(tmp_path)
    setup = setup_of(prepared(modules=[ModuleSpec('worker.py', 'entry'), *DOTTED]))
    assert setup['modules'] == [(str(tmp_path / 'worker.py'), 'entry'), ('package.worker', 'entry')]
    assert os.path.isabs(setup['modules'][0][0])


@pytest.mark.parametrize(
    ('path', 'says'),
    [
        ('wroker.py', r"no worker module .* \(did you mean 'worker.py'\?\)"),
        ('sub/worker.py', 'there is no folder'),
        ('folder.py', 'is a folder'),
        ('worker.so', 'no worker module'),
        ('./nothing', 'no worker module'),
    ],
)
def test_a_file_that_is_not_there_is_an_error_before_any_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    (tmp_path / 'worker.py').touch()
    (tmp_path / 'folder.py').mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorkerStartError, match=says):
        prepared(modules=[ModuleSpec(path, 'entry')])


class Level(enum.IntEnum):
    HIGH = 35


class Name(str):
    __slots__ = ()


def test_levels_of_loggers_are_plain_numbers_by_plain_names() -> None:
    """A worker that lacks the classes could not even begin."""
    logger = logging.getLogger(Name('of.test_equipment'))
    logger.setLevel(Level.HIGH)
    try:
        levels = _log_levels()
    finally:
        logger.setLevel(logging.NOTSET)
    assert levels['of.test_equipment'] == 35
    assert {(type(name), type(level)) for name, level in levels.items()} == {(str, int)}
