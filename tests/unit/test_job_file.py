"""The storage of a job file: what is written comes back, also to a reader beside the writer, and nothing else does."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eisenmp.errors import CrashError, JobFileBusy, JobFileError, JobFileUntrusted, RemoteTraceback
from eisenmp.jobfile import JobReader, Journal
from eisenmp.jobfile.codec import Entry
from eisenmp.jobfile.lock import Owner, is_alive, myself
from eisenmp.jobfile.trust import is_own, seal
from eisenmp.ledger import State
from eisenmp.payload import dumps, dumps_error
from eisenmp.results import Form, Record
from eisenmp.suspects import Suspect
from tests.support import ROOT

QUEUE = 3  # the job's number; the file has its own


class Bench:
    """A journal with one queue and one source, fed by hand."""

    def __init__(self, path: Path, store: str = 'pickle') -> None:
        self.path = str(path)
        self.durable: list[Entry] = []
        self.errors: list[JobFileError] = []
        self.journal = Journal.opened(self.path, store)
        self.journal.start(self.durable.extend, self.errors.append)
        self.journal.enter_queue(QUEUE, 'words')
        self.source = self.journal.enter_source(QUEUE, 100)
        self.position = self.journal.writer.books[QUEUE].borders.stop * 5

    def cut(self, tickets: int, rows: int = 5) -> None:
        self.journal.writer.border(QUEUE, tickets, tickets * rows, rows, self.source.number, self.position)
        self.position += tickets * rows

    def give(self, record: Record, state: int = State.DONE, items: int = 5, attempts: int = 1) -> None:
        self.journal.writer.outcome(Entry.of(record, state, items, 0.5 * record.tickets, 1, attempts))

    def flush(self) -> None:
        assert self.journal.writer.flush()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / 'job.db')
    yield made
    made.journal.close()


def value(serial: int, obj: Any, **more: Any) -> Record:
    return Record(QUEUE, serial, dumps(obj), **more)


def fill(bench: Bench) -> None:
    """One of each kind."""
    bench.cut(12)
    bench.give(value(0, 'zero'))
    bench.give(value(1, ['one', 'two'], tickets=2, form=Form.LIST), items=10)
    bench.give(value(3, [[1, 2], [3], [4, 5]][1], tickets=1))
    bench.give(Record(QUEUE, 4, tickets=2), items=10)
    bench.give(Record(QUEUE, 6, error=dumps_error(ValueError('no good'), 'where it was')), State.FAILED, attempts=3)
    bench.give(Record(QUEUE, 7, error=CrashError('words', 7, ['SIGKILL', 'SIGSEGV'])), State.SET_ASIDE)
    failed = [(2, [bytes(piece) for piece in dumps_error(KeyError('item'), 'there')])]
    bench.give(value(8, [1, 2, None, 4, 5], item_errors=dumps(failed)), State.FAILED)
    parts = [
        (Suspect(0, 2, dumps([1, 2])), None),
        (Suspect(2, 1, exits=['SIGKILL']), CrashError('words', 9, ['SIGKILL'], 2, "'x'")),
        (Suspect(3, 2, dumps([4, 5])), None),
    ]
    bench.give(Record(QUEUE, 9, parts=parts, per_item=True), State.SET_ASIDE)
    pickles = dumps([bytes(dumps('late')[0]), None])
    bench.give(Record(QUEUE, 10, pickles, None, 2, Form.PICKLES), items=10)


def test_everything_comes_back(bench: Bench) -> None:
    fill(bench)
    bench.flush()
    with JobReader(bench.path, checked=True) as reader:
        found = {outcome.ticket: outcome for outcome in reader.outcomes('words')}
    assert list(found) == list(range(12))
    assert [found[n].value for n in (0, 1, 2, 3, 4, 5, 10, 11)] == ['zero', 'one', 'two', [3], None, None, 'late', None]
    assert (found[6].state, found[6].attempts, found[6].slot, found[6].seconds) == ('failed', 3, 1, 0.5)
    error = found[6].error
    assert isinstance(error, ValueError)
    assert error.args == ('no good',)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert isinstance(found[7].error, CrashError)
    assert found[7].error.exits == ['SIGKILL', 'SIGSEGV']
    assert found[8].value[:2] == [1, 2]
    assert isinstance(found[8].value[2], KeyError)
    assert [at for at, _ in found[8].failures] == [2]
    assert found[9].value[:2] == [1, 2]
    assert isinstance(found[9].value[2], CrashError)
    assert found[9].value[2].text == "'x'"
    assert all(outcome.items == 5 and outcome.queue == 'words' for outcome in found.values())


def test_any_sqlite_tool_can_read_it(bench: Bench) -> None:
    fill(bench)
    bench.flush()
    db = sqlite3.connect(bench.path)
    try:
        assert db.execute('SELECT * FROM progress').fetchall() == [('words', 8, 2, 2, 12, 60, 6.0, 12)]
        assert db.execute('SELECT ticket, state, type, message FROM failure ORDER BY ticket').fetchall() == [
            (6, 'failed', 'ValueError', 'no good'),
            (7, 'set aside', 'CrashError', str(CrashError('words', 7, ['SIGKILL', 'SIGSEGV']))),
            (8, 'failed', 'KeyError', "'item'"),
            (9, 'set aside', 'CrashError', str(CrashError('words', 9, ['SIGKILL'], 2, "'x'"))),
        ]
        assert json.loads(db.execute('SELECT items FROM failure WHERE ticket = 8').fetchone()[0]) == [
            [2, 1, 'KeyError', "'item'"]
        ]
        assert db.execute('SELECT first, last FROM finished').fetchall() == [(0, 11)]
        assert db.execute('SELECT first, tickets, rows, position FROM chunk').fetchall() == [(0, 12, 5, 0)]
        assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
    finally:
        db.close()


def test_the_questions_of_the_page_have_answers(bench: Bench) -> None:
    fill(bench)
    bench.flush()
    [block] = re.findall(r'```sql\n(.*?)```', (ROOT / 'docs' / 'job-file.md').read_text('utf-8'), re.DOTALL)
    db = sqlite3.connect(bench.path)
    for line in block.splitlines():
        assert db.execute(line.partition(';')[0]).fetchall(), line
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    page = (ROOT / 'docs' / 'job-file.md').read_text('utf-8')
    assert tables == set(re.findall(r'^\| `(\w+)` \|', page, re.MULTILINE))
    for table in tables:
        row = next(line for line in page.splitlines() if line.startswith(f'| `{table}` '))
        columns = {column[1] for column in db.execute(f'PRAGMA table_info({table})')}
        assert columns - {'one', 'run', 'boot', 'source'} <= set(re.findall(r'\w+', row)), table
    db.close()


def test_a_summary_while_it_runs_and_after(bench: Bench) -> None:
    fill(bench)
    bench.flush()
    with JobReader(bench.path, checked=True) as reader:
        summary = reader.summary()
        assert (summary.state, summary.own, summary.store) == ('running', True, 'pickle')
        assert summary.owner is not None
        assert summary.owner.pid == os.getpid()
        [queue] = summary.queues
        assert (queue.done, queue.failed, queue.set_aside, queue.finished) == (8, 2, 2, 12)
        assert (queue.cut, queue.restore_point, queue.total, queue.ended) == (12, 12, 100, False)
        assert [failure.ticket for failure in reader.failures('set aside')] == [7, 9]
        assert [failure.first_item for failure in reader.failures()] == [30, 35, 40, 45]
    bench.journal.close('complete')
    with JobReader(bench.path) as reader:
        assert reader.summary().state == 'complete'
        assert reader.summary().owner is None
        assert [run.tickets for run in reader.summary().runs] == [12]


def test_buffers_of_their_own_come_back_writable(bench: Bench) -> None:
    numpy = pytest.importorskip('numpy')
    bench.cut(1)
    bench.give(value(0, numpy.arange(9000)))
    bench.flush()
    with JobReader(bench.path, checked=True) as reader:
        [outcome] = reader.outcomes('words')
    assert outcome.value.sum() == sum(range(9000))
    outcome.value[0] = 1


def test_json_is_text_and_takes_no_pickles(tmp_path: Path) -> None:
    bench = Bench(tmp_path / 'job.db', 'json')
    bench.cut(4)
    bench.give(value(0, {'a': [1, None, 'ü']}))
    bench.give(value(1, ['x', 'y'], tickets=2, form=Form.LIST))
    bench.flush()
    db = sqlite3.connect(bench.path)
    assert db.execute('SELECT first, form, value FROM outcome ORDER BY first').fetchall() == [
        (0, 'json', '{"a": [1, null, "ü"]}'),
        (1, 'json list', '["x", "y"]'),
    ]
    db.close()
    with JobReader(bench.path, checked=True) as reader:
        assert [outcome.value for outcome in reader.outcomes('words')] == [{'a': [1, None, 'ü']}, 'x', 'y']
    bench.give(value(3, {1, 2}))
    assert not bench.journal.writer.flush()
    assert "_TID_3 cannot be written as JSON: TypeError" in str(bench.errors[0])
    bench.journal.close()
    with JobReader(bench.path) as reader:
        assert reader.summary().queues[0].done == 3


def test_no_values_cost_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path / 'job.db', 'none')
    for at in range(0, 1_000_000, 1000):
        bench.cut(1000)
        bench.give(value(at, list(range(1000)), tickets=1000, form=Form.LIST), items=5000)
    bench.flush()
    bench.journal.close('complete')
    assert os.path.getsize(bench.path) < 256 << 10
    with JobReader(bench.path) as reader:
        assert reader.summary().queues[0].done == 1_000_000
        assert reader.finished(reader.queue_number('words')) == [(0, 1_000_000)]


def test_what_was_done_is_known_again(bench: Bench) -> None:
    bench.cut(6)
    for serial in (0, 1, 4):
        bench.give(value(serial, serial))
    bench.journal.sample(bench.source.number, 5, 5, b'digest')
    bench.flush()
    bench.journal.close()
    again = Bench(Path(bench.path))
    try:
        assert not again.journal.new
        told = [(part.first, part.tickets, part.finished, part.check) for part in again.source.stretches]
        assert told == [
            (0, 1, True, False), (1, 1, True, True), (2, 2, False, False), (4, 1, True, False), (5, 1, False, False)
        ]  # fmt: skip
        assert again.source.samples == {5: (5, b'digest')}
        again.give(value(2, 'two'))
        again.flush()
        with JobReader(again.path, checked=True) as reader:
            assert [outcome.value for outcome in reader.outcomes('words')] == [0, 1, 'two', 4]
            assert [run.tickets for run in reader.summary().runs] == [3, 1]
    finally:
        again.journal.close()


def test_no_ticket_is_recorded_twice(bench: Bench) -> None:
    bench.cut(2)
    bench.give(value(0, 'first'))
    bench.give(value(0, 'second'))
    assert not bench.journal.writer.flush()
    assert 'second outcome of _TID_0' in str(bench.errors[0])
    assert [entry.record.serial for entry in bench.durable] == [0, 0]  # nobody waits for them


def test_a_late_value_counts_where_there_is_none(bench: Bench) -> None:
    bench.cut(4)
    bench.give(Record(QUEUE, 0))
    bench.give(value(1, ['a', 'b'], tickets=2, form=Form.LIST))
    for serial in (0, 1, 2):
        bench.journal.writer.late_value(QUEUE, serial, dumps('late'))
    bench.flush()
    with JobReader(bench.path, checked=True) as reader:
        assert [outcome.value for outcome in reader.outcomes('words')] == ['late', 'a', 'b']


# ---- who may


def test_one_manager_at_a_time(bench: Bench) -> None:
    with pytest.raises(JobFileBusy, match=rf'in use by process {os.getpid()} on .* this program itself'):
        Journal.opened(bench.path, 'pickle')
    bench.journal.close()
    Journal.opened(bench.path, 'pickle').close()


def test_who_is_gone_holds_nothing() -> None:
    me = myself()
    assert is_alive(me, me)
    assert is_alive(Owner(1, me.host, me.boot, None, 0.0), me)
    assert not is_alive(Owner(2**22 + 1, me.host, me.boot, None, 0.0), me)
    assert is_alive(Owner(2**22 + 1, 'elsewhere', None, None, 0.0), me)
    if me.boot:
        assert not is_alive(Owner(me.pid, me.host, 'another start', me.started, 0.0), me)
    if me.started:
        assert not is_alive(Owner(me.pid, me.host, me.boot, me.started + '0', 0.0), me)


def change(path: str, statement: str, *values: Any) -> None:
    db = sqlite3.connect(path)
    with db:
        db.execute(statement, values)
    db.close()


def test_stale_lock_and_a_far_one(bench: Bench) -> None:
    bench.journal.close()
    lock = "INSERT OR REPLACE INTO owner VALUES (1, ?, ?, NULL, NULL, 0)"
    change(bench.path, lock, 2**22 + 1, myself().host)
    Journal.opened(bench.path, 'pickle').close()
    change(bench.path, lock, 77, 'elsewhere')
    with pytest.raises(JobFileBusy, match='in use by process 77 on elsewhere .* JOB_FORCE'):
        Journal.opened(bench.path, 'pickle')
    Journal.opened(bench.path, 'pickle', force=True).close()


def test_whoever_is_robbed_of_it_stops(bench: Bench) -> None:
    change(bench.path, 'UPDATE owner SET pid = 77')
    bench.cut(1)
    bench.give(value(0, 'x'))
    assert not bench.journal.writer.flush()
    assert 'was taken over by process 77' in str(bench.errors[0])
    bench.journal.close()
    with JobReader(bench.path) as reader:
        assert reader.summary().queues == ()


def test_foreign_pickles_stay_closed(bench: Bench) -> None:
    fill(bench)
    bench.journal.close()
    change(bench.path, "UPDATE meta SET value = 'not ours' WHERE name = 'seal'")
    with JobReader(bench.path) as reader:
        assert not reader.summary().own
        assert [failure.type for failure in reader.failures()] == ['ValueError', 'CrashError', 'KeyError', 'CrashError']
        with pytest.raises(JobFileUntrusted, match='--trust'):
            next(reader.outcomes('words'))
    with JobReader(bench.path, trust=True) as reader:
        assert len(list(reader.outcomes('words'))) == 12


def test_seals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert is_own('a', seal('a'))
    assert not is_own('b', seal('a'))
    assert not is_own(None, None)
    ours = seal('a')
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path))  # as somebody else
    assert not is_own('a', ours)
    assert (tmp_path / 'eisenmp' / 'job.key').stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv('XDG_DATA_HOME', '/dev/null/nowhere')  # no place for a key
    assert is_own('a', seal('a'))


# ---- what is no job file


@pytest.mark.parametrize(
    ('make', 'said'),
    [
        (lambda path: path.mkdir(), 'is a folder'),
        (lambda path: path.write_text('some text'), 'is not a job file'),
        (lambda path: path.write_bytes(b'SQLite format 3\0' + bytes(50)), 'is cut off'),
        (lambda path: change(str(path), 'CREATE TABLE mine (x)'), 'of another program'),
    ],
)
def test_no_job_file(tmp_path: Path, make: Any, said: str) -> None:
    path = tmp_path / 'job.db'
    make(path)
    before = path.read_bytes() if path.is_file() else b''
    with pytest.raises(JobFileError, match=said):
        Journal.opened(str(path), 'pickle')
    with pytest.raises(JobFileError, match=said):
        JobReader(str(path))
    assert not path.is_file() or path.read_bytes() == before


def test_an_empty_file_becomes_one(tmp_path: Path) -> None:
    (tmp_path / 'job.db').touch()
    Journal.opened(str(tmp_path / 'job.db'), 'pickle').close()


def test_no_such_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / 'jobs').mkdir()
    with pytest.raises(JobFileError, match=r"no folder .*/jops \(did you mean 'jobs'\?\)"):
        Journal.opened(str(tmp_path / 'jops' / 'job.db'), 'pickle')
    (tmp_path / 'search.db').touch()
    with pytest.raises(JobFileError, match=r"no job file .*serch.db \(did you mean 'search.db'\?\)"):
        JobReader(str(tmp_path / 'serch.db'))


def test_newer_version(bench: Bench) -> None:
    bench.journal.close()
    change(bench.path, 'PRAGMA user_version = 99')
    for opening in (lambda: Journal.opened(bench.path, 'pickle'), lambda: JobReader(bench.path)):
        with pytest.raises(JobFileError, match='of version 99; this eisenmp knows those up to version 1'):
            opening()


def test_a_cut_off_file(bench: Bench) -> None:
    fill(bench)
    bench.journal.close()
    os.truncate(bench.path, os.path.getsize(bench.path) // 2)
    for opening in (lambda: Journal.opened(bench.path, 'pickle'), lambda: JobReader(bench.path)):
        with pytest.raises(JobFileError, match='is cut off: .* bytes of'):
            opening()


def test_nothing_is_left_of_a_start_that_failed(bench: Bench) -> None:
    bench.journal.close('complete')
    Journal.opened(bench.path, 'pickle').close()  # opened, but never begun
    with JobReader(bench.path) as reader:
        assert [run.ended for run in reader.summary().runs] == ['complete']
        assert reader.summary().owner is None


def test_the_writer_sleeps_when_there_is_nothing(bench: Bench) -> None:
    bench.flush()
    commits = bench.journal.writer.commits
    bench.flush()
    assert bench.journal.writer.commits == commits + 1
    assert [t.name for t in threading.enumerate() if t.name == 'eisenmp-job-file']


@pytest.mark.parametrize('form', [Form.ONE, Form.LIST])
def test_none_is_a_value_that_costs_nothing(bench: Bench, form: int) -> None:
    bench.cut(3000)
    for serial in range(0, 3000, 3):
        if form == Form.ONE:
            for at in range(3):
                bench.give(value(serial + at, None))
        else:
            bench.give(value(serial, [None] * 3, tickets=3, form=form))
    bench.flush()
    with JobReader(bench.path, checked=True) as reader:
        assert [outcome.value for outcome in reader.outcomes('words')] == [None] * 3000
        stored = list(reader.stored('words'))
        assert all(part.record.value is not None for part in stored)  # it is a value: who reads them all gets it
    db = sqlite3.connect(bench.path)
    assert db.execute('SELECT count(*) FROM outcome').fetchone() == (0,)
    assert db.execute('SELECT first, last FROM empty').fetchall() == [(0, 2999)]
    db.close()


@pytest.mark.parametrize('committed', [True, False])
def test_a_failure_that_is_taken_back_leaves_no_trace(bench: Bench, committed: bool) -> None:
    fill(bench)
    bench.flush()
    before = dump(bench.path)
    bench.cut(1)
    failed = value(12, [1, None], item_errors=dumps([(1, [bytes(piece) for piece in dumps_error(KeyError('x'), '')])]))
    bench.give(failed, State.FAILED)
    if committed:
        bench.flush()
    bench.journal.writer.take_back(Entry.of(failed, State.FAILED, 5, 0.5, 1, 1))
    if committed:
        bench.flush()
        assert dump(bench.path) == before
    bench.give(value(12, [1, 2]))
    bench.flush()
    after = dump(bench.path)
    assert len(after['outcome']) == len(before['outcome']) + 1
    assert after['failure'] == before['failure']
    assert [new[0] - old[0] for new, old in zip(after['queue'], before['queue'], strict=True)] == [1]
    assert [new[1:3] for new in after['queue']] == [old[1:3] for old in before['queue']]
    assert bench.errors == []


def dump(path: str) -> dict[str, list[Any]]:
    """What it says of outcomes."""
    db = sqlite3.connect(path)
    try:
        return {
            'outcome': db.execute('SELECT * FROM outcome ORDER BY queue, first').fetchall(),
            'failure': db.execute('SELECT * FROM failure ORDER BY queue, ticket').fetchall(),
            'finished': db.execute('SELECT * FROM finished').fetchall(),
            'queue': db.execute('SELECT done, failed, set_aside, items FROM queue').fetchall(),
            'run': db.execute('SELECT tickets, items FROM run').fetchall(),
        }
    finally:
        db.close()
