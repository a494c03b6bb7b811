"""The pure parts of the engine ray. None of them needs Ray; what does is in tests/cluster."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.engines import make_engine
from eisenmp.engines.base import Exit
from eisenmp.engines.ray.bell import Bell
from eisenmp.engines.ray.fate import constructor_error, death_text
from eisenmp.engines.ray.groups import Hello, Unpacker, machine, pack, split, without_socket
from eisenmp.engines.ray.handle import ActorHandle
from eisenmp.engines.ray.shipping import collect, loaded_names, project_folders
from eisenmp.engines.ray.wishes import Wishes, fitting, lack_text, token_advice
from eisenmp.errors import ClusterError, ProtocolError, WorkerStartError
from eisenmp.payload import dumps, loads, opened
from eisenmp.settings import Settings
from eisenmp.wire import ALONE, LARGE, Buffer, Kind, encode
from tests.support import run_script, script_env, write

# ---- groups


def messages_of(payloads: list[Any]) -> list[list[Buffer]]:
    return [encode(Kind.PUT, dumps(payload), queue=at) for at, payload in enumerate(payloads)]


def travelled(groups: list[list[list[Buffer]]], order: Callable[[list[int]], list[int]]) -> list[Any]:
    """What comes out when the groups arrive in that order."""
    unpacker = Unpacker(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
    packed = [pack(group) for group in groups]
    frames = []
    for number in order(list(range(len(groups)))):
        streams, large = packed[number]
        frames += unpacker.add(number, streams, large, own=True)
    assert [frame.queue for frame in frames] == list(range(len(frames)))
    return [loads(frame.payload) for frame in frames]


@given(
    st.lists(st.lists(st.integers(0, 3 * LARGE).map(bytes), max_size=4), max_size=6),
    st.randoms(use_true_random=False),
)
def test_messages_of_any_size_arrive_in_order_whatever_the_order_of_their_groups(
    groups: list[list[bytes]], random: Any
) -> None:
    payloads = [(at, payload) for at, payload in enumerate(payload for group in groups for payload in group)]
    messages = messages_of(payloads)
    cut = []
    for group in groups:
        cut.append(messages[: len(group)])
        messages = messages[len(group) :]

    def shuffled(numbers: list[int]) -> list[int]:
        random.shuffle(numbers)
        return numbers

    assert travelled(cut, shuffled) == payloads


def test_a_piece_of_the_stream_is_small_enough_to_go_along_with_a_call() -> None:
    messages = messages_of([bytes(size) for size in (10, 60_000, 60_000, LARGE - 1000, 5 << 20)])
    streams, large = pack(messages)
    assert len(large) == 1
    assert len(large[0]) > 5 << 20
    assert max(map(len, streams)) < LARGE
    assert [len(piece) < 100 << 10 for piece in streams].count(False) <= 1, 'only a message that is larger by itself'


def test_long_groups_are_split() -> None:
    assert split([]) == []
    small = messages_of([bytes(1000)] * 2000)
    groups = split(small)
    assert [message for group in groups for message in group] == small
    assert len(groups) == 3
    large = messages_of([bytes(20 << 20)] * 4)
    assert [len(group) for group in split(large)] == [2, 2]


def test_a_received_array_may_be_written_to_and_a_view_is_what_lies_there() -> None:
    message = encode(Kind.PUT, (b'x', bytes(LARGE)))
    for own in (True, False):
        streams, large = pack([message])
        unpacker = Unpacker(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER)
        (frame,) = unpacker.add(0, streams, large, own=own)
        assert memoryview(frame.buffers[0]).readonly != own


@pytest.mark.parametrize('large', [[], [b'too short']])
def test_large_pieces_that_are_not_there(large: list[bytes]) -> None:
    streams, _ = pack([encode(Kind.PUT, (b'x', bytes(LARGE)))])
    with pytest.raises(ProtocolError, match='a large piece of'):
        Unpacker(Kind.FIRST_TO_MANAGER, Kind.LAST_TO_MANAGER).add(0, streams, large, own=True)


def test_a_worker_that_wants_a_socket_is_told_that_there_is_none() -> None:
    message = without_socket(encode(Kind.LISTENING, rows=1, serial=7))
    (frame,) = Unpacker(1, Kind.LAST_TO_WORKER).add(0, message, (), own=True)
    assert (frame.kind, frame.serial, frame.flags) == (Kind.LISTENING, 7, ALONE)
    number, words = opened(frame.body)
    assert number
    assert "ENGINE='ray'" in words


# ---- wishes


def test_what_a_worker_takes() -> None:
    settings = Settings(ENGINE='ray', ENGINE_CPUS=2, ENGINE_MEMORY=1 << 30, ENGINE_RESOURCES={'telescope': 0.5})
    wishes = Wishes.of(settings)
    assert wishes.asked() == {'CPU': 2, 'memory': 1 << 30, 'telescope': 0.5}
    options = wishes.options('Process-1')
    assert (options['max_restarts'], options['max_task_retries']) == (0, 0), 'Ray would repeat what the ledger knows of'
    assert (options['num_cpus'], options['num_gpus'], options['memory']) == (2, 0, 1 << 30)
    assert options['resources'] == {'telescope': 0.5}
    assert options['scheduling_strategy'] == 'SPREAD'
    assert Wishes(placement='pack').options('')['scheduling_strategy'] == 'DEFAULT'
    assert 'memory' not in Wishes().options('')


@pytest.mark.parametrize(
    ('asked', 'there_are', 'workers'),
    [
        ({'CPU': 1}, {'CPU': 12}, 12),
        ({'CPU': 2, 'GPU': 1}, {'CPU': 12, 'GPU': 3}, 3),
        ({'CPU': 0.5}, {'CPU': 3}, 6),
        ({'CPU': 1, 'telescope': 1}, {'CPU': 12}, 1),
        ({}, {'CPU': 12}, 1),
    ],
)
def test_how_many_workers_fit(asked: dict[str, float], there_are: dict[str, float], workers: int) -> None:
    assert fitting(asked, there_are) == workers


def test_a_lack_is_told_with_numbers() -> None:
    told = lack_text({'CPU': 3, 'telescope': 1}, {'CPU': 2.5}, {'CPU': 4}, 60)
    assert 'for 60 s: asked for CPU 3, telescope 1; free are CPU 2.5, telescope 0, of CPU 4, telescope 0 in all' in told


TOKEN = {'RAY_AUTH_TOKEN': 'x'}


@pytest.mark.parametrize(
    ('environ', 'address', 'file', 'lack'),
    [
        ({'RAY_AUTH_MODE': 'token', **TOKEN}, 'head:6379', False, ''),
        ({'RAY_AUTH_MODE': 'TOKEN'}, 'head:6379', True, ''),
        ({'RAY_AUTH_MODE': 'token', 'RAY_AUTH_TOKEN_PATH': '/t'}, 'auto', True, ''),
        ({}, 'auto', True, ''),
        ({}, 'head:6379', True, "RAY_AUTH_MODE is not 'token'"),
        ({}, 'auto', False, 'there is no token'),
        ({'RAY_AUTH_MODE': 'token'}, 'head:6379', False, 'there is no token'),
        ({'RAY_AUTH_MODE': 'disabled', **TOKEN}, 'auto', False, "RAY_AUTH_MODE is not 'token'"),
    ],
)
def test_a_cluster_is_entered_with_a_token_only(environ: dict[str, str], address: str, file: bool, lack: str) -> None:
    advice = token_advice(environ, address, lambda _: file)
    assert bool(advice) == bool(lack)
    assert lack in advice
    assert 'x' not in advice.split(), 'the token itself is not told'


# ---- ends

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: Host
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker
unexpectedly exits with a connection error code 2. End of file. Some common causes include: …"""
INIT = """The actor died because of an error raised in its creation task, \x1b[36mray::Host.__init__()\x1b[39m (pid=1)
  File "x.py", line 1, in y
ModuleNotFoundError: No module named 'eisenmp'
"""


