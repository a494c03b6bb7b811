"""Results of a job file in other forms: what readers of their own find in them is what the job has found."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import enum
import io
import json
import math
import os
import sqlite3
import subprocess
import sys
import uuid
from collections import namedtuple
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp import JobFileError, JobFileUntrusted, SettingsError
from eisenmp.errors import CrashError
from eisenmp.export.plain import Plainer, as_json
from eisenmp.jobfile import Journal
from eisenmp.jobfile.codec import Entry
from eisenmp.ledger import State
from eisenmp.payload import dumps
from eisenmp.results import Record
from eisenmp.suspects import Suspect
from tests.support import script_env


@pytest.fixture(autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path_factory.getbasetemp() / 'home'))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'job.db')


def job(path: str, func: Callable[[Any], Any], items: Iterable[Any], **more: Any) -> None:
    """Of threads of this process."""
    short = more.pop('short', eisenmp.imap)
    options = {'chunksize': 3, 'max_workers': 2, 'engine': 'inline', 'on_error': 'skip', **more}
    with short(func, items, job=path, **options) as results:
        for _ in results:
            pass


def objects(path: str, **more: Any) -> list[dict[str, Any]]:
    out = io.BytesIO()
    eisenmp.export_results(path, out, 'jsonl', **more)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def table(path: str, tmp_path: Path, kind: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """(names of the columns, rows), by readers that are not ours."""
    out = str(tmp_path / f'out.{kind}')
    made = eisenmp.export_results(path, out)
    assert made.format == kind
    if kind == 'csv':
        with open(out, encoding='utf-8', newline='') as file:
            names, *lines = csv.reader(file)
        rows = [tuple(line) for line in lines]
    elif kind == 'sqlite':
        db = sqlite3.connect(out)
        found = db.execute('SELECT * FROM results')
        names, rows = [column[0] for column in found.description], found.fetchall()
        db.close()
    else:
        pq = pytest.importorskip('pyarrow.parquet')
        read = pq.read_table(out)
        names, rows = read.column_names, [tuple(row.values()) for row in read.to_pylist()]
    assert (list(made.columns), made.rows) == (names, len(rows))
    assert os.listdir(tmp_path).count(f'out.{kind}') == len([x for x in os.listdir(tmp_path) if 'out' in x])
    return names, rows


KINDS = ['csv', 'sqlite', 'parquet']


# ---- rows


def odd(number: int) -> int:
    if number % 5 == 2:
        raise ValueError(f'not {number}')
    return number * 10


def test_a_row_for_each_item(path: str) -> None:
    job(path, odd, range(8))
    rows = objects(path)
    assert [(row['ticket'], row['entry'], row['value'], row['error']) for row in rows] == [
        (0, 0, 0, None), (0, 1, 10, None), (0, 2, None, 'ValueError: not 2'), (1, 0, 30, None), (1, 1, 40, None),
        (1, 2, 50, None), (2, 0, 60, None), (2, 1, None, 'ValueError: not 7'),
    ]  # fmt: skip
    assert [row['state'] for row in rows if row['error']] == ['failed', 'failed']
    assert [(row['first_item'], row['items']) for row in rows[::3]] == [(0, 3), (3, 3), (6, 2)]
    assert {row['queue'] for row in rows} == {'mp_input_q (default)'}


def test_a_row_for_each_ticket(path: str) -> None:
    job(path, odd, range(8))
    rows = objects(path, whole=True)
    assert [(row['value'], row['state']) for row in rows] == [
        ([0, 10, None], 'failed'), ([30, 40, 50], 'done'), ([60, None], 'failed')
    ]  # fmt: skip


def test_results_of_chunks(path: str) -> None:
    def result(chunk: list[int]) -> Any:
        if chunk[0] == 3:
            raise KeyError('three')
        return {0: [1, 2], 6: 'text', 9: None}[chunk[0]]

    job(path, result, range(12), short=eisenmp.imap_chunks)
    assert [(row['ticket'], row['entry'], row['value'], row['error']) for row in objects(path)] == [
        (0, 0, 1, None), (0, 1, 2, None), (1, None, None, "KeyError: 'three'"), (2, None, 'text', None),
        (3, None, None, None),
    ]  # fmt: skip


def fed_by_hand(path: str, *records: Record) -> None:
    """A file with what no job makes by itself, such as workers that have died."""
    journal = Journal.opened(path, 'pickle')
    journal.start(lambda _: None, lambda _: None)
    journal.enter_queue(0, 'words')
    source = journal.enter_source(0, None)
    journal.writer.border(0, len(records), 5 * len(records), 5, source.number, 0)
    for record in records:
        state = State.SET_ASIDE if record.has_failures else State.DONE
        journal.writer.outcome(Entry.of(record, state, 5, 0.5, 1, 3))
    journal.close('complete')


def test_items_over_which_workers_died(path: str) -> None:
    crash = CrashError('words', 0, ['SIGKILL'], 2, "'x'")
    parts = [(Suspect(0, 2, dumps([1, 2])), None), (Suspect(2, 1), crash), (Suspect(3, 2, dumps([4, 5])), None)]
    fed_by_hand(
        path,
        Record(0, 0, parts=parts, per_item=True),
        Record(0, 1, parts=parts),
        Record(0, 2, error=CrashError('words', 2, ['SIGSEGV'])),
    )
    rows = objects(path)
    assert [(row['ticket'], row['entry'], row['value'], row['state']) for row in rows] == [
        (0, 0, 1, 'done'), (0, 1, 2, 'done'), (0, 2, None, 'set aside'), (0, 3, 4, 'done'), (0, 4, 5, 'done'),
        (1, 0, 1, 'done'), (1, 1, 2, 'done'), (1, None, None, 'set aside'), (1, 2, 4, 'done'), (1, 3, 5, 'done'),
        (2, None, None, 'set aside'),
    ]  # fmt: skip
    assert rows[2]['error'] == f'CrashError: {crash}'
    assert objects(path, whole=True)[1]['value'] == [1, 2, None, 4, 5]


def test_the_answer_of_a_search_comes_last(path: str) -> None:
    def find(number: int) -> None:
        if number == 7:
            raise eisenmp.StopJob({'found': number})

    job(path, find, range(100), max_workers=1)
    *_, last = objects(path)
    assert (last['state'], last['ticket'], last['value']) == ('answer', None, {'found': 7})


def test_queues(path: str) -> None:
    fed_by_hand(path, Record(0, 0, dumps('a')))
    assert [row['value'] for row in objects(path, queue='words')] == ['a']
    with pytest.raises(JobFileError, match="no queue 'word' \\(did you mean 'words'\\?\\)"):
        objects(path, queue='word')


def test_more_results_than_a_window(path: str) -> None:
    fed_by_hand(path, *[Record(0, n, dumps('x' * 3_000_000)) for n in range(9)], Record(0, 9, dumps(list(range(9000)))))
    rows = objects(path)
    assert len(rows) == 9009
    assert [len(row['value']) for row in rows[:9]] == [3_000_000] * 9
    assert [row['value'] for row in rows[9:]] == list(range(9000))


@pytest.mark.parametrize('store', ['json', 'none'])
def test_other_stores(path: str, store: str) -> None:
    job(path, odd, range(6), store=store)
    assert [row['value'] for row in objects(path) if row['ticket'] == 1] == (
        [30, 40, 50] if store == 'json' else [None]
    )


# ---- tables


@pytest.mark.parametrize('kind', KINDS)
def test_values_that_are_dicts_of_one_kind_become_columns(path: str, tmp_path: Path, kind: str) -> None:
    job(path, lambda n: {'n': n, 'Ticket': f'{n}, "q"', 'ratio': n / 4 if n else None} if n != 2 else odd(n), range(5))
    names, rows = table(path, tmp_path, kind)
    assert names[-4:] == ['error', 'n', 'value_Ticket', 'ratio']
    expected: list[tuple[Any, ...]] = [
        (None, 0, '0, "q"', None), (None, 1, '1, "q"', 0.25), ('ValueError: not 2', None, None, None),
        (None, 3, '3, "q"', 0.75), (None, 4, '4, "q"', 1.0),
    ]  # fmt: skip
    if kind == 'csv':
        expected = [tuple('' if cell is None else str(cell) for cell in row) for row in expected]
    assert [row[-4:] for row in rows] == expected


MIXED: list[Any] = [{'a': 1}, {'b': 2}, 'text', {}, True, b'\x00\xff', 1 << 70]
AS_TEXT = ['{"a": 1}', '{"b": 2}', '"text"', '{}', 'true', '"AP8="', str(1 << 70)]


@pytest.mark.parametrize('kind', KINDS)
def test_values_of_all_kinds_have_one_column(path: str, tmp_path: Path, kind: str) -> None:
    job(path, MIXED.__getitem__, range(len(MIXED)))
    names, rows = table(path, tmp_path, kind)
    assert names[-1] == 'value'
    found = [row[-1] for row in rows]
    if kind == 'csv':
        assert found == ['{"a": 1}', '{"b": 2}', 'text', '{}', 'true', 'AP8=', str(1 << 70)]
    elif kind == 'sqlite':
        assert found == ['{"a": 1}', '{"b": 2}', 'text', '{}', 1, b'\x00\xff', str(1 << 70)]
    else:
        assert found == AS_TEXT


@pytest.mark.parametrize(
    ('values', 'kind'),
    [
        ([1, 2, None], 'int64'),
        ([1, 2.5], 'double'),
        ([[1], [2, 3], []], 'list<.*int64.*>'),
        ([{'a': {'x': 1, 'y': [2]}}], 'struct<x: int64, y: list<.*int64.*>>'),
        ([1, 'one'], 'string'),
        ([0.5, (1 << 53) + 1], 'string'),  # which no float is
        ([None, None], 'string'),
        ([{'a': {}}], 'string'),  # Parquet has no such thing
        ([datetime.datetime(2026, 5, 1, 12, 0, 5)], r'timestamp\[us\]'),
    ],
)
def test_types_in_parquet(path: str, tmp_path: Path, values: list[Any], kind: str) -> None:
    pq = pytest.importorskip('pyarrow.parquet')
    job(path, lambda n: values[n], range(len(values)), chunksize=1)
    eisenmp.export_results(path, tmp_path / 'out.parquet', whole=False)
    field = pq.read_schema(tmp_path / 'out.parquet').field(10)
    import re

    assert re.fullmatch(kind, str(field.type)), field.type
    found = pq.read_table(tmp_path / 'out.parquet').column(10).to_pylist()
    if kind != 'string' and not isinstance(values[0], list):
        assert found == [value['a'] if isinstance(value, dict) else value for value in values]


def test_parquet_is_an_extra(path: str, tmp_path: Path) -> None:
    job(path, odd, range(3))
    code = (
        'import sys; sys.modules["pyarrow"] = None\n'
        f'import eisenmp; eisenmp.export_results({path!r}, {str(tmp_path / "out.parquet")!r})'
    )
    env = {**script_env(), 'XDG_DATA_HOME': os.environ['XDG_DATA_HOME']}
    done = subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, timeout=30)
    assert "pip install 'eisenmp[parquet]'" in done.stderr
    assert not (tmp_path / 'out.parquet').exists()


# ---- values


Point = namedtuple('Point', 'x y')


@dataclasses.dataclass
class Card:
    suit: str
    rank: int


class Colour(enum.Enum):
    RED = 'red'


class Odd:
    def __repr__(self) -> str:
        return '<odd>'


class Named(str):
    __slots__ = ()


def test_plain_values() -> None:
    plainer = Plainer()
    plain = plainer.plain
    assert plain(Point(1, {2})) == {'x': 1, 'y': [2]}
    assert plain(Card('hearts', 12)) == {'suit': 'hearts', 'rank': 12}
    assert plain([Colour.RED, Named('x'), {1: (2, 3)}]) == ['red', 'x', {'1': [2, 3]}]
    assert type(plain(Named('x'))) is str
    assert plain(uuid.UUID(int=1)) == '00000000-0000-0000-0000-000000000001'
    assert plain(Fraction(1, 3)) == '1/3'
    assert plain(Path('a/b')) == os.path.join('a', 'b')
    assert plain(ValueError('no')) == 'ValueError: no'
    assert plain(bytearray(b'x')) == b'x'
    assert plain('caf\udce9') == 'caf\\udce9'
    assert not plainer.shown
    assert plain([Odd(), Odd()]) == ['<odd>', '<odd>']
    assert plainer.shown == {'Odd': 2}
    circle: list[Any] = []
    circle.append(circle)
    plain(circle)
    assert plainer.shown['list'] == 1


def test_plain_arrays() -> None:
    numpy = pytest.importorskip('numpy')
    plain = Plainer().plain
    assert plain({'a': numpy.arange(3), 'b': numpy.float32(0.5), 'c': numpy.int64(7)}) == {
        'a': [0, 1, 2],
        'b': 0.5,
        'c': 7,
    }


def test_strict_json() -> None:
    assert as_json({'a': [math.nan, math.inf, 1.5]}) == '{"a": [null, null, 1.5]}'
    assert as_json([b'\x00\xff', datetime.date(2026, 5, 1), Decimal('1.50')]) == '["AP8=", "2026-05-01", "1.50"]'
    assert as_json('é') == '"é"'


# ---- what goes wrong


def test_arguments_that_do_not_fit(path: str, tmp_path: Path) -> None:
    job(path, odd, range(3))
    with pytest.raises(SettingsError, match=r"format='parket' does not fit \(did you mean 'parquet'\?\)"):
        eisenmp.export_results(path, io.BytesIO(), 'parket')
    with pytest.raises(SettingsError, match='needs a path'):
        eisenmp.export_results(path, io.BytesIO(), 'sqlite')
    with pytest.raises(SettingsError, match='the job file itself'):
        eisenmp.export_results(path, path)
    with pytest.raises(SettingsError, match='for files of `eisenmp map`'):
        eisenmp.export_results(path, io.BytesIO(), 'lines')
    with pytest.raises(JobFileError, match='there is no folder'):
        eisenmp.export_results(path, tmp_path / 'nowhere' / 'x.csv')
    with pytest.raises(JobFileError, match='is a folder'):
        eisenmp.export_results(path, tmp_path)
    with pytest.raises(JobFileError, match=r'no job file .*jib.db'):
        eisenmp.export_results(tmp_path / 'jib.db', tmp_path / 'x.csv')


@pytest.mark.parametrize('kind', ['jsonl', *KINDS])
def test_what_was_there_stays_when_it_fails(path: str, tmp_path: Path, kind: str) -> None:
    if kind == 'parquet':
        pytest.importorskip('pyarrow')
    job(path, odd, range(300), chunksize=1)
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE outcome SET cuts = '[1, 2]' WHERE first = (SELECT max(first) FROM outcome)")
    db.close()
    out = tmp_path / f'out.{kind}'
    out.write_text('as before')
    with pytest.raises(JobFileError, match='damaged'):
        eisenmp.export_results(path, out)
    assert out.read_text() == 'as before'
    assert [name for name in os.listdir(tmp_path) if 'out' in name] == [out.name]


def test_a_file_from_elsewhere(path: str) -> None:
    job(path, odd, range(3))
    db = sqlite3.connect(path)
    with db:
        db.execute("UPDATE meta SET value = 'somebody else' WHERE name = 'seal'")
    db.close()
    with pytest.raises(JobFileUntrusted, match='--trust'):
        objects(path)
    assert len(objects(path, trust=True)) == 3


def test_a_result_whose_class_is_gone(path: str) -> None:
    fed_by_hand(path, Record(0, 0, (b'cno_such_module\nThing\n.',)), Record(0, 1, dumps(5)))
    rows = objects(path)
    assert rows[0]['error'].startswith('its result cannot be unpickled here: ModuleNotFoundError')
    assert (rows[0]['state'], rows[1]['value']) == ('failed', 5)
