"""``eisenmp map``: what goes in comes out, and what is wrong is told in few words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def numbers(count: int) -> bytes:
    return b''.join(b'%d\n' % n for n in range(1, count + 1))


def test_a_word_list(command: Command, folder: Path) -> None:
    done = command('map', 'worker.py:upper', 'words.txt')
    assert done.stdout.decode() == (folder / 'words.txt').read_text('utf-8').upper()
    assert done.stderr == b''


@pytest.mark.parametrize('options', [('--chunksize', '7'), ('--start-method', 'forkserver'), ('-j', '1', '--progress')])
def test_many_lines_keep_their_order(command: Command, options: tuple[str, ...]) -> None:
    done = command('map', 'worker.py:same', *options, stdin=numbers(5000))
    assert done.stdout == numbers(5000)


def test_unordered_loses_nothing(command: Command) -> None:
    done = command('map', 'worker.py:same', '--unordered', '--chunksize', '3', stdin=numbers(1000))
    assert sorted(map(int, done.stdout.split())) == list(range(1, 1001))


def test_several_files_and_stdin(command: Command, folder: Path) -> None:
    (folder / 'one').write_bytes(b'1\n2')  # without a newline at its end
    (folder / 'none').write_bytes(b'')
    done = command('map', 'worker.py:same', 'one', 'none', '-', 'one', stdin=b'x\n')
    assert done.stdout == b'1\n2\nx\n1\n2\n'


def test_a_dotted_module(command: Command) -> None:
    assert command('map', 'worker:length', stdin=b'abc\n').stdout == b'3\n'  # found in the folder
    assert command('map', 'os.path:basename', stdin=b'/a/b\n').stdout == b'b\n'


def test_none_prints_nothing_and_prints_go_to_stderr(command: Command) -> None:
    done = command('map', 'worker.py:nothing', stdin=b'a\n')
    assert (done.stdout, done.stderr) == (b'', b'seen a\n')


@pytest.mark.parametrize('data', [b'', b'\n', b'\n\n', b'a', b'a\n\nb\n'])
def test_lines_that_are_empty(command: Command, data: bytes) -> None:
    expected = data if data.endswith(b'\n') or not data else data + b'\n'
    assert command('map', 'worker.py:same', stdin=data).stdout == expected


@pytest.mark.parametrize('function', ['same', 'bytes_of'])
def test_bytes_that_are_no_text_survive(command: Command, function: str) -> None:
    data = bytes(set(range(256)) - {10, 13}) * 3 + b'\n\xff\xfe\xed\xa0\x80\n'
    assert command('map', f'worker.py:{function}', stdin=data).stdout == data


def test_the_ends_of_lines_of_windows(command: Command) -> None:
    assert command('map', 'worker.py:length', stdin=b'ab\r\nc\rd\r\n').stdout == b'2\n3\n'


def test_a_huge_line(command: Command) -> None:
    line = b'x' * 20_000_000
    assert command('map', 'worker.py:same', stdin=line + b'\nshort\n').stdout == line + b'\nshort\n'


# ---- JSON and CSV


def test_json_lines(command: Command) -> None:
    items = [{'a': 1}, [1, 'é'], 'text', None, 2.5]
    data = '\n'.join(map(json.dumps, items)) + '\n\n'
    done = command('map', 'worker.py:same', '--json', stdin=data.encode())
    assert [json.loads(line) for line in done.stdout.splitlines()] == items


def test_a_bad_json_line_is_named(command: Command) -> None:
    done = command('map', 'worker.py:same', '--json', stdin=b'1\n\n{"a": 1\n4\n', code=1)
    assert done.stdout == b'1\n'
    assert b'standard input, line 3' in done.stderr
    assert b'no JSON' in done.stderr
    done = command('map', 'worker.py:same', '--json', '--on-error', 'yield', stdin=b'1\n\n{"a": 1\n4\n', code=1)
    first, wrong, last = map(json.loads, done.stdout.splitlines())
    assert (first, last) == (1, 4)
    assert wrong['error'].startswith('no JSON')


def test_a_result_that_is_no_json(command: Command) -> None:
    done = command('map', 'worker.py:as_set', '--json', '--on-error', 'skip', stdin=numbers(5), code=1)
    assert done.stdout == b'1\n2\n4\n5\n'
    assert b'line 3: the result {3} cannot be written' in done.stderr


def test_csv(command: Command) -> None:
    done = command('map', 'worker.py:total', '--csv', 'table.csv', '--chunksize', '1')
    assert done.stdout.decode() == 'name,total\nAnn,3\n"Bob, jr.",7\n"two\nlines",11\n'
    done = command('map', 'worker.py:total', '--csv', '--json', 'table.csv')
    assert [json.loads(line)['total'] for line in done.stdout.splitlines()] == [3, 7, 11]


def test_csv_with_a_mark_of_excel_and_a_row_that_is_short(command: Command) -> None:
    data = b'\xef\xbb\xbfname,a,b\r\nAnn,1,2\r\n\r\nBob\r\nCid,3,4\r\n'
    done = command('map', 'worker.py:total', '--csv', '--on-error', 'skip', stdin=data, code=1)
    assert done.stdout == b'name,total\nAnn,3\nCid,7\n'
    assert b'standard input, row 2: ValueError: the row has 1 fields, the header 3' in done.stderr


def test_csv_of_files_that_differ(command: Command, folder: Path) -> None:
    (folder / 'other.csv').write_text('name,c\nx,1\n')
    done = command('map', 'worker.py:total', '--csv', 'table.csv', 'other.csv', code=3)
    assert b'other.csv has other columns' in done.stderr
    assert command('map', 'worker.py:total', '--csv', stdin=b'').stdout == b''


# ---- items without a file


@pytest.mark.parametrize(
    ('options', 'lines'),
    [
        (('--range', '0:5'), '0 1 2 3 4'),
        (('--range', '10:0:-5'), '10 5'),
        (('--range', '5:5'), ''),
        (('--space', 'range(3)'), '0 1 2'),
        (('--space', "chain(ab, 'c d')"), 'a b c   d'),
    ],
)
def test_items_without_a_file(command: Command, options: tuple[str, ...], lines: str) -> None:
    assert command('map', 'worker.py:same', *options).stdout.decode().split() == lines.split()


def test_a_search_that_ends_with_its_answer(command: Command) -> None:
    done = command('map', 'worker.py:finds', '--range', f'0:{10**30}', '--chunksize', '100')
    assert done.stdout.splitlines()[-1] == b'found 5000'


def test_what_is_wrong_with_a_tuple_is_seen(command: Command) -> None:
    done = command('map', 'worker.py:upper', '--space', 'product(ab, 2)', code=1)
    assert b"item 1 failed" in done.stderr
    assert b"'tuple' object has no attribute 'upper'" in done.stderr


# ---- errors of the function


def test_an_exception_ends_the_job(command: Command) -> None:
    done = command('map', 'worker.py:no_threes', stdin=numbers(50), code=1)
    assert done.stdout == b'1\n2\n'
    err = done.stderr.decode()
    assert 'standard input, line 3 failed' in err
    assert 'ValueError: no threes: 3' in err
    assert 'worker.py", line' in err
    assert 'block.py' not in err  # our own frames


def test_skip_and_yield(command: Command) -> None:
    done = command('map', 'worker.py:no_threes', '--on-error', 'skip', stdin=numbers(20), code=1)
    assert done.stdout.split() == [b'%d' % n for n in range(1, 21) if n not in (3, 13)]
    assert b'standard input, line 13: ValueError: no threes: 13' in done.stderr
    assert b'2 of 20 items failed' in done.stderr
    done = command('map', 'worker.py:no_threes', '--on-error', 'yield', stdin=numbers(4), code=1)
    assert done.stdout == b'1\n2\nValueError: no threes: 3\n4\n'


def test_many_failures_are_counted_and_not_all_told(command: Command) -> None:
    done = command('map', 'worker.py:no_threes', '--on-error', 'skip', stdin=b'3\n' * 1000, code=1)
    assert len(done.stderr.splitlines()) < 30
    assert b'1000 of 1000 items failed' in done.stderr


def test_failures_of_several_files_have_their_own_lines(command: Command, folder: Path) -> None:
    (folder / 'one').write_bytes(b'1\n2\n')
    (folder / 'two').write_bytes(b'2\n3\n')
    done = command('map', 'worker.py:no_threes', '--unordered', 'one', 'two', '--on-error', 'skip', code=1)
    assert b'two, line 2: ValueError' in done.stderr


def test_retries(command: Command) -> None:
    assert command('map', 'worker.py:third_time', '--retries', '2', stdin=numbers(3)).stdout == numbers(3)
    done = command('map', 'worker.py:third_time', '--retries', '1', stdin=b'1\n', code=1)
    assert b'OSError: not yet' in done.stderr


def test_a_function_that_leaves(command: Command) -> None:
    assert b'SystemExit: 4' in command('map', 'worker.py:leaves', stdin=b'1\n', code=1).stderr


@pytest.mark.parametrize('rows', ['1', '5'])
@pytest.mark.parametrize(
    ('function', 'words'), [('dies_of_seven', b'exit code 3'), ('hangs_at_seven', b'CHUNK_TIMEOUT')]
)
def test_a_worker_that_dies(command: Command, function: str, words: bytes, rows: str) -> None:
    """Whatever came with it in one chunk has its result."""
    options = ('--chunksize', rows, '--timeout', '0.3', '--on-error', 'yield')
    done = command('map', f'worker.py:{function}', *options, stdin=numbers(10), code=1)
    lines = done.stdout.splitlines()
    assert lines[6].startswith(b'its worker died')
    assert words in lines[6]
    assert [line for at, line in enumerate(lines) if at != 6] == [b'%d' % n for n in range(1, 11) if n != 7]
    assert b'standard input, line 7: its worker died' in done.stderr


# ---- wrong calls


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('worker.py:uper',), "worker.py has no function 'uper' (did you mean 'upper'?)"),
        (('wroker.py:upper',), "wroker.py is not there (did you mean 'worker.py'?)"),
        (('nowhere/worker.py:upper',), 'there is no folder nowhere'),
        (('.:upper',), "'.'"),
        (('worker.py',), 'allowed: FILE.py:function or package.module:function; worker.py has: upper'),
        (('worker:uper',), "worker has no function 'uper' (did you mean 'upper'?)"),
        (('nobody.knows:it',), "No module named 'nobody'"),
        (('wrong.py:f',), 'wrong.py, line 2: SyntaxError'),
        (('raises.py:f',), 'raises.py, line 1: ZeroDivisionError'),
        (('worker.py:tries',), "'tries' is no function but list"),
        (('worker.py:upper', 'word.txt'), "there is no file word.txt (did you mean 'words.txt'?)"),
        (('worker.py:upper', '.'), '. is a folder'),
        (('worker.py:upper', 'words.txt', '--range', '1:2'), 'exclude each other'),
        (('worker.py:upper', '--csv', '--range', '1:2'), '--csv is for files'),
        (('worker.py:upper', '--range', '3'), 'allowed: A:B'),
        (('worker.py:upper', '--range', '1:2:0'), 'STEP of 0'),
        (('worker.py:upper', '--space', 'produc(ab, 2)'), "did you mean 'product'?"),
        (('worker.py:upper', '--job', 'no/x.db'), 'there is no folder'),
        (('worker.py:upper', '--job', 'worker.py'), 'is not a job file'),
        (('worker.py:upper', '--chunksize', 'none'), "allowed: 'auto' or a whole number"),
        (('worker.py:upper', '--wrokers', '2'), '--workers'),
    ],
)
def test_wrong_calls(command: Command, folder: Path, arguments: tuple[str, ...], words: str) -> None:
    (folder / 'wrong.py').write_text('\ndef f(:\n')
    (folder / 'raises.py').write_text('1 / 0\ndef f(x): return x\n')
    done = command('map', *arguments, stdin=b'1\n', code=2)
    assert words in done.stderr.decode()
    assert done.stdout == b''
    assert len(done.stderr.splitlines()) <= 4


def test_a_file_that_must_not_be_read_or_written(command: Command, folder: Path) -> None:
    assert b'there is no folder nowhere' in command('map', 'worker.py:upper', '-o', 'nowhere/x', code=3).stderr
    assert b'is a folder' in command('map', 'worker.py:upper', '-o', '.', code=3).stderr
