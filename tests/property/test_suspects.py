"""The search for items that kill: whatever dies, each item has one outcome, and only those that kill are accused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eisenmp.suspects import Search


def play(items: int, evil: set[int], retries: int, accidents: list[bool], opens: list[bool]) -> Search:
    """Run a search to its end. An accident kills the worker over innocent items."""
    search = Search(items, ['before'] * (retries + 1), retries)
    for _ in range(20 * items + 20):
        if search.over:
            return search
        first, count = search.part
        search.begins()
        if not opens or opens.pop():
            search.opened(f'item {first}' if count == 1 else '')
        if evil & set(range(first, first + count)) or (accidents and accidents.pop()):
            search.died('signal SIGSEGV')
        else:
            search.answered(0.1, (b'value',), (), None)
    raise AssertionError('it does not end')


def check(search: Search, items: int) -> None:
    places = sorted(at for part in search.outcomes for at in range(part.first, part.first + part.items))
    assert places == list(range(items)), 'each item once'
    for part in search.outcomes:
        assert (part.value is None) == bool(part.exits) == (part in search.accused)


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=4), st.integers(0, 3))
def test_just_those_that_kill_are_accused(items: int, evil: set[int], retries: int) -> None:
    evil = {at for at in evil if at < items}
    search = play(items, evil, retries, [], [])
    check(search, items)
    assert sorted(part.first for part in search.accused) == sorted(evil)
    for part in search.accused:
        assert part.items == 1
        assert part.text == f'item {part.first}'
        assert part.exits[: retries + 1] == ['before'] * (retries + 1)


@given(
    st.integers(1, 50),
    st.sets(st.integers(0, 49), max_size=3),
    st.integers(0, 3),
    st.lists(st.booleans(), max_size=30),
    st.lists(st.booleans(), max_size=30),
)
def test_accidents_and_items_that_do_not_open(
    items: int, evil: set[int], retries: int, accidents: list[bool], opens: list[bool]
) -> None:
    search = play(items, {at for at in evil if at < items}, retries, accidents, opens)
    check(search, items)


def test_one_accident_accuses_no_lone_item() -> None:
    search = Search(2, ['x'], 1)
    search.begins()
    search.opened('a')
    search.died('signal SIGKILL')
    assert (search.part, search.over) == ((0, 1), False)
    search.begins()
    search.answered(0.1, (b'a',), (), None)
    search.answered(0.1, (b'b',), (), None)
    assert (search.over, search.accused) == (True, [])


def test_what_kills_before_it_is_opened_is_not_halved() -> None:
    search = Search(8, ['x'], 2)
    search.begins()
    search.died('exit code 9')
    assert search.outcomes == []
    search.begins()
    search.died('exit code 9')
    assert search.over
    (part,) = search.accused
    assert (part.first, part.items, part.exits) == (0, 8, ['x', 'exit code 9', 'exit code 9'])
