"""Settings: told apart from custom attributes, validated by name before anything starts."""

from __future__ import annotations

import math
import os
import pathlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from eisenmp.cores import usable_cores
from eisenmp.errors import SettingsError
from eisenmp.settings import ModuleSpec, Settings, check, split

MODULES = [{'WORKER_PATH': 'worker.py', 'WORKER_REF': 'worker_entrance'}]


def split_with(**given: Any) -> tuple[Settings, dict[str, Any]]:
    known, _, custom = split({'worker_modules': MODULES, **given})
    return known, custom


class Awkward:
    """Has no truth value, as arrays of several elements have none."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError('the truth value is ambiguous')

    __hash__ = None  # type: ignore[assignment]


def test_defaults_are_those_of_the_table() -> None:
    known, custom = split_with()
    assert custom == {}
    assert known == Settings()
    assert (known.NUM_PROCS, known.NUM_ROWS, known.START_METHOD, known.WORKER_CALL) == (None, None, 'spawn', 'toolbox')
    assert (known.ON_ERROR, known.RETRIES, known.CRASH_RETRIES, known.CHUNK_TIMEOUT) == ('raise', 0, 2, None)
    assert (known.RESULTS_STORE, known.RESULTS_PRINT, known.RESULTS_DICT_PRINT) == (False, False, False)
    assert known.ENGINE == 'local'


def test_what_none_stands_for() -> None:
    known, _ = split_with()
    assert known.procs == usable_cores() >= 1
    assert known.rows == 1000
    assert known.window_chunks == 4 * known.procs
    assert known.window_bytes == 256 << 20
    known, _ = split_with(NUM_PROCS=3, NUM_ROWS=7, BUFFER_CHUNKS=5, BUFFER_BYTES=99)
    assert (known.procs, known.rows, known.window_chunks, known.window_bytes) == (3, 7, 5, 99)


def test_settings_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Settings().NUM_PROCS = 2  # type: ignore[misc]


GOOD: list[tuple[str, list[Any]]] = [
    ('NUM_PROCS', [None, 1, 64]),
    ('NUM_ROWS', [None, 'auto', 1, 10**9]),
    ('START_METHOD', ['spawn', 'forkserver', 'fork']),
    ('RESULTS_STORE', [True, False, 0, 1]),
    ('RESULTS_PRINT', [True, False]),
    ('RESULTS_DICT_PRINT', [True, False]),
    ('RESULT_LABEL', ['', 'a label']),
    ('WORKER_CALL', ['toolbox', 'chunk', 'item']),
    ('ON_ERROR', ['raise', 'skip']),
    ('RETRIES', [0, 5]),
    ('CRASH_RETRIES', [0, 5]),
    ('CHUNK_TIMEOUT', [None, 1, 0.25]),
    ('MAX_CHUNKS_PER_WORKER', [None, 1, 1000]),
    ('MAX_WORKER_MEMORY', [None, 1 << 30]),
    ('CPU_AFFINITY', [None, 'spread', [0], (1, [2, 3]), range(2), {0: 1, 2: [0, 1]}]),
    ('RESTARTS', [None, 0, 10]),
    ('HEALTH_CHECK', [None, '/', '/health?deep=1', 'http://127.0.0.1:800{slot}/', print]),
    ('HEALTH_TIMEOUT', [1, 0.25]),
    ('HEALTH_EVERY', [1, 0.25]),
    ('GRACE', [0, 1, 0.25]),
    ('BUFFER_CHUNKS', [None, 1]),
    ('BUFFER_BYTES', [None, 1]),
    ('JOB', [None, 'job.db', pathlib.Path('job.db')]),
    ('JOB_STORE', [None, 'pickle', 'json', 'arrow', 'none']),
    ('JOB_FORCE', [True, False]),
    ('JOB_TRUST', [True, False]),
    ('INFO_ENABLE', [True, False]),
    ('INFO_THREAD_MAX', [None, 1]),
    ('CONTROL_SOCKET', [True, False]),
    ('DASHBOARD', [True, False, 1, 8080, 'localhost:8080', '[::1]:8080', '0.0.0.0:80']),
    ('DASHBOARD_TOKEN', [None, 'a' * 16]),
    ('OPENTELEMETRY', [None, True, False]),
    ('ENGINE', ['local', 'inline', 'ray']),
    ('ENGINE_ADDRESS', [None]),  # more go with 'ray' only, see below
    ('ENGINE_CPUS', [1, 0, 0.5, 4, 2.0]),
    ('ENGINE_GPUS', [0, 1, 0.25]),
    ('ENGINE_MEMORY', [None, 1 << 30]),
    ('ENGINE_RESOURCES', [None, {}, {'telescope': 1, 'big disk': 0.1}]),
    ('ENGINE_PLACEMENT', ['spread', 'pack']),
    ('ENGINE_START_TIMEOUT', [0.5, 60]),
]

BAD: dict[str, list[Any]] = {
    'NUM_PROCS': [0, -1, 2.0, '2', True, [2], math.nan],
    'NUM_ROWS': [0, -1, 1e3, '1000', False, Fraction(3)],
    'START_METHOD': ['Spawn', 'thread', None, 1, ['spawn']],
    'RESULTS_STORE': ['yes', None, 2, []],
    'RESULTS_PRINT': ['True', None, -1],
    'RESULTS_DICT_PRINT': [None, 'no'],
    'RESULT_LABEL': [None, 7, b'bytes'],
    'WORKER_CALL': ['row', None, len],
    'ON_ERROR': ['ignore', None, True],
    'RETRIES': [-1, None, 1.5, True],
    'CRASH_RETRIES': [-1, None, '2'],
    'CHUNK_TIMEOUT': [0, -1.5, '10', True, math.nan],
    'MAX_CHUNKS_PER_WORKER': [0, -1, 1.5, '10', True],
    'MAX_WORKER_MEMORY': [0, 1e9, '1 GiB', False],
    'CPU_AFFINITY': ['all', [], {}, [-1], [1.0], [True], 1, {'0': 1}, {-1: 0}, {0: []}, [[0], ['1']], {0, 1}],
    'RESTARTS': [-1, 1.5, '3', True],
    'HEALTH_CHECK': ['health', '', 'https://127.0.0.1/', 'http://', 'http://127.0.0.1:{port}/', 7, True],
    'HEALTH_TIMEOUT': [None, 0, -1, '2', True, math.nan, math.inf],
    'HEALTH_EVERY': [None, 0, '2', math.inf],
    'GRACE': [None, -1, '5', True, math.nan, math.inf],
    'BUFFER_CHUNKS': [0, -4, 'many'],
    'BUFFER_BYTES': [0, 1.5, '1G'],
    'JOB': ['', 5, True, b'job.db'],
    'JOB_STORE': ['Pickle', '', True, 'csv'],
    'JOB_FORCE': ['yes', None],
    'JOB_TRUST': ['yes', None],
    'INFO_ENABLE': ['on', None],
    'INFO_THREAD_MAX': [0, -1, 'all'],
    'CONTROL_SOCKET': ['yes', None, 2],
    'DASHBOARD': [None, 0, -1, 65536, 80.0, '8080', 'localhost', 'http://localhost:8080', [8080]],
    'DASHBOARD_TOKEN': ['', 'short', 'with a blank in it', 1234567890123456, b'a' * 16],
    'OPENTELEMETRY': ['yes', 1, 0],
    'ENGINE': ['Local', 'dask', None],
    'ENGINE_ADDRESS': ['tcp://127.0.0.1:1', 'ray://head:10001', 8, 'head', ':6379', 'head:0', 'head:65536', ''],
    'ENGINE_CPUS': [-1, 1.5, True, '2', None, math.nan, math.inf],
    'ENGINE_GPUS': [-0.5, 2.25, None],
    'ENGINE_MEMORY': [0, 1.5, '1G'],
    'ENGINE_RESOURCES': [{'CPU': 2}, {'memory': 1}, {'': 1}, {'a': -1}, {1: 1}, 'telescope', {'a': '1'}],
    'ENGINE_PLACEMENT': ['SPREAD', None, 'anywhere'],
    'ENGINE_START_TIMEOUT': [0, -1, None, '60', True],
}


@pytest.mark.parametrize('address', ['auto', '10.0.0.5:6379', 'head.example.org:6379', '[::1]:6379'])
def test_an_address_goes_with_an_engine_of_other_machines(address: str) -> None:
    known, _ = split_with(ENGINE='ray', ENGINE_ADDRESS=address)
    assert known.ENGINE_ADDRESS == address
    with pytest.raises(SettingsError, match="goes with ENGINE='ray'"):
        split_with(ENGINE_ADDRESS=address)


def test_every_setting_is_tried_here() -> None:
    names = set(Settings._fields)
    assert {name for name, _ in GOOD} == names
    assert set(BAD) == names


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in GOOD for value in values])
def test_a_good_value_is_taken_as_it_is(name: str, value: Any) -> None:
    known, custom = split_with(**{name: value})
    assert getattr(known, name) == value
    assert custom == {}


@pytest.mark.parametrize(
    ('name', 'value'), [(name, value) for name, values in BAD.items() for value in [*values, Awkward()]]
)
def test_a_bad_value_names_setting_value_and_what_is_allowed(name: str, value: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        split_with(**{name: value})
    text = str(caught.value)
    assert text.startswith(f'{name}={value!r}')
    assert 'allowed: ' in text
    assert isinstance(caught.value, ValueError)
    with pytest.raises(SettingsError):
        check(name, value)


def test_the_names_of_1_0_are_aliases() -> None:
    known, custom = split_with(PROCS_MAX=3, ROWS_MAX=9)
    assert (known.NUM_PROCS, known.NUM_ROWS) == (3, 9)
    assert custom == {}


def test_a_bad_value_under_an_alias_is_refused() -> None:
    with pytest.raises(SettingsError, match="(PROCS_MAX|NUM_PROCS)='two'"):
        split_with(PROCS_MAX='two')


@pytest.mark.parametrize('given', [{'PROCS_MAX': 2, 'NUM_PROCS': 2}, {'NUM_PROCS': 2, 'PROCS_MAX': 2}], ids=list)
def test_an_alias_beside_its_setting_is_refused_and_both_are_named(given: dict[str, int]) -> None:
    with pytest.raises(SettingsError) as caught:
        split_with(**given)
    assert 'PROCS_MAX' in str(caught.value)
    assert 'NUM_PROCS' in str(caught.value)


@pytest.mark.parametrize(
    ('name', 'meant'),
    [
        ('NUM_PROC', 'NUM_PROCS'),
        ('NUM_PROCESSES', 'NUM_PROCS'),
        ('NUMPROCS', 'NUM_PROCS'),
        ('NUM_ROW', 'NUM_ROWS'),
        ('PROC_MAX', 'PROCS_MAX'),
        ('START_METHODS', 'START_METHOD'),
        ('RESULT_STORE', 'RESULTS_STORE'),
        ('RESULTS_LABEL', 'RESULT_LABEL'),
        ('CHUNK_TIME_OUT', 'CHUNK_TIMEOUT'),
        ('BUFFER_CHUNK', 'BUFFER_CHUNKS'),
        ('INFO_ENABLED', 'INFO_ENABLE'),
    ],
)
def test_a_near_miss_is_refused_and_the_setting_named(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f'unknown setting {name}: did you mean {meant!r}'):
        split_with(**{name: 2})


CUSTOM = [
    *('BLUE', 'RED', 'AUDIO', 'SERVER_PORT', 'WORKER', 'PROCS', 'ROWS', 'X', 'HTTP_TIMEOUT', 'LABEL', 'NUM_COLS'),
    *('sleep_time', 'num_procs', 'num_proc', 'Num_Procs', 'num_of_lists', 'template_module', 'watchdog_module'),
]


@pytest.mark.parametrize('name', CUSTOM)
def test_other_names_go_to_the_toolbox(name: str) -> None:
    marker = object()
    known, custom = split_with(**{name: marker})
    assert custom == {name: marker}
    assert known == Settings()


# ---- worker modules


def modules_of(given: Any) -> list[ModuleSpec]:
    _, modules, custom = split({'worker_modules': given})
    assert custom == {}
    return modules


def test_modules_keep_the_order_of_the_user() -> None:
    given = [{'WORKER_PATH': f'{n}.py', 'WORKER_REF': f'f{n}'} for n in range(3)]
    assert modules_of(given) == [ModuleSpec('0.py', 'f0'), ModuleSpec('1.py', 'f1'), ModuleSpec('2.py', 'f2')]


@pytest.mark.parametrize(
    'entry',
    [
        {'WORKER_PATH': 'w.py', 'WORKER_REF': 'f'},
        {'worker_path': 'w.py', 'worker_ref': 'f'},
        {'worker_path': 'w.py', 'WORKER_REF': 'f', 'comment': 'more keys are no harm'},
    ],
)
def test_both_spellings_of_the_keys(entry: dict[str, str]) -> None:
    assert modules_of([entry]) == [ModuleSpec('w.py', 'f')]
    assert modules_of((entry,)) == [ModuleSpec('w.py', 'f')]
    assert modules_of(entry) == [ModuleSpec('w.py', 'f')]


def test_a_path_object_is_a_path() -> None:
    assert modules_of([{'WORKER_PATH': Path('a') / 'w.py', 'WORKER_REF': 'f'}]) == [
        ModuleSpec(os.path.join('a', 'w.py'), 'f')
    ]


@pytest.mark.parametrize(
    ('given', 'says'),
    [
        (None, 'at least one worker module'),
        ([], 'at least one worker module'),
        ('worker.py', 'worker_modules'),
        (7, 'worker_modules'),
        (['worker.py'], r'worker_modules\[0\]'),
        ([{}], r'worker_modules\[0\] has no WORKER_PATH'),
        ([{'WORKER_PATH': 'w.py'}], r'worker_modules\[0\] has no WORKER_REF'),
        ([*MODULES, {'WORKER_REF': 'f'}], r'worker_modules\[1\] has no WORKER_PATH'),
        ([{'WORKER_PATHS': 'w.py', 'WORKER_REF': 'f'}], 'did you mean .worker_paths.'),
        ([{'WORKER_PATH': '', 'WORKER_REF': 'f'}], "WORKER_PATH=''"),
        ([{'WORKER_PATH': b'w.py', 'WORKER_REF': 'f'}], 'WORKER_PATH='),
        ([{'WORKER_PATH': 'w.py', 'WORKER_REF': ''}], "WORKER_REF=''"),
        ([{'WORKER_PATH': 'w.py', 'WORKER_REF': len}], 'WORKER_REF='),
        ([{1: 2}], r'worker_modules\[0\] has no WORKER_PATH'),
    ],
)
def test_bad_modules_are_named(given: Any, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        modules_of(given)


def test_no_worker_modules_at_all() -> None:
    with pytest.raises(SettingsError, match='worker_modules'):
        split({'NUM_PROCS': 2})


def test_nothing_given_is_changed() -> None:
    given = {'worker_modules': [dict(MODULES[0])], 'NUM_PROCS': 2, 'BLUE': [1]}
    split(given)
    assert given == {'worker_modules': MODULES, 'NUM_PROCS': 2, 'BLUE': [1]}


# ---- cores


@pytest.mark.parametrize(
    ('text', 'cores'),
    [('150000 100000\n', 2), ('100000 100000', 1), ('5000 100000', 1), ('max 100000', 8), ('rubbish', 8), ('', 8)],
)
def test_the_cgroup_quota_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: int) -> None:
    import builtins

    from eisenmp import cores as where

    (tmp_path / 'cpu.max').write_text(text, encoding='ascii')
    real_open = builtins.open

    def fake_open(path: Any, *more: Any, **options: Any) -> Any:
        if path == '/sys/fs/cgroup/cpu.max':
            return real_open(tmp_path / 'cpu.max', *more, **options)
        if str(path).startswith('/sys/fs/cgroup'):
            raise FileNotFoundError(path)
        return real_open(path, *more, **options)

    monkeypatch.setattr(where, 'open', fake_open, raising=False)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, 'process_cpu_count', lambda: 8, raising=False)
    assert usable_cores() == cores
