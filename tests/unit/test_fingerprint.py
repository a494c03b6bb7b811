"""Digests: the same in another process, different for different contents."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eisenmp.functions import Function
from eisenmp.jobfile.fingerprint import Witness, digest, digest_of_chunk, fingerprint, source_digest
from eisenmp.settings import ModuleSpec, Settings
from tests.support import script_env

OBJECTS = (
    "(1, 2.5, 'x', b'y', None, True, {'a': {'set', 'of', 'texts', 'in', 'any', 'order'}}, frozenset('xyz'), "
    "__import__('fractions').Fraction(1, 3), object())"
)


def test_the_same_in_another_process() -> None:
    code = f'from eisenmp.jobfile.fingerprint import digest; print(digest({OBJECTS}).hex())'
    said = {
        subprocess.run(
            [sys.executable, '-c', code],
            env=script_env(PYTHONHASHSEED=seed),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        for seed in ('1', '2')
    }
    assert said == {digest(eval(OBJECTS)).hex()}


def test_contents_are_told_apart() -> None:
    numpy = pytest.importorskip('numpy')
    objects: list[Any] = [
        1, 1.0, '1', b'1', True, None, [1], (1,), {1}, {1: 1}, [[1]], [1, 1], 'ab', ['a', 'b'], ['ab', ''], {'a', 'b'},
        {'a': 'b'}, numpy.arange(3), numpy.arange(3.0), 'ü', '\ud800',
    ]  # fmt: skip
    assert len({digest(obj) for obj in objects}) == len(objects)
    assert digest(['ab', 'ab']) == digest(['ab', ''.join(['a', 'b'])])  # one object or two: that does not count


def test_circles_and_the_depth_of_a_well_are_no_trouble() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert digest(circle) == digest(circle)
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    assert digest(deep)


def test_chunks_of_any_kind() -> None:
    numpy = pytest.importorskip('numpy')
    chunks: list[Any] = [range(100), list(range(100)), numpy.arange(100), 'x' * 100, b'x' * 100, [7], range(101)]
    assert len({digest_of_chunk(chunk) for chunk in chunks}) == len(chunks) - 1  # a range is its numbers
    assert digest_of_chunk(range(100)) != digest_of_chunk(range(1, 101))


def test_a_witness_keeps_some() -> None:
    kept: list[tuple[int, int]] = []
    witness = Witness(30, lambda position, items, _: kept.append((position, items)))
    witness.saw(range(12), 0, 5)  # chunks 30, 31 and a short one
    witness.saw(range(5), 12, 5)
    witness.saw(range(5), 17, 5)
    assert kept == [(0, 5), (5, 5), (10, 2), (17, 5)]  # 33 is none of them


def prints(func: Callable[..., Any] | None = None, **custom: Any) -> dict[str, bytes]:
    function = Function(func, None, (), None) if func is not None else None
    return {name: made for name, (_, made) in fingerprint(Settings(), [], custom, function).items()}


def test_functions() -> None:
    def made(number: int) -> Callable[[int], int]:
        return lambda item: item + number

    def doubled(item: int, by: int = 2) -> int:
        return item * by

    functions: list[Any] = [
        made(1),
        made(2),
        doubled,
        functools.partial(doubled, by=3),
        functools.partial(doubled),
        len,
    ]
    assert len({prints(func)['func'] for func in functions}) == len(functions)
    assert prints(made(1)) == prints(made(1))


def test_functions_without_a_text() -> None:
    spaces: list[dict[str, Any]] = [{}, {}, {}]
    for space, text in zip(spaces, ('lambda x: x + 1', 'lambda x: x + 1', 'lambda x: x + 2'), strict=True):
        exec(f'f = {text}', space)
    first, again, other = (prints(space['f'])['func'] for space in spaces)
    assert first == again != other


def test_functions_without_a_text_below_a_program_that_is_one_text() -> None:
    # from 3.13 on the text of -c is what inspect finds by the name <string>
    code = 'from tests.unit import test_fingerprint\ntest_fingerprint.test_functions_without_a_text()\nprint("done")'
    said = subprocess.run([sys.executable, '-c', code], env=script_env(), capture_output=True, text=True)
    assert said.stdout.strip() == 'done', said.stderr


def test_what_shapes_results_counts_and_nothing_else(tmp_path: Path) -> None:
    assert prints(target='abc', table=[1, (2, 3)]) != prints(target='abd', table=[1, (2, 3)])
    assert 'lock' not in prints(lock=object(), target=1)
    assert fingerprint(Settings(NUM_PROCS=1, NUM_ROWS=5), [], {}, None) == fingerprint(Settings(), [], {}, None)
    path = tmp_path / 'worker.py'
    path.write_text('def f(): pass')
    before = fingerprint(Settings(), [ModuleSpec(str(path), 'f')], {}, None)
    path.write_text('def f(): return 1')
    assert fingerprint(Settings(), [ModuleSpec(str(path), 'f')], {}, None) != before


def test_the_file_of_a_dotted_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / 'package').mkdir()
    (tmp_path / 'package' / 'part.py').write_text('x = 1')
    monkeypatch.syspath_prepend(tmp_path)
    assert source_digest('package.part') == source_digest(str(tmp_path / 'package' / 'part.py')) != b''
    assert 'package' not in sys.modules
    assert source_digest('no.such.module') == b''
