"""Names of eisenmp 1.0 that programs use."""

from typing import Any

import pytest

import eisenmp
from eisenmp.utils import eisenmp_constants as constants
from eisenmp.utils.eisenmp_utils import Result
from tests.support import ALARM, Lab

OLD_WORKER = """
    import eisenmp.utils.eisenmp_constants as e_const
    import eisenmp.utils.eisenmp_utils as e_utils

    assert e_utils.Result.result_dict == {}

    def entry(toolbox):
        toolbox.NEXT_LIST = toolbox.mp_input_q.get()
        header, rows = toolbox.NEXT_LIST[0], toolbox.NEXT_LIST[1:]
        stop = any(e_const.STOP_MSG in str(row) for row in rows)
        for row in rows:
            if toolbox.STOP_MSG in str(row):
                toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, ['sum', toolbox.total]])
                return False
            toolbox.total += int(row)
        toolbox.mp_info_q.put([toolbox.PERF_HEADER_ETA + toolbox.WORKER_NAME, len(rows)])
        toolbox.mp_output_q.put([e_const.OUTPUT_HEADER + header, list(map(str, rows))])
        return not stop
"""


def test_the_constants() -> None:
    names = ['STOP_MSG', 'OUTPUT_HEADER', 'INPUT_HEADER', 'PERF_HEADER_ETA', 'PERF_CURRENT_ETA']
    texts = [getattr(constants, name) for name in names]
    assert all(isinstance(text, str) and len(text) > 4 for text in texts)
    assert len(set(texts)) == len(texts)
    assert constants.STOP_MSG in str([constants.STOP_MSG])
    assert constants.STOP_MSG not in ('STOP', 'stop')
    assert len(constants.STOP_MSG) > 30, 'short enough to occur in data'


def test_an_old_program(tmp_path: Any) -> None:
    """Old names of settings, a custom attribute in capitals, the old dictionaries, and a loop that polls."""
    lab = Lab(tmp_path)
    emp = lab.mp()
    try:
        settings = {
            'PROCS_MAX': 2,
            'ROWS_MAX': 5,
            'RESULTS_STORE': True,
            'worker_modules': [{'WORKER_PATH': lab.file(OLD_WORKER), 'WORKER_REF': 'entry'}],
            'total': 0,
            'BLUE': 7,
        }
        emp.start(**settings)
        assert len(emp.proc_list) == 2
        emp.run_q_feeder(generator=(str(n) for n in range(23)), input_q=emp.mp_input_q)
        results = emp.wait(ALARM)
        assert emp.begin_proc_shutdown
        assert emp.kwargs_env['BLUE'] == 7
        assert emp.kwargs_env == settings
        assert set(emp.queue_std_dict) == {'mp_input_q', 'mp_output_q', 'mp_print_q', 'mp_info_q', 'mp_tools_q'}
        assert emp.queue_std_dict['mp_input_q'] is emp.mp_input_q
        assert [len(rows) for rows in results['mp_input_q'].values()] == [5, 5, 5, 5, 3]
        assert [ticket for ticket, _ in Result.result_dict['mp_input_q (default)']] == [0, 1, 2, 3, 4]
        assert [name for name, _ in results.closing.values()] == ['sum', 'sum']
        assert sum(total for _, total in results.closing.values()) == sum(range(23))
        assert sum(emp.snapshot().info.values()) == 23
    finally:
        lab.close()


@pytest.mark.parametrize(('old', 'new'), [('PROCS_MAX', 'NUM_PROCS'), ('ROWS_MAX', 'NUM_ROWS')])
def test_old_names_are_checked_as_the_new_ones(old: str, new: str) -> None:
    emp = eisenmp.Mp()
    with pytest.raises(ValueError, match=f'({new}|{old})=0'):
        emp.start(worker_modules=[{'WORKER_PATH': 'x.py', 'WORKER_REF': 'y'}], **{old: 0})
    with pytest.raises(ValueError, match=f'{old}|{new}'):
        emp.start(worker_modules=[{'WORKER_PATH': 'x.py', 'WORKER_REF': 'y'}], **{new: 1, old: 1})
