"""Every block of code in the seed runs as it stands, and the job it describes runs to its end with results."""

import os
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eisenmp
from eisenmp.utils.eisenmp_utils import Result
from tests.support import ALARM, ROOT, Lab, run_script, strict, write

BLOCKS_FILE = Path(__file__).with_name('seed_blocks.rst')

# The small worker that the seed's configuration names: doubles what comes, one batch a worker.
DOUBLE = """
    def worker_entrance(toolbox):
        if not hasattr(toolbox, 'batch_1'):
            queues = [toolbox.mp_input_q]
        elif toolbox.START_SEQUENCE_NUM % 2 == 0:
            queues = [toolbox.batch_1['audio_lg'], toolbox.batch_1['video_in']]
        else:
            queues = [toolbox.batch_7['audio_lg'], toolbox.batch_7['video_in']]
        chunks = [queue.get() for queue in queues]
        for chunk in chunks:
            if toolbox.STOP_MSG not in chunk:
                double = [2 * item for item in chunk[1:]]
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + chunk[0], double])
                toolbox.num_of_lists += 1
        if all(toolbox.STOP_MSG in chunk for chunk in chunks):
            toolbox.mp_print_q.put(f'{toolbox.WORKER_NAME} did {toolbox.num_of_lists} lists')
            return False
        return True
"""

WATCHDOG = """
    from eisenmp.watchdog import mp_start_show_threads
"""

GENERATORS = """
    def audio_generator_batch_1():
        yield from (f'a{n} ' for n in range(10))

    def video_generator_batch_1():
        yield from range(4)

    def audio_generator_batch_7():
        yield from range(100, 107)

    def video_generator_batch_7():
        yield from ([n] for n in range(5))
"""


def _blocks(text: str) -> list[str]:
    """The literal blocks of a page, with the indentation they have there."""
    found: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if inside and line.strip() and not line[0].isspace():
            inside = False
        if inside:
            found[-1].append(line.rstrip())
        elif line.rstrip().endswith('::'):
            inside = True
            found.append([])
    return ['\n'.join(lines).strip('\n') + '\n' for lines in found]


BLOCKS = _blocks(BLOCKS_FILE.read_text(encoding='utf-8'))
CREATE, QUEUES, QUEUE_LIST, CONFIGURATION, VARIABLES, INSTANCE, START, EXAMPLE = BLOCKS


def _text(*blocks: str) -> str:
    """Blocks that belong together, at the margin: the second half of a class keeps its place below the first."""
    return textwrap.dedent(''.join(blocks))


def test_these_are_the_blocks_of_the_seed() -> None:
    seed = ROOT.parent / 'shared' / 'seed.rst'
    assert len(BLOCKS) == 8
    if seed.exists():  # only where the project lies beside it; the project needs nothing from there
        assert BLOCKS == _blocks(seed.read_text(encoding='utf-8'))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folders and files around the seed's program."""
    write(tmp_path, DOUBLE, 'project/worker/eisenmp_exa_wrk_double.py')
    write(tmp_path, WATCHDOG, 'worker/eisenmp_exa_wrk_watchdog.py')
    return tmp_path / 'project'


@pytest.fixture
def namespace(project: Path) -> Iterator[dict[str, Any]]:
    """Where the blocks run, one after the other; jobs that a failing test leaves are ended."""
    lab = Lab(project)
    made: dict[str, Any] = {'eisen': eisenmp, 'eisenmp': eisenmp, 'os': os, 'dir_name': str(project)}
    exec(textwrap.dedent(GENERATORS), made)
    yield made
    lab.adopt(made.get('emp'))
    lab.close()


def _run(block: str, namespace: dict[str, Any]) -> None:
    exec(compile(block, '<seed>', 'exec'), namespace)


def test_instances_and_queues(namespace: dict[str, Any]) -> None:
    _run(_text(CREATE), namespace)
    assert isinstance(namespace['emp'], eisenmp.Mp)
    _run(_text(QUEUES), namespace)
    emp = namespace['emp']
    assert emp.queue_cust_dict_std['blue_q_7'].maxsize == 3
    assert emp.queue_cust_dict_cat['category_1']['input_q_3'].maxsize == 10
    assert [name for name, _, _ in emp.q_name_id_lst][-2:] == ['blue_q_7', 'category_1|input_q_3']
    emp.queue_cust_dict_std['blue_q_7'].put('blue')
    assert emp.queue_cust_dict_std['blue_q_7'].get() == 'blue'


def test_the_list_of_queues(namespace: dict[str, Any]) -> None:
    namespace['self'] = eisenmp.Mp()
    _run(_text(QUEUE_LIST), namespace)
    emp = namespace['emp']
    assert emp.q_name_id_lst[0] == ('mp_input_q (default)', id(emp.mp_input_q), emp.mp_input_q)
    queue = emp.mp_input_q
    assert emp.find_queue('mp_input_q (default)') == emp.find_queue(id(queue)) == emp.find_queue(queue)
    assert namespace['self'].find_queue('mp_input_q')[2] is namespace['self'].mp_input_q


