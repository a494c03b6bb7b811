"""Values of a job file in forms that other tools read."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import io
import itertools
import math
import os
import pickle
import sqlite3
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import eisenmp
from eisenmp import JobFileError, JobFileUntrusted
from eisenmp.jobfile import JobReader
from eisenmp.jobfile.forms import packed, unpacked
from eisenmp.jobfile.retry import retry_job

TABLE = pa.table({'a': [1, 2, None], 'b': ['x', None, 'z']}, metadata={'whose': 'the user'})
WHEN = datetime.datetime(2026, 11, 25, 12, 30, 1, 5)


@pytest.mark.parametrize(
    'value',
    [
        None, 5, -(2**63), 1.5, True, 'text', b'bytes', [], [1, 2], {'a': 1, 'b': [None, 'x']}, [{'a': 1}, {'a': None}],
        WHEN, decimal.Decimal('1.50'), [[1], [], None],
    ],
)  # fmt: skip
def test_plain_values_are_columns(value: Any) -> None:
    for values in ([value], [value, value, None]):
        form, stream = packed('arrow', values)
        assert unpacked(form, stream) == values
        table = pa.ipc.open_stream(stream).read_all()  # as another tool reads it
        assert table.column('value').to_pylist() == values


def test_values_of_no_common_type_are_streams_of_their_own() -> None:
    values = [1, 'a', 2.5, {'a': 1}, {'b': 2}, TABLE, [TABLE, 'x', [1, [2.5, 'y']]]]
    form, stream = packed('arrow', values)
    assert form == 'arrow list'
    assert unpacked(form, stream) == values


def test_not_a_number() -> None:
    (back,) = unpacked(*packed('arrow', [math.nan]))
    assert math.isnan(back)


@pytest.mark.parametrize(
    'value', [TABLE, TABLE.to_batches()[0], TABLE.to_batches()[0].slice(0, 0), pa.array([1, None]), TABLE.column('b')]
)
def test_what_is_arrows_stays_it(value: Any) -> None:
    for values in ([value], [value, value]):
        form, stream = packed('arrow', values)
        for back in unpacked(form, stream):
            assert type(back) is type(value)
            assert back.equals(value)
            assert getattr(back, 'schema', None) == getattr(value, 'schema', None)


@pytest.mark.parametrize(
    'value', [np.arange(6.0).reshape(2, 3), np.zeros((0, 2), 'i2'), np.array(3), np.array([True, False])]
)
def test_arrays(value: Any) -> None:
    (back,) = unpacked(*packed('arrow', [value]))
    assert back.dtype == value.dtype
    assert back.shape == value.shape
    assert (back == value).all()
    back[...] = 0  # it may be written to, as one that comes from a worker may


@pytest.mark.parametrize('value', [np.float64(1.5), np.int16(3), (1, 2)])
def test_what_comes_back_as_pythons_own(value: Any) -> None:
    (back,) = unpacked(*packed('arrow', [value]))
    assert back == (list(value) if isinstance(value, tuple) else value.item())


@pytest.mark.parametrize(
    'value',
    [
        2**64,
        {1: 2},
        {1, 2},
        [1, {2}],
        {'a': [1, 'a']},
        {'a': [{'a': 1}, {'b': 2}]},
        object(),
        1 + 2j,
        np.array([object()]),
    ],
)
def test_what_arrow_would_change_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError, pa.ArrowException)):
        packed('arrow', [value])


def test_damage_is_said() -> None:
    for form, value in (('arrow', b'nothing'), ('arrow list', b''), ('json', '{'), ('json list', '5')):
        with pytest.raises(JobFileError, match='damaged'):
            unpacked(form, value)


# ---- in a job file


def table_of(number: int) -> Any:
    return pa.table({'n': [number, number + 1]})


def root(number: int) -> float:
    if number == 7:
        raise ValueError('seven')
    return math.sqrt(number)


def run(func: Any, path: str, **more: Any) -> Any:
    return eisenmp.imap(
        func, range(20), job=path, engine='inline', max_workers=2, **{'store': 'arrow', 'chunksize': 1, **more}
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / 'job.db')


def test_a_job_goes_on_with_tables(path: str) -> None:
    with run(table_of, path) as results:
        before = list(itertools.islice(results, 7))
    after = list(run(table_of, path))
    assert after[:7] == before
    assert after == [table_of(number) for number in range(20)]


def test_a_job_with_failures_and_retry(path: str) -> None:
    for chunksize in (1, 4):
        name = f'{path}{chunksize}'
        with pytest.raises(ValueError, match='seven'):
            list(run(root, name, chunksize=chunksize, on_error='raise'))
        results = list(run(root, name, chunksize=chunksize, on_error='yield'))
        assert [value for value in results if not isinstance(value, Exception)] == [
            math.sqrt(number) for number in range(20) if number != 7
        ]
        out = io.BytesIO()
        eisenmp.export_results(name, out, 'jsonl')
        assert out.getvalue().count(b'\n') == 20
        assert retry_job(name) == 1


def test_what_does_not_fit_ends_the_job(path: str) -> None:
    with pytest.raises(
        JobFileError, match=r"the result of _TID_\d+.* cannot be written as Arrow: .*JOB_STORE='arrow' takes"
    ):
        list(run(lambda number: {number}, path))


def test_without_the_extra(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(JobFileError, match=r"pip install 'eisenmp\[arrow\]'"):
        run(root, path)
    assert not os.path.exists(path)


# ---- a file from elsewhere


class Evil:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize('store', ['json', 'arrow', 'none'])
def test_a_pickle_slipped_in_stays_closed(path: str, tmp_path: Path, store: str) -> None:
    list(run(root, path, store=store, on_error='yield'))
    trace = tmp_path / 'trace'
    evil = pickle.dumps(Evil(str(trace)))
    db = sqlite3.connect(path)
    with contextlib.closing(db):
        _refused(db, path, evil)
    assert not trace.exists()


def _refused(db: sqlite3.Connection, path: str, evil: bytes) -> None:
    with db:
        db.execute("UPDATE meta SET value = 'somebody else' WHERE name = 'seal'")
        ((ticket, detail),) = db.execute('SELECT ticket, detail FROM failure').fetchall()
        error, crash, item_errors, *rest = pickle.loads(detail)
        ((at, (told,)),) = pickle.loads(item_errors[0])
        told = (*pickle.loads(told)[:3], [evil])
        item_errors = [pickle.dumps([(at, [pickle.dumps(told)])])]
        db.execute('UPDATE failure SET detail = ?', (pickle.dumps((error, crash, item_errors, *rest)),))
    with JobReader(path) as reader:
        outcomes = list(reader.outcomes(reader.summary().queues[0].name))
    assert len(outcomes) == 20
    ((_, raised),) = outcomes[ticket].failures
    assert isinstance(raised, eisenmp.RemoteError)
    assert 'seven' in str(raised)
    with db:
        db.execute(
            "INSERT OR REPLACE INTO outcome SELECT queue, 0, 1, 'pickle', 0, ?, NULL, 0, 0, 1 FROM failure", (evil,)
        )
    with JobReader(path) as reader, pytest.raises(JobFileUntrusted, match='is a pickle'):
        list(reader.outcomes(reader.summary().queues[0].name))
