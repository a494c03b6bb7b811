"""From a path and a name to a function."""

from __future__ import annotations

import os
import py_compile
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eisenmp.payload import FILE_MODULES
from eisenmp.worker.loader import is_file, load, load_module

Write = Callable[..., str]


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Modules and folders that these tests load are forgotten again."""
    modules, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str, name: str = 'worker.py') -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        return str(path)

    return write_file


@pytest.mark.parametrize(
    ('path', 'file'),
    [
        *(('worker.py', True), ('a/worker.py', True), ('worker.pyc', True), ('worker.so', True)),
        *(('worker.pyd', True), ('a/worker', True), (os.path.join('a', 'b'), True)),
        *(('worker', False), ('package.worker', False), ('eisenmp.watchdog', False), ('pyworker', False)),
    ],
)
def test_is_file(path: str, file: bool) -> None:
    assert is_file(path) is file


def test_a_function_of_a_file(write: Write) -> None:
    entry = load(write('def entry(x):\n    return x + 1\n'), 'entry')
    assert entry(41) == 42
    assert entry.__module__.startswith(FILE_MODULES)
    assert entry.__module__.endswith('.worker')


def test_a_function_of_a_dotted_module() -> None:
    assert load('os.path', 'join') is os.path.join
    with pytest.raises(ModuleNotFoundError):
        load('no_such_package.worker', 'entry')


def test_a_file_is_loaded_once(write: Write) -> None:
    path = write('calls = []\ndef entry():\n    calls.append(1)\n    return len(calls)\n')
    assert load(path, 'entry')() == 1
    assert load(path, 'entry')() == 2
    assert load_module(path) is load_module(os.path.join(os.path.dirname(path), '.', 'worker.py'))


def test_two_files_of_one_name_do_not_collide(write: Write) -> None:
    paths = [write(f'def entry():\n    return {n}\n', f'{n}/worker.py') for n in range(3)]
    assert [load(path, 'entry')() for path in paths] == [0, 1, 2]
    assert [load(path, 'entry')() for path in reversed(paths)] == [2, 1, 0]


def test_a_file_may_be_named_like_a_module_of_the_library(write: Write) -> None:
    import json

    assert load(write('def entry():\n    return "mine"\n', 'json.py'), 'entry')() == 'mine'
    assert sys.modules['json'] is json


@pytest.mark.parametrize('name', ['my worker.py', 'worker-1.2.py', '2nd.py', 'größe.py', 'class.py'])
def test_the_name_need_not_be_an_identifier(write: Write, name: str) -> None:
    assert load(write('def entry():\n    return __file__\n', name), 'entry')().endswith(name)


def test_a_file_may_import_its_neighbours(write: Write) -> None:
    write('VALUE = 7\n', 'rather_unusual_neighbour.py')
    path = write('import rather_unusual_neighbour\ndef entry():\n    return rather_unusual_neighbour.VALUE\n')
    assert load(path, 'entry')() == 7


def test_a_relative_path_is_taken_from_the_current_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write('def entry():\n    return "here"\n', 'sub/worker.py')
    monkeypatch.chdir(tmp_path)
    assert load(os.path.join('sub', 'worker.py'), 'entry')() == 'here'


def test_a_compiled_file(write: Write, tmp_path: Path) -> None:
    source = write('def entry():\n    return "compiled"\n', 'source.py')
    target = str(tmp_path / 'elsewhere' / 'worker.pyc')
    py_compile.compile(source, cfile=target, doraise=True)
    os.remove(source)
    assert load(target, 'entry')() == 'compiled'


def test_classes_of_a_file_know_where_they_are(write: Write) -> None:
    """Dataclasses and pickle look their module up in sys.modules."""
    path = write(
        'from __future__ import annotations\nfrom dataclasses import dataclass\n'
        '@dataclass\nclass Row:\n    x: int\n'
        'def entry():\n    return Row(3)\n'
    )
    row: Any = load(path, 'entry')()
    assert getattr(sys.modules[type(row).__module__], 'Row') is type(row)  # noqa: B009


# ---- errors


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no worker module .*nowhere\.py'):
        load(str(tmp_path / 'nowhere.py'), 'entry')


def test_a_function_that_is_not_there(write: Write) -> None:
    path = write('def worker_entrance():\n    pass\nworker_entrances = 3\n')
    with pytest.raises(AttributeError, match=r"no function 'worker_entrence' \(did you mean 'worker_entrance'\?\)"):
        load(path, 'worker_entrence')


def test_something_that_is_no_function(write: Write) -> None:
    with pytest.raises(TypeError, match="'entry' is no function but int"):
        load(write('entry = 3\n'), 'entry')


def test_a_syntax_error_tells_its_place(write: Write) -> None:
    path = write('x = 1\ndef entry(:\n    pass\n')
    with pytest.raises(SyntaxError) as caught:
        load(path, 'entry')
    assert (caught.value.filename, caught.value.lineno) == (path, 2)


def test_a_file_that_raises_is_not_half_there(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(
        'import os\nif os.environ.get("EISENMP_TEST_BAD"):\n    raise OSError("bad")\ndef entry():\n    return 1\n'
    )
    os.environ['EISENMP_TEST_BAD'] = '1'
    try:
        for _ in range(2):
            with pytest.raises(OSError, match='bad'):
                load(path, 'entry')
    finally:
        del os.environ['EISENMP_TEST_BAD']
    assert load(path, 'entry')() == 1


@pytest.mark.parametrize('name', ['worker.txt', 'worker'])
def test_a_file_that_is_no_module(write: Write, name: str) -> None:
    path = write('def entry():\n    pass\n', name)
    with pytest.raises(ImportError, match='no Python module'):
        load(path if os.sep in path else f'.{os.sep}{path}', 'entry')


def test_a_folder_is_no_module(tmp_path: Path) -> None:
    with pytest.raises((ImportError, OSError)):
        load(str(tmp_path), 'entry')
    (tmp_path / 'odd.py').mkdir()
    with pytest.raises((ImportError, OSError)):
        load(str(tmp_path / 'odd.py'), 'entry')


def test_a_file_with_null_bytes(write: Write) -> None:
    with pytest.raises((SyntaxError, ValueError)):
        load(write('x = 1\0\n'), 'entry')
