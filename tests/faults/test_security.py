"""Who may do what (SPEC section 7): attempts that must fail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import forger
from tests.support import ALARM, FORKS, Lab

pytestmark = FORKS

WORKER = forger.__file__


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path, 'spawn')
    yield made
    made.close()


def run(lab: Lab, forgery: str, **settings: Any) -> Any:
    """A job of ten chunks, one of whose workers forges a message."""
    emp = lab.mp()
    modules = [{'WORKER_PATH': WORKER, 'WORKER_REF': 'chunk'}]
    emp.start(
        **{
            'worker_modules': modules,
            'WORKER_CALL': 'chunk',
            'NUM_PROCS': 2,
            'NUM_ROWS': forger.ROWS,
            'RESULTS_STORE': True,
            'forgery': forgery,
            'marks': str(lab.folder),
            **settings,
        }
    )
    emp.feed(iter(range(100)))
    emp.wait(ALARM)
    assert emp.join(ALARM)
    return emp


def all_there(emp: Any) -> bool:
    return list(emp.results['mp_input_q'].values()) == [sum(range(n, n + 10)) for n in range(0, 100, 10)]


@pytest.mark.parametrize('forgery', forger.ENDS)
def test_a_forged_message_ends_the_worker_and_nothing_else(lab: Lab, forgery: str) -> None:
    emp = run(lab, forgery)
    assert all_there(emp)
    assert (lab.folder / 'forged').exists()
    assert not (lab.folder / 'opened').exists(), 'a pickle ran code in the manager'
    assert sum(slot.restarts for slot in emp._job.crew.supervisor.slots) == 1


@pytest.mark.parametrize('forgery', forger.STAYS)
def test_a_forged_message_that_does_no_harm(lab: Lab, forgery: str) -> None:
    emp = run(lab, forgery)
    assert all_there(emp)
    assert not (lab.folder / 'opened').exists(), 'a pickle ran code in the manager'
    assert sum(slot.restarts for slot in emp._job.crew.supervisor.slots) == 0