@pytest.mark.parametrize(
    ('said', 'words'),
    [
        (DIED, 'its process ended unexpectedly (killed, out of memory, or crashed)'),
        ('The actor died because its node has died. Node Id: 12', 'its node is gone'),
        ('The actor 12 is unavailable: The actor is temporarily unavailable: UnavailableError', 'cannot be reached'),
        ('Task was killed due to the node running low on memory.\nMore', 'ran out of memory'),
        ('something new\nin two lines', 'something new'),
        ('', 'an unknown reason'),
    ],
)
def test_why_an_actor_is_gone(said: str, words: str) -> None:
    assert words in death_text(said)
    assert '\n' not in death_text(said)


def test_an_actor_that_cannot_be_made_is_told_apart() -> None:
    assert constructor_error(INIT) == "ModuleNotFoundError: No module named 'eisenmp'"
    assert constructor_error(DIED) == ''


def test_a_handle_from_its_start_to_its_end() -> None:
    signals: list[int] = []
    handle = ActorHandle('Process-1', signals.append)
    assert (handle.known_pid, handle.exitcode, handle.is_alive(), handle.awaits) == (None, None, True, '')
    assert 'not placed yet' in repr(handle)
    handle.came(Hello(4711, machine(), 'here', 'ab12', '3.11', '2'))
    assert (handle.pid, handle.known_pid) == (4711, 4711)
    handle.terminate()
    handle.kill()
    assert signals == [15, 9]
    handle.ended(Exit(None, 'its node is gone'))
    handle.join()
    assert (handle.exitcode, handle.is_alive()) == (255, False)
    assert 'its node is gone' in repr(handle)


