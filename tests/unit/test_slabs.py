"""Lines that stay together come out as the lines they are, however they are cut."""

import pickle
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.cli import inputs
from eisenmp.cli.block import Job, Slab
from eisenmp.cli.inputs import Lines
from eisenmp.cli.slabs import SlabSource
from eisenmp.sources import Slices

LINES = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b'\n', b'')), max_size=400)


class Text(Lines):
    """What the files would give."""

    def __init__(self, lines: list[bytes], block: int) -> None:
        super().__init__(())
        self._all, self._block = lines, block

    def blocks(self):  # type: ignore[no-untyped-def]
        for at in range(0, len(self._all), self._block):
            some = self._all[at : at + self._block]
            yield b'\n'.join(some), len(some)


@given(LINES, st.integers(1, 300), st.data())
def test_every_line_comes_once_in_order(lines: list[bytes], block: int, data: st.DataObject) -> None:
    source = SlabSource(Text(lines, block))
    out: list[bytes] = []
    waiting = 0
    while True:
        wanted = data.draw(st.integers(1, 200))
        source.read(wanted)
        came = source.count() - waiting
        assert came == min(wanted, len(lines) - len(out) - waiting)
        how = data.draw(st.sampled_from(['rest', 'part', 'wait']))
        if how == 'rest':
            out += source.rest()
        elif how == 'part':
            multiple = data.draw(st.integers(1, 50))
            part = source.part(multiple)
            assert len(part) == (waiting + came) // multiple * multiple
            out += part
        waiting = source.count()
        assert [source.item(at) for at in range(waiting)] == lines[len(out) : len(out) + waiting]
        if came < wanted:
            break
    out += source.rest()
    assert out == lines


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b'\n', b'')), min_size=1, max_size=500), st.data())
def test_lines_of_very_different_lengths(lines: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at] = b'x' * 5000
    source = SlabSource(Text(lines, 1000))
    first = data.draw(st.integers(1, len(lines)))
    source.read(first)
    assert list(source.rest()) == lines[:first]
    source.read(1000)
    assert list(source.rest()) == lines[first:]


@pytest.mark.parametrize('text', [b'', b'\n', b'a', b'a\n', b'\n\n', b'a\n\nb', b'a\r\nb\n', b'\na'])
def test_files_have_the_lines_that_they_have(text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'text'
    path.write_bytes(text)
    for size in (1, 2, 1 << 18):
        monkeypatch.setattr(inputs, '_BLOCK', size)
        lines = list(Lines([str(path), str(path)]))
        with open(path, 'rb') as file:
            assert lines == [line.removesuffix(b'\n') for line in file] * 2
        source = SlabSource(Lines([str(path), str(path)]))
        source.read(100)
        assert list(source.rest()) == lines


def test_a_slab_is_a_sequence_of_lines_and_travels() -> None:
    slab = Slab(b'a\n\nbb', 3)
    for each in (slab, pickle.loads(pickle.dumps(slab, 5))):
        assert len(each) == 3
        assert list(each) == [b'a', b'', b'bb']
        assert each[2] == b'bb'
        assert each[1:] == [b'', b'bb']


@pytest.mark.parametrize('rows', [Slab(b'3\r\n4\n', 3), [b'3\r', b'4', b'']])
def test_a_worker_makes_the_same_of_both(rows: object) -> None:
    job = Job('math', 'sqrt')
    job._function = repr
    job._call = job._make_call()
    assert job(rows)[0] == b"'3'\n'4'\n''\n"


def test_what_has_come_is_taken_while_more_is_read() -> None:
    lines = [str(n).encode() for n in range(50_000)]
    source = SlabSource(Text(lines, 100))
    out: list[bytes] = []
    over = threading.Event()

    def take() -> None:
        while not over.is_set():
            out.extend(source.part(7))

    thief = threading.Thread(target=take)
    thief.start()
    for _ in range(len(lines) // 50):
        source.read(50)
    over.set()
    thief.join()
    out += source.rest()
    assert out == lines


def test_it_is_no_search_space() -> None:
    assert not isinstance(SlabSource(Text([], 1)), Slices)
