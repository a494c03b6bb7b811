"""The table of queues: all of one call or none, names, categories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eisenmp.constants import DEFAULT_QUEUES
from eisenmp.errors import SettingsError
from eisenmp.queues import Getter, Message, NamedQueue, Putter, QueueTable


def names(table: QueueTable) -> list[str]:
    return [queue.name for queue in table]


def test_the_default_queues_are_there_the_input_queue_first() -> None:
    table = QueueTable()
    assert names(table) == [f'{name} (default)' for name in DEFAULT_QUEUES]
    assert names(table)[0] == 'mp_input_q (default)'
    assert [queue.number for queue in table] == list(range(5))
    assert all(queue.maxsize == 0 for queue in table)


def test_numbers_and_names_of_new_queues() -> None:
    table = QueueTable()
    made = table.create([(None, 'blue_q_7', 3), (None, 'red', 0)])
    made += table.create([('batch_1', 'video_in', 1), ('batch_7', 'video_in', 2), ('batch_1', 'audio_lg', 5)])
    assert [queue.name for queue in made] == [
        'blue_q_7',
        'red',
        'batch_1|video_in',
        'batch_7|video_in',
        'batch_1|audio_lg',
    ]
    assert [queue.number for queue in made] == [5, 6, 7, 8, 9]
    assert [table[queue.number] for queue in made] == made
    assert made[2].row == (7, 'batch_1|video_in', 'video_in', 'batch_1', 1)
    assert [queue.maxsize for queue in made] == [3, 0, 1, 2, 5]


def test_find() -> None:
    table = QueueTable()
    (blue,) = table.create([(None, 'blue_q_7', 3)])
    (video,) = table.create([('batch_1', 'video_in', 1)])
    assert table.find('blue_q_7') is blue
    assert table.find('batch_1|video_in') is video
    assert table.find('mp_input_q') is table.find('mp_input_q (default)') is table[0]
    with pytest.raises(KeyError, match='no queue .blue_q_8. .did you mean .blue_q_7.'):
        table.find('blue_q_8')


def test_a_negative_maxsize_means_no_bound() -> None:
    (queue,) = QueueTable().create([(None, 'q', -1)])
    queue.entries.extend([Message((b'',))] * 3)
    assert queue.maxsize == 0
    assert not queue.full


Wanted = list[tuple[Any, Any, Any]]


@pytest.mark.parametrize(
    ('wanted', 'says'),
    [
        ([(None, 'new', 0), (None, 'old', 0)], "'old' exists already"),
        ([(None, 'new', 0), (None, 'new', 1)], "'new' exists already"),
        ([('c', 'new', 0), ('c', 'new', 0)], r"'c\|new' exists already"),
        ([('c', 'new', 0), ('cat', 'old', 0)], r"'cat\|old' exists already"),
        ([(None, 'new', 0), (None, 'mp_input_q', 0)], "'mp_input_q' exists already"),
        ([(None, 'new', 0), (None, 'mp_print_q (default)', 0)], 'exists already'),
        ([(None, 'new', 0), (None, 'cat|old', 0)], r"'cat\|old' exists already"),
        ([(None, 'new', 0), (None, 'cat', 0)], "'cat' cannot be both"),
        ([('old', 'new', 0)], "'old' cannot be both"),
        ([('mp_input_q', 'new', 0)], "'mp_input_q' cannot be both"),
        ([(None, 'twin', 0), ('twin', 'new', 0)], "'twin' cannot be both"),
        ([('twin', 'new', 0), (None, 'twin', 0)], "'twin' cannot be both"),
        ([(None, 'new', 0), (None, '', 0)], "queue name ''"),
        ([(None, 'new', 0), (None, 7, 0)], 'queue name 7'),
        ([(None, 'new', 0), (None, None, 0)], 'queue name None'),
        ([('', 'new', 0)], "queue category ''"),
        ([(7, 'new', 0)], 'queue category 7'),
        ([(None, 'new', '3')], "maxsize='3'"),
        ([(None, 'new', 3.0)], 'maxsize=3.0'),
        ([(None, 'new', True)], 'maxsize=True'),
        ([(None, 'new', None)], 'maxsize=None'),
    ],
)
def test_a_queue_that_cannot_be_is_named_and_none_is_created(wanted: Wanted, says: str) -> None:
    table = QueueTable()
    table.create([(None, 'old', 0)])
    table.create([('cat', 'old', 0)])
    before = names(table)
    with pytest.raises(SettingsError, match=says) as caught:
        table.create(wanted)
    assert isinstance(caught.value, ValueError)
    assert names(table) == before
    assert set(table.by_name) == set(before)
    table.create([(None, 'new', 0)])


words = st.sampled_from(['a', 'b', 'c', 'a|b', 'b|c', 'mp_input_q'])


@given(st.lists(st.lists(st.tuples(st.none() | words, words, st.integers(-1, 2)), max_size=4), max_size=4))
def test_whatever_is_created_names_stay_unique(calls: list[list[tuple[str | None, str, int]]]) -> None:
    table = QueueTable()
    for wanted in calls:
        before = names(table)
        try:
            made = table.create(wanted)
        except SettingsError:
            assert names(table) == before
        else:
            assert names(table) == before + [queue.name for queue in made]
    assert len(set(names(table))) == len(table.rows)
    assert [queue.number for queue in table] == list(range(len(table.rows)))
    singles = {queue.short for queue in table if queue.category is None}
    assert not singles & {queue.category for queue in table if queue.category is not None}


# ---- one queue


def bounded(maxsize: int) -> NamedQueue:
    (queue,) = QueueTable().create([(None, 'q', maxsize)])
    return queue


def waiting_putter(queue: NamedQueue, text: bytes, told: list[bytes]) -> Putter:
    def accepted() -> None:
        told.append(text)
        putter.live = False

    putter = Putter(1, Message((text,)), accepted)
    queue.putters.append(putter)
    return putter


def test_refill_lets_putters_in_as_far_as_there_is_room_in_their_order() -> None:
    queue, told = bounded(2), list[bytes]()
    putters = [waiting_putter(queue, text, told) for text in (b'1', b'2', b'3', b'4')]
    putters[1].live = False
    queue.refill()
    assert told == [b'1', b'3']
    assert queue.full
    queue.refill()
    assert told == [b'1', b'3']
    queue.entries.popleft()
    queue.refill()
    assert told == [b'1', b'3', b'4']
    assert queue.touched


def test_drained_wants_a_feeder_that_is_done_and_nothing_left() -> None:
    def drained(seen: int, still_open: int, entries: int = 0, putters: int = 0) -> bool:
        queue = bounded(1)
        queue.feeders_seen, queue.feeders_open = seen, still_open
        queue.entries.extend([Message((b'x',))] * entries)
        for _ in range(putters):
            waiting_putter(queue, b'y', [])
        return queue.drained

    assert not drained(0, 0)  # nobody ever fed it: somebody may put by hand
    assert not drained(1, 1)
    assert not drained(2, 1)
    assert drained(1, 0)
    assert not drained(1, 0, entries=1)
    assert not drained(1, 0, putters=1)


def test_next_getter_skips_those_that_wait_no_more() -> None:
    queue = bounded(0)
    getters = [Getter(n, lambda *_: None) for n in range(3)]
    queue.getters.extend(getters)
    getters[0].live = getters[1].live = False
    assert queue.next_getter() is getters[2]
    getters[2].live = False
    assert queue.next_getter() is None
