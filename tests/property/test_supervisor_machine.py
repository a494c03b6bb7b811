"""The supervisor under any order of starts, deaths, returns and resizes, with a clock that only the test moves."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eisenmp.supervisor import EndJob, Phase, Restart, Supervisor, TakeBack

SLOTS = 3
MOST = 5
START_LIMIT = 3
FRUITLESS_LIMIT = 4
EARLY = 1.0
BACKOFF = 0.05
LONGEST = 0.3

slots = st.integers(0, MOST - 1)
PRESENT = (Phase.STARTING, Phase.UP, Phase.RETURNED)


class SupervisorMachine(RuleBasedStateMachine):
    """Keeps its own, simpler books beside those of the supervisor."""

    def __init__(self) -> None:
        super().__init__()
        self.supervisor = Supervisor(
            SLOTS,
            start_limit=START_LIMIT,
            fruitless_limit=FRUITLESS_LIMIT,
            early=EARLY,
            backoff=BACKOFF,
            longest=LONGEST,
        )
        self.now = 0.0
        self.due: list[float | None] = [0.0] * SLOTS  # when the slot may be started; None: a process is there, or gone
        self.phase = [Phase.WAITING] * SLOTS
        self.since = [0.0] * SLOTS
        self.failed_starts = [0] * SLOTS
        self.fruitless = [0] * SLOTS
        self.restarts = [0] * SLOTS
        self.size = SLOTS
        self.on_trial = [False] * SLOTS
        self.at_end: set[int] = set()
        self.workers: list[int] = []
        self.ended = False

    # ---- what may happen

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 1.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.ended)
    @rule(slot=slots)
    def starts(self, slot: int) -> None:
        due = self.due[slot] if slot < len(self.due) else None
        if due is None:
            return
        self.now = max(self.now, due)
        self.due[slot] = None
        self.phase[slot] = Phase.STARTING
        self.at_end.discard(slot)
        self.workers.append(self.supervisor.started(slot))

    @rule(slot=slots)
    def comes_up(self, slot: int) -> None:
        if self.is_in(slot, Phase.STARTING):
            self.phase[slot] = Phase.UP
            self.on_trial[slot] = False
            self.since[slot] = self.now
            self.failed_starts[slot] = 0
            self.supervisor.up(slot, self.now)

    @rule(slot=slots)
    def answers(self, slot: int) -> None:
        if self.is_in(slot, Phase.UP, Phase.RETURNED):
            self.fruitless[slot] = 0
            self.supervisor.answered(slot)

    @rule(slot=slots)
    def is_told_an_end(self, slot: int) -> None:
        if self.is_in(slot, Phase.UP):
            self.at_end.add(slot)
            self.supervisor.told_end(slot)

    @rule(slot=slots)
    def returns(self, slot: int) -> None:
        if self.is_in(slot, Phase.UP):
            self.phase[slot] = Phase.RETURNED
            self.supervisor.returned(slot)

    @precondition(lambda self: not self.ended and not self.supervisor.stopping)
    @rule(slot=slots, needed=st.booleans())
    def leaves_by_agreement(self, slot: int, needed: bool) -> None:
        if self.is_in(slot, Phase.UP):
            decision = self.supervisor.retire(slot, self.now, needed=needed)
            if self.is_let_go(slot, needed=needed):
                assert decision is None
                self.phase[slot] = Phase.GONE
                return
            assert decision == Restart(slot, self.now)
            self.phase[slot] = Phase.WAITING
            self.due[slot] = self.now

    @precondition(lambda self: not self.ended and not self.supervisor.stopping)
    @rule(size=st.integers(1, MOST))
    def is_resized(self, size: int) -> None:
        started = []
        for slot in range(self.size, size):
            if slot == len(self.phase):
                self.phase.append(Phase.GONE)
                self.on_trial.append(False)
                for numbers in (self.failed_starts, self.fruitless, self.restarts):
                    numbers.append(0)
                self.since.append(0.0)
                self.due.append(None)
            if self.phase[slot] == Phase.GONE:
                started.append(slot)
                self.phase[slot], self.due[slot], self.on_trial[slot] = Phase.WAITING, self.now, True
                self.failed_starts[slot] = self.fruitless[slot] = 0
        surplus = range(size, len(self.phase))
        leaving = [slot for slot in reversed(surplus) if self.phase[slot] in PRESENT]
        for slot in surplus:
            if slot not in leaving:
                self.phase[slot], self.due[slot] = Phase.GONE, None
        self.size = size
        assert self.supervisor.resize(size) == (started, leaving)

    def is_in(self, slot: int, *phases: str) -> bool:
        return slot < len(self.phase) and self.phase[slot] in phases

    def is_let_go(self, slot: int, *, needed: bool) -> bool:
        """There are fewer workers now. Work that is left must have somebody who does it."""
        others = [other for other in range(self.size) if self.is_in(other, Phase.WAITING, Phase.STARTING, Phase.UP)]
        return slot >= self.size and (not needed or bool({*others} - self.at_end))

    @rule(slot=slots, needed=st.booleans(), blamed=st.booleans())
    def dies(self, slot: int, needed: bool, blamed: bool) -> None:
        if not self.is_in(slot, *PRESENT):
            return
        phase = self.phase[slot]
        decision = self.supervisor.down(slot, 'signal SIGKILL', self.now, needed=needed, blamed=blamed)
        assert self.supervisor.slots[slot].last_exit == 'signal SIGKILL'
        if self.supervisor.stopping or (phase == Phase.RETURNED and not needed):
            assert decision is None
            self.phase[slot] = Phase.GONE
            return
        if self.is_let_go(slot, needed=needed):
            assert decision is None
            self.phase[slot] = Phase.GONE
            return
        row = self._count(slot, phase, blamed=blamed)
        if slot and self.on_trial[slot] and self.failed_starts[slot] >= START_LIMIT:
            assert isinstance(decision, TakeBack)
            assert decision.size == slot
            self.phase[slot] = Phase.GONE
            self.failed_starts[slot] = 0
            if slot < self.size:
                self.is_resized(slot)  # as the dispatcher does
            return
        if self.failed_starts[slot] >= START_LIMIT or self.fruitless[slot] >= FRUITLESS_LIMIT:
            assert isinstance(decision, EndJob)
            assert f'slot {slot}' in decision.reason
            assert 'signal SIGKILL' in decision.reason
            self.phase[slot] = Phase.GONE
            self.ended = True
            self.supervisor.stop()  # as the dispatcher does
            return
        assert isinstance(decision, Restart)
        assert decision.slot == slot
        wait = decision.at - self.now
        assert 0.0 <= wait <= LONGEST + 1e-9
        assert (wait > 0) == (row >= 2)
        self.restarts[slot] += 1
        self.phase[slot] = Phase.WAITING
        self.due[slot] = decision.at

    def _count(self, slot: int, phase: str, *, blamed: bool) -> int:
        """Book the death; how many deaths in a row make the next start wait."""
        if phase == Phase.STARTING:
            self.failed_starts[slot] += 1
        elif not blamed and self.now - self.since[slot] < EARLY:
            self.fruitless[slot] += 1
        return max(self.failed_starts[slot], self.fruitless[slot])

    @rule(chance=st.integers(0, 9))
    def stops(self, chance: int) -> None:
        if chance == 0:
            self.supervisor.stop()

    # ---- what always holds

    @invariant()
    def phases_are_as_expected(self) -> None:
        assert [slot.phase for slot in self.supervisor.slots] == self.phase
        assert [slot.restarts for slot in self.supervisor.slots] == self.restarts
        assert self.supervisor.gone() == all(phase == Phase.GONE for phase in self.phase)
        assert self.supervisor.over() == all(phase in (Phase.GONE, Phase.RETURNED) for phase in self.phase)

    @invariant()
    def worker_numbers_are_used_once(self) -> None:
        assert self.workers == list(range(len(self.workers)))

    @invariant()
    def restarts_are_within_budget(self) -> None:
        assert all(count <= START_LIMIT for count in self.failed_starts)
        assert all(count <= FRUITLESS_LIMIT for count in self.fruitless)
        if max(self.failed_starts) == START_LIMIT or max(self.fruitless) == FRUITLESS_LIMIT:
            assert self.ended

    def teardown(self) -> None:
        """A job whose workers only die comes to its end, and not by a storm of starts."""
        began, starts = self.now, 0
        while not self.ended and not self.supervisor.stopping and any(due is not None for due in self.due):
            slot = next(slot for slot, due in enumerate(self.due) if due is not None)
            self.starts(slot)
            self.dies(slot, False, False)
            starts += 1
            assert starts <= MOST * START_LIMIT
        assert self.now - began <= 30 + MOST * START_LIMIT * LONGEST


TestSupervisor = SupervisorMachine.TestCase
TestSupervisor.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