def test_a_pid_of_another_machine_is_not_taken_for_one_of_ours() -> None:
    handle = ActorHandle('Process-1', lambda _: None)
    handle.came(Hello(os.getpid(), 'another boot pid:[1]', 'there', 'ab12', '3.11', '2'))
    assert handle.pid == os.getpid()
    assert handle.known_pid is None


def test_one_that_never_found_a_place() -> None:
    handle = ActorHandle('Process-1', lambda _: None)
    handle._begun -= 60
    assert handle.awaits == 'a place on the Ray cluster'
    handle.ended(Exit(-9, 'signal SIGKILL'))
    assert (handle.pid, handle.awaits) == (0, '')


# ---- sources


def test_sources_are_followed_through_their_imports(tmp_path: Path) -> None:
    worker = write(
        tmp_path / 'workers',
        """
        import json, beside
        from pack.sub import deep as d

        def entry(rows):
            from late import thing
            import not_there
        """,
    )
    write(tmp_path / 'workers', 'import more\n', 'beside.py')
    write(tmp_path / 'workers', 'thing = 1\n', 'late.py')
    write(tmp_path / 'project', 'from .. import top\n', 'pack/sub/deep.py')
    write(tmp_path / 'project', 'from . import deep\n', 'pack/sub/__init__.py')
    write(tmp_path / 'project', 'import beside\n', 'pack/top.py')
    write(tmp_path / 'project', '', 'more.py')
    write(tmp_path / 'project', '', 'unused.py')
    contents, names = collect([worker], [], [str(tmp_path / 'project')])
    found = {name: (os.path.relpath(path, tmp_path), package) for name, (path, package) in names.items()}
    assert found == {
        'beside': ('workers/beside.py', False),
        'more': ('project/more.py', False),
        'late': ('workers/late.py', False),
        'pack': ('project/pack', True),  # has no __init__.py
        'pack.sub': ('project/pack/sub/__init__.py', True),
        'pack.sub.deep': ('project/pack/sub/deep.py', False),
        'pack.top': ('project/pack/top.py', False),
    }
    files = {os.path.relpath(path, tmp_path) for path in contents}
    assert files == {'workers/worker.py', *(path for path, _ in found.values() if path.endswith('.py'))}


def test_what_cannot_be_read_or_parsed_is_left_to_the_worker(tmp_path: Path) -> None:
    broken = write(tmp_path, 'def entry(:\n')
    contents, names = collect([broken, str(tmp_path / 'far.py'), 'no.such.module'], [], [])
    assert list(contents) == [broken]
    assert names == {}


def test_a_dotted_worker_module_and_its_packages_go_along(tmp_path: Path) -> None:
    write(tmp_path, '', 'app/__init__.py')
    path = write(tmp_path, 'from . import shared\n', 'app/work.py')
    write(tmp_path, '', 'app/shared.py')
    contents, names = collect(['app.work'], [], [str(tmp_path)])
    assert names['app.work'] == (path, False)
    assert set(names) == {'app', 'app.work', 'app.shared'}
    assert len(contents) == 3


def test_too_much_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / 'worker.so'
    with open(path, 'wb') as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(WorkerStartError, match='more than 64 MiB'):
        collect([str(path)], [], [])


