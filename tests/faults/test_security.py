"""Who may do what (SPEC section 7): attempts that must fail."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import forger, onlooker
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


# ---- who can reach a channel, and who holds what

PROC = pytest.mark.skipif(not Path('/proc/self/fd').is_dir(), reason='needs /proc, to see what processes hold')
WORKERS = 3

# Opens, as another process of the same user, whatever the one of that pid has open: argv are pids.
INTRUDER = """
import os, sys
for pid in sys.argv[1:]:
    for fd in os.listdir(f'/proc/{pid}/fd'):
        path = f'/proc/{pid}/fd/{fd}'
        try:
            if os.readlink(path).startswith('socket:'):
                os.open(path, os.O_RDWR)
                print('reached', path)
        except OSError:
            pass
"""


@pytest.fixture(params=['spawn', 'forkserver', 'fork'])
def seen(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A job in full swing, with shared objects and shared memory: what each of its processes holds."""
    lab = Lab(tmp_path, request.param)
    before = set(onlooker.held().values())
    emp = lab.mp()
    out, gate = emp.add_queue('out'), emp.add_queue('gate')
    emp.share('large', bytes(3 << 20))
    # the control socket has a name, in a folder of the user's own: tests/unit/test_control.py
    lab.start(emp, onlooker.__file__, NUM_PROCS=WORKERS, CONTROL_SOCKET=False)
    for _ in range(WORKERS):
        emp.mp_input_q.put(bytes(1 << 20))
    said = [out.get(timeout=ALARM) for _ in range(WORKERS)]
    yield {
        'workers': {pid: held for pid, held, _, _ in said},
        'started': [programs for _, _, *programs in said],
        'manager': {fd: target for fd, target in onlooker.held().items() if target not in before},
        'before': before,
    }
    for _ in range(WORKERS):
        gate.put(1)
    emp.wait(ALARM)
    lab.close()


@PROC
def test_nothing_listens_and_nothing_has_a_name(seen: dict[str, Any]) -> None:
    sockets = {
        target[len('socket:[') : -1]
        for held in (seen['manager'], *seen['workers'].values())
        for target in held.values()
        if target.startswith('socket:') and target not in seen['before']
    }
    assert len(sockets) >= 2 * WORKERS
    named = []
    for line in Path('/proc/net/unix').read_text(encoding='utf-8').splitlines()[1:]:
        _, _, _, flags, _, _, inode, *path = line.split()
        if inode in sockets and (path or int(flags, 16)):
            named.append(line)
    assert named == []
    for family in ('tcp', 'tcp6', 'udp', 'udp6'):
        table = Path('/proc/net', family)
        lines = table.read_text(encoding='utf-8').splitlines()[1:] if table.exists() else []
        assert [line for line in lines if line.split()[9] in sockets] == []
    files = [target for held in seen['workers'].values() for target in held.values() if target not in seen['before']]
    assert [
        target for target in files if target.startswith('/') and 'deleted' not in target and '/dev/' not in target
    ] == []


@PROC
def test_another_process_of_the_same_user_cannot_reach_a_channel(seen: dict[str, Any]) -> None:
    command = [sys.executable, '-c', INTRUDER, str(os.getpid()), *map(str, seen['workers'])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ''


@PROC
def test_a_worker_holds_its_own_channel_and_none_of_its_siblings(seen: dict[str, Any]) -> None:
    channels = []
    for held in seen['workers'].values():
        own = [target for target in held.values() if target not in seen['before']]
        (channel,) = [target for target in own if target.startswith('socket:')]
        channels.append(channel)
        assert not [target for target in own if 'pidfd' in target or 'eventpoll' in target], own
        assert not [target for target in own if target in seen['manager'].values() and target.startswith('socket:')]
    assert len(set(channels)) == WORKERS


@PROC
def test_a_program_that_a_worker_starts_gets_nothing_of_ours(seen: dict[str, Any]) -> None:
    for programs in seen['started']:
        for held in programs:
            ours = [target for fd, target in held.items() if fd > 2 and target not in seen['before']]
            assert not [target for target in ours if not target.startswith(('/dev/', '/proc/'))], held
