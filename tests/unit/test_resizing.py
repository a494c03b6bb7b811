"""More workers, fewer workers: who starts, who leaves, and what becomes of what they hold. No process is started."""

from __future__ import annotations

from typing import Any

import pytest

from eisenmp.account import take_report
from eisenmp.credit import Window
from eisenmp.errors import JobOver, SettingsError
from eisenmp.ledger import State
from eisenmp.measure import Hours
from eisenmp.restarts import await_wishes
from eisenmp.settings import Settings
from eisenmp.snapshot import take_snapshot
from eisenmp.supervisor import Phase, Restart, Supervisor, TakeBack
from eisenmp.wire import AT_RETURN, Kind
from tests.unit.test_equipment import prepared, shared_of
from tests.unit.test_tickets import Bench as Tickets

Q = 0


class Bench(Tickets):
    """A job of two workers whose number is changed. Of processes only what the test says is known."""

    def __init__(self, *, handles: bool | None = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.handles = handles
        self.dispatcher.leaving._handles_sigterm = lambda worker: self.handles  # type: ignore[method-assign]

    def resize(self, workers: int) -> None:
        with self.job.lock:
            self.dispatcher.resizing.check(workers)
            self.dispatcher.resizing.resize(workers)
        self.turn()

    def phases(self) -> list[str]:
        return [slot.phase for slot in self.job.crew.supervisor.slots]

    def leaves(self, worker: int) -> None:
        """It returns and its process ends."""
        self.say(worker, Kind.RETURNED)
        self.dies(worker, 0, 'exit code 0')


# ---- the supervisor


def test_more_are_to_be_started_fewer_are_to_leave() -> None:
    supervisor = Supervisor(1)
    supervisor.started(0)
    assert supervisor.resize(3) == ([1, 2], [])
    supervisor.started(1)
    supervisor.up(1, 0.0)
    assert supervisor.resize(1) == ([], [1])
    assert supervisor.slots[2].phase == Phase.GONE, 'it was not started yet, and will not be'
    assert supervisor.retire(1, 1.0) is None
    assert supervisor.resize(3) == ([1, 2], [])


def test_a_slot_that_is_wanted_again_gets_its_next_process_when_the_last_one_has_left() -> None:
    supervisor = Supervisor(2)
    for slot in (0, 1):
        supervisor.started(slot)
        supervisor.up(slot, 0.0)
    assert supervisor.resize(1) == ([], [1])
    assert supervisor.resize(2) == ([], [])
    assert supervisor.retire(1, 3.0) == Restart(1, 3.0)


def test_slots_that_are_let_go_are_not_replaced_unless_nobody_else_is_there_for_their_work() -> None:
    supervisor = Supervisor(3)
    for slot in range(3):
        supervisor.started(slot)
        supervisor.up(slot, 0.0)
    supervisor.resize(1)
    assert supervisor.down(2, 'signal SIGKILL', 5.0, needed=True, blamed=True) is None
    supervisor.returned(0)
    assert supervisor.down(1, 'signal SIGKILL', 5.0, needed=True, blamed=True) == Restart(1, 5.0)
    supervisor.started(1)
    supervisor.up(1, 6.0)
    assert supervisor.retire(1, 6.0, needed=True) == Restart(1, 6.0), 'it has left its work to somebody'
    supervisor.started(1)
    assert supervisor.down(1, 'exit code 0', 7.0, needed=False, blamed=False) is None
    assert supervisor.over()


def test_what_was_added_and_never_comes_up_is_taken_back() -> None:
    supervisor = Supervisor(1, start_limit=2)
    supervisor.started(0)
    supervisor.up(0, 0.0)
    supervisor.resize(3)
    for slot in (1, 2):
        supervisor.started(slot)
    supervisor.up(1, 0.0)
    assert isinstance(supervisor.down(2, 'no process', 1.0, needed=True, blamed=False), Restart)
    supervisor.started(2)
    decision = supervisor.down(2, 'no memory', 1.0, needed=True, blamed=False)
    assert isinstance(decision, TakeBack)
    assert decision.size == 2
    assert 'no memory' in decision.reason


# ---- what shares are made of


def test_a_window_is_shared_anew_and_stays_wide() -> None:
    window = Window(8, 2, fixed=False)
    window.share(16, 4)
    assert (window.size, window.workers) == (16, 4)
    window.batch(100, 0, 1)
    assert window.size == 32
    window.share(4, 1)
    assert (window.size, window.base) == (32, 4)
    fixed = Window(5, 2, fixed=True)
    fixed.share(5, 8)
    assert (fixed.size, fixed.workers) == (5, 8)


def test_time_in_which_a_slot_was_not_wanted_is_not_counted() -> None:
    hours = Hours()
    assert hours.away(5.0) == 0.0
    hours.dismiss(5.0)
    hours.dismiss(6.0)
    assert hours.away(8.0) == 3.0
    hours.want(9.0)
    hours.want(10.0)
    assert hours.away(20.0) == 4.0


def test_those_to_come_know_how_many_they_are_and_their_cores() -> None:
    settings = Settings(NUM_PROCS=3, CPU_AFFINITY='spread')
    equipment = prepared()
    common = equipment.resize(settings, 5)
    assert common.name == 'NUM_PROCS'
    equipment._shares[common.name] = common
    assert shared_of(equipment) == {'NUM_PROCS': 5}
    assert len(equipment.cores) in (0, 5)
    equipment.resize(settings, 1)
    assert len(equipment.cores) in (0, 5), 'who speaks of slot 2 is right when there are three again'


# ---- the job


def test_more_workers_start_at_once_and_get_chunks() -> None:
    bench = Bench()
    bench.feed(3)
    bench.resize(3)
    assert bench.engine.started == [0, 1, 2]
    bench.say(2, Kind.UP)
    bench.get(2, 1)
    assert bench.chunk(2) == 0
    assert bench.job.workers == 3


def test_the_highest_gets_no_chunk_any_more_finishes_its_own_and_leaves() -> None:
    bench = Bench()
    bench.feed(3)
    bench.get(1, 1)
    bench.resize(1)
    assert bench.last(1).kind == Kind.LEAVING
    assert bench.engine.killed == []
    bench.pass_time(3600.0)
    assert bench.engine.killed == [], 'nobody is in a hurry'
    bench.answer(1, 0, ['done'])
    bench.get(1, 2)
    assert bench.last(1).kind == Kind.END
    bench.leaves(1)
    assert bench.phases() == [Phase.UP, Phase.GONE]
    assert bench.engine.started == [0, 1]
    assert bench.states() == ['done', 'queued', 'queued']
    with bench.job.lock:
        assert [worker.slot for worker in take_snapshot(bench.job, {}).workers] == [0]


@pytest.mark.parametrize('call', ['toolbox', 'chunk'])
def test_who_waits_at_a_queue_is_told_its_end(call: str) -> None:
    bench = Bench(WORKER_CALL=call)
    bench.feed(0)
    bench.get(1, 1)
    bench.resize(1)
    assert bench.last(1).kind == Kind.END


def test_who_looks_whether_a_queue_is_empty_is_told_to_ask_it() -> None:
    bench = Bench()
    bench.feed(0)
    bench.resize(1)
    bench.say(1, Kind.ASK, queue=Q, serial=1, number=1.0)
    assert (bench.last(1).kind, bench.last(1).flags) == (Kind.COUNT, 1)
    bench.say(0, Kind.ASK, queue=Q, serial=1, number=0.0)
    assert (bench.last(0).kind, bench.last(0).flags) == (Kind.COUNT, 0)


def test_who_is_about_to_leave_gets_nothing_ahead() -> None:
    bench = Bench(WORKER_CALL='chunk')
    bench.feed(20)
    bench.quick(1)
    bench.get(1, 1)
    bench.answer(1, 0, ['done'])
    held = bench.held(1)
    assert held, 'more than it has asked for'
    bench.say(1, Kind.TAKEN, queue=Q, serial=held[0][0], tickets=1)
    bench.resize(1)
    held = bench.held(1)
    bench.answer(1, held[0][0], ['done'])
    assert bench.held(1) == held[1:]


def test_what_it_holds_when_it_dies_goes_to_others_and_bears_the_blame() -> None:
    bench = Bench(CRASH_RETRIES=0)
    bench.feed(2)
    bench.get(1, 1)
    bench.resize(1)
    bench.dies(1, -11, 'signal SIGSEGV')
    assert bench.states() == ['set aside', 'queued']
    assert bench.phases() == [Phase.UP, Phase.GONE]
    assert 'Process-2 died with signal SIGSEGV while it was about to leave' in bench.heard.news_texts


@pytest.mark.parametrize('returned', [True, False])
def test_what_it_holds_when_it_dies_last_of_all_has_somebody_to_do_it(returned: bool) -> None:
    """The other one has read the end of its stream, and has left, or is about to."""
    bench = Bench()
    bench.feed(1)
    bench.get(1, 1)
    bench.resize(1)
    with bench.job.lock:
        bench.job.exchange.feeder_ends(bench.queue)
    bench.get(0, 1)
    assert bench.last(0).kind == Kind.END
    if returned:
        bench.leaves(0)
    bench.dies(1)
    if not returned:
        bench.leaves(0)
    assert bench.engine.started == [0, 1, 2]
    bench.say(2, Kind.UP)
    bench.get(2, 1)
    bench.answer(2, 0, ['done'])
    bench.get(2, 2)
    assert bench.last(2).kind == Kind.END
    bench.leaves(2)
    assert bench.over
    assert bench.states() == ['done']


def test_a_result_without_a_value_is_an_answer_still() -> None:
    """A function that returns after each chunk, and puts nothing: its work is done."""
    bench = Bench()
    bench.feed(1)
    bench.get(1, 1)
    bench.resize(1)
    bench.say(1, Kind.ANSWER, queue=Q, serial=0, number=0.1, flags=AT_RETURN)
    assert bench.states() == ['done']


def test_a_process_that_is_not_up_is_not_waited_for() -> None:
    bench = Bench(up=False)
    bench.feed(1)
    bench.say(0, Kind.UP)
    bench.resize(1)
    assert bench.engine.killed == [1]
    bench.say(1, Kind.UP)
    bench.get(1, 1)
    assert bench.last(1).kind == Kind.END, 'the kill was slower'
    bench.dies(1)
    assert bench.phases() == [Phase.UP, Phase.GONE]


@pytest.mark.parametrize('how', ['handler', 'RESTARTS', 'listens'])
def test_servers_are_asked_and_then_killed(how: str) -> None:
    bench = Bench(handles=how == 'handler', RESTARTS=3 if how == 'RESTARTS' else None)
    bench.feed(1)
    bench.get(1, 1)  # its port
    if how == 'listens':
        bench.job.crew.workers[1].listens.add(None)  # type: ignore[arg-type]
    asked: list[bool] = []
    bench.job.crew.handles[1].terminate = lambda: asked.append(True)  # type: ignore[method-assign]
    bench.resize(1)
    for _ in range(3):
        bench.pass_time(1.0)
    assert asked == [True]
    bench.say(1, Kind.ANSWER, queue=Q, serial=0, number=0.1, flags=AT_RETURN)
    assert bench.states() == ['leased'], 'its port is for who comes next'
    bench.pass_time(5.0)
    assert bench.engine.killed == [1]
    bench.dies(1)
    assert bench.states() == ['queued']
    bench.resize(2)
    bench.say(2, Kind.UP)
    bench.get(2, 1)
    assert bench.chunk(2) == 0


def test_who_turns_out_to_be_a_server_is_asked_too() -> None:
    bench = Bench()
    bench.feed(1)
    bench.get(1, 1)
    bench.resize(1)
    asked: list[bool] = []
    bench.job.crew.handles[1].terminate = lambda: asked.append(True)  # type: ignore[method-assign]
    bench.pass_time(0.2)
    assert asked == []
    bench.handles = True
    for _ in range(3):
        bench.pass_time(0.5)
    assert asked == [True]


def test_the_end_of_the_job_hurries_those_that_are_at_ease() -> None:
    bench = Bench(handles=None)
    bench.feed(1)
    bench.get(1, 1)
    bench.resize(1)
    bench.dispatcher.leaving.want_all()
    bench.turn()
    bench.pass_time(6.0)
    assert set(bench.engine.killed) == {0, 1}


def test_added_workers_that_the_system_does_not_give_are_taken_back() -> None:
    bench = Bench()
    bench.feed(1)
    told: list[int] = []
    bench.job.on_resize = told.append
    bench.engine.refuse = OSError(11, 'Resource temporarily unavailable')
    bench.resize(4)
    for _ in range(5):
        bench.pass_time(1.0)
    assert bench.job.workers == 2
    assert told[0] == 4
    assert told[-1] == 2
    assert bench.job.error is None
    assert any('the job goes on with 2 workers' in text for text in bench.heard.news_texts)
    bench.get(0, 1)
    assert bench.chunk(0) == 0


# ---- restarts of slots that are gone


def test_a_restart_of_a_slot_that_goes_meanwhile_ends() -> None:
    bench = Bench(handles=True)
    bench.feed(0)
    with bench.job.lock:
        wishes = bench.dispatcher.restarts.want_all()
    bench.turn()
    bench.resize(1)
    bench.dies(0)
    bench.say(2, Kind.UP)
    bench.turn()
    await_wishes(bench.job, wishes[:1], 0.0)
    with pytest.raises(JobOver, match='slot 1 was not restarted: there are fewer workers now'):
        await_wishes(bench.job, wishes[1:], 0.0)
    with bench.job.lock, pytest.raises(SettingsError, match='allowed: 0 to 0'):
        bench.dispatcher.restarts.want(1)


# ---- what cannot be


@pytest.mark.parametrize('workers', [0, -1, 1.0, '2', None, True, 10**9])
def test_numbers_that_make_no_sense(workers: Any) -> None:
    bench = Bench()
    with pytest.raises(SettingsError, match=f'workers={workers!r} does not fit; allowed: a whole number from 1'):
        bench.resize(workers)
    assert bench.job.workers == 2


def test_workers_that_are_threads_stay_as_they_are() -> None:
    with pytest.raises(SettingsError, match='inline'):
        Bench(ENGINE='inline').resize(3)


def test_a_job_that_is_about_to_end_gets_none() -> None:
    bench = Bench()
    with bench.job.lock:
        bench.job.stop()
    with pytest.raises(JobOver, match='over, or about to be'):
        bench.resize(3)
    bench = Bench()
    bench.feed(0)
    for worker in (0, 1):
        bench.say(worker, Kind.RETURNED)
    with pytest.raises(JobOver):
        bench.resize(3)


# ---- the report


def test_workers_that_came_late_count_from_then_on() -> None:
    bench = Bench(NUM_PROCS=1)
    bench.feed(3)
    bench.get(0, 1)
    bench.pass_time(90.0)
    bench.resize(2)
    bench.say(1, Kind.UP)
    bench.get(1, 1)
    bench.pass_time(10.0)
    with bench.job.lock:
        report = take_report(bench.job)
    assert report.workers_busy == pytest.approx(1.0)
    assert bench.job.ledger.track(Q).counts[State.LEASED] == 2