def test_folders_of_the_user_and_what_is_installed(tmp_path: Path) -> None:
    folders = project_folders([str(tmp_path), os.path.dirname(os.__file__), str(tmp_path / 'no'), str(tmp_path), ''])
    assert folders[0] == str(tmp_path)
    assert os.path.dirname(os.__file__) not in folders
    assert folders.count(str(tmp_path)) == 1
    module = type(os)('mine')
    module.__file__ = str(tmp_path / 'mine.py')
    assert loaded_names({'mine': module, 'os': os, '__main__': module, 'none': None}, [str(tmp_path)]) == ['mine']


def test_shipped_modules_are_loaded_where_their_files_are_not(tmp_path: Path) -> None:
    """In another process, after the files are gone; errors and sources show the manager's lines."""
    home = tmp_path / 'home'
    worker = write(
        home, 'from near import value\nimport space.inner\ndef entry():\n    return value, space.inner.one\n'
    )
    write(home, 'value = 7\ndef fail():\n    raise ValueError("told")\n', 'near.py')
    write(home, 'one = 1\n', 'space/inner.py')
    shipment = collect([worker], [], [str(home)])
    program = f"""
        import shutil, traceback
        from eisenmp.worker.shipped import install
        from eisenmp.worker.loader import load
        shutil.rmtree({str(home)!r})
        install({shipment!r})
        print(load({worker!r}, 'entry')())
        try:
            import near
            near.fail()
        except ValueError:
            print(traceback.format_exc())
    """
    told = run_script(tmp_path, program).stdout
    assert told.startswith('(7, 1)\n')
    assert f'File "{home / "near.py"}", line 3, in fail\n    raise ValueError("told")' in told


def test_a_file_of_the_manager_is_the_one_that_is_meant(tmp_path: Path) -> None:
    worker = write(tmp_path, 'def entry(): return "of the manager"\n')
    shipment = collect([worker], [], [])
    write(tmp_path, 'def entry(): return "of the node"\n')
    program = f"""
        from eisenmp.worker.shipped import install
        from eisenmp.worker.loader import load
        install({shipment!r})
        print(load({worker!r}, 'entry')())
    """
    assert run_script(tmp_path, program).stdout == 'of the manager\n'


def test_shipped_bytecode_is_laid_down_on_the_node(tmp_path: Path) -> None:
    import py_compile

    source = write(tmp_path, 'def entry(): return "compiled"\n')
    compiled = tmp_path / 'far' / 'worker.pyc'
    py_compile.compile(source, str(compiled))
    shipment = collect([str(compiled)], [], [])
    compiled.unlink()
    program = f"""
        from eisenmp.worker.shipped import install
        from eisenmp.worker.loader import load
        install({shipment!r})
        print(load({str(compiled)!r}, 'entry')())
    """
    temporary = tmp_path / 'temporary'
    temporary.mkdir()
    assert run_script(tmp_path, program, env=script_env(TMPDIR=str(temporary))).stdout == 'compiled\n'
    assert list(temporary.iterdir()) == [], 'nothing stays of it'


# ---- without Ray


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'ray', None)
    with pytest.raises(ClusterError, match=r"pip install 'eisenmp\[ray\]'"):
        make_engine(Settings(ENGINE='ray'))


def test_nobody_loads_ray_who_does_not_ask_for_it() -> None:
    code = 'import sys, eisenmp.engines.ray, eisenmp.manager; assert "ray" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)


# ---- the bell


def test_a_bell_is_heard_whoever_rings_while_it_is_hushed(monkeypatch: pytest.MonkeyPatch) -> None:
    selector = selectors.DefaultSelector()
    bell = Bell(selector)

    class Eager:
        """Somebody rings right before and right after the byte is taken."""

        def recv(self, size: int) -> bytes:
            bell.ring()
            try:
                return real.recv(size)
            finally:
                bell.ring()

        def close(self) -> None:
            real.close()

    real = bell._read
    bell.ring()
    bell.ring()
    assert len(selector.select(0)) == 1
    monkeypatch.setattr(bell, '_read', Eager())
    bell.hush()
    while selector.select(0):
        bell.hush()
    bell.ring()
    assert len(selector.select(0)) == 1
    bell.close()
    bell.ring()  # a thread that comes late
    selector.close()