def test_the_whole_page_in_order(namespace: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    namespace['self'] = eisenmp.Mp()
    for block in (_text(CREATE), _text(QUEUES), _text(QUEUE_LIST), _text(CONFIGURATION, VARIABLES), _text(INSTANCE)):
        _run(block, namespace)
    configuration = namespace['modConf']
    assert configuration.NUM_PROCS == 2
    assert configuration.sleep_time == 20

    _run(_text(START), namespace)
    emp = namespace['emp']
    emp.run_q_feeder(generator=range(8))
    results = emp.wait(ALARM)
    assert emp.join(ALARM), 'the watchdog keeps no worker alive'
    assert results['mp_input_q'].values() == [[0, 2, 4], [6, 8, 10], [12, 14]]
    out = capsys.readouterr().out
    assert 'fake production of audio and video for WHO studios' in out
    assert '[(0, [0, 2, 4]), (1, [6, 8, 10]), (2, [12, 14])]' in out

    _run(_text(EXAMPLE), namespace)
    emp = namespace['emp'] = namespace['manager_entry']()
    assert len(emp.proc_list) == 2
    results = emp.wait(ALARM)
    assert emp.begin_proc_shutdown
    assert emp.join(ALARM)
    assert _flat(results) == {
        'batch_1|audio_lg': [2 * f'a{n} ' for n in range(10)],
        'batch_1|video_in': [0, 2, 4, 6],
        'batch_7|audio_lg': [2 * n for n in range(100, 107)],
        'batch_7|video_in': [[n, n] for n in range(5)],
    }
    assert [len(results['batch_1|audio_lg']), len(results['batch_7|video_in'])] == [4, 2]
    assert results['batch_1|audio_lg'][3].value == ['a9 a9 ']
    assert {outcome.slot for outcome in results['batch_7|audio_lg']} == {1}
    assert Result.result_dict == results.as_dict()
    out = capsys.readouterr().out
    assert 'Process-1 did 6 lists' in out
    assert 'Process-2 did 5 lists' in out
    assert 'fake production of audio and video for WHO studios' in out
    assert "'batch_7|video_in': [(0, [[0, 0], [1, 1], [2, 2]]), (1, [[3, 3], [4, 4]])]" in out


def _flat(results: eisenmp.Results) -> dict[str, list[Any]]:
    return {name: [item for chunk in outcomes.values() for item in chunk] for name, outcomes in results.items()}


@pytest.mark.parametrize('how', ['file', 'stdin'])
@pytest.mark.parametrize('method', ['spawn', 'forkserver', 'fork'])
def test_the_page_as_a_program(project: Path, method: str, how: str) -> None:
    """Put together as a user would: no main guard, and the manager polls until the job is over."""
    configuration = _text(CONFIGURATION, VARIABLES)
    if method != 'spawn':  # the seed has the line, commented out
        assert "# self.START_METHOD = 'fork'" in configuration
        configuration = configuration.replace("# self.START_METHOD = 'fork'", f'self.START_METHOD = {method!r}')
    program = [
        'import os, time\nimport eisenmp\ndir_name = os.getcwd()\n',
        textwrap.dedent(GENERATORS),
        configuration,
        _text(INSTANCE),
        _text(EXAMPLE),
        'emp = manager_entry()\nwhile not emp.begin_proc_shutdown:\n    time.sleep(0.01)\nprint("over")\n',
    ]
    done = run_script(project, '\n'.join(program), how=how, flags=strict(method))
    assert done.stderr == ''
    lines = done.stdout.splitlines()
    assert 'Process-1 did 6 lists' in lines
    assert 'Process-2 did 5 lists' in lines
    assert "'batch_1|video_in': [(0, [0, 2, 4]), (1, [6])]" in done.stdout
    assert lines[-1] == 'over'


def test_the_seeds_modules_may_be_compiled(project: Path) -> None:
    """The same program with the worker as bytecode in another place: only the path changes."""
    import py_compile

    worker = project / 'worker' / 'eisenmp_exa_wrk_double.py'
    compiled = py_compile.compile(str(worker), cfile=str(project / 'elsewhere' / 'double.pyc'), doraise=True)
    shutil.rmtree(project / 'worker')
    lab = Lab(project)
    emp = lab.mp()
    modules = [{'WORKER_PATH': compiled, 'WORKER_REF': 'worker_entrance'}]
    emp.start(worker_modules=modules, NUM_PROCS=1, RESULTS_STORE=True, num_of_lists=0)
    emp.feed([1, 2])
    try:
        assert emp.wait(ALARM)['mp_input_q'].values() == [[2, 4]]
    finally:
        lab.close()
