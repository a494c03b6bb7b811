"""The live page in a browser, beside real jobs."""

from __future__ import annotations

import itertools
import os
import queue
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

import eisenmp
from tests.browser.conftest import Visit
from tests.support import ALARM, FORKS, Lab, wait_until

WORKER = """
    import time

    def entry(item):
        time.sleep(0.002)
        if item % 400 == 0:
            print(f'<i>{item}</i> so far')
        if item % 1000 == 333:
            raise ValueError(f'<b>{item}</b> is no good')
        return item
"""

pytestmark = FORKS


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Workers by fork: they are there at once. To be named before `visit`, so that the page leaves first."""
    made = Lab(tmp_path, 'fork')
    yield made
    made.close()


def started(lab: Lab, visit: Visit) -> tuple[eisenmp.Mp, Page]:
    """A job that goes on until somebody stops it, and its page when both workers are up."""
    emp = lab.mp()
    lab.start(emp, WORKER, WORKER_CALL='item', ON_ERROR='skip', NUM_PROCS=2, NUM_ROWS=50, DASHBOARD=True)
    emp.run_q_feeder(generator=itertools.count())
    assert emp.dashboard_url is not None
    visit.page.goto(emp.dashboard_url)
    expect(visit.page.locator('#tile-up')).to_have_text('2 of 2')
    return emp, visit.page


def number(tile: Locator) -> int:
    return int(tile.inner_text().replace(',', ''))


def pids(page: Page) -> list[int]:
    """Of the workers, by slot, as the page has them."""
    texts = page.locator('#worker-rows td:nth-child(2)').all_inner_texts()
    return [int(text.rpartition(' ')[2]) for text in texts]


def test_numbers_move_and_are_those_of_the_job(lab: Lab, visit: Visit) -> None:
    emp, page = started(lab, visit)
    expect(page).to_have_title(re.compile(r'eisenmp$'))
    expect(page.locator('#phase')).to_have_text('Running')
    assert pids(page) == [process.pid for process in emp.proc_list]
    expect(page.locator('#log-rows')).to_contain_text('</i> so far')
    before = number(page.locator('#tile-done'))
    wait_until(lambda: number(page.locator('#tile-done')) > before + 20, 'more chunks on the page')
    rate = page.locator('#chart-rate .legend b')
    assert 100 < float(rate.inner_text().replace(',', '').replace('k', '')), 'items a second'
    expect(page.locator('#chart-latency .legend b').first).to_have_text(re.compile(r'^\d.* ms$'))
    expect(page.locator('#worker-rows td:nth-child(8) .spark-value').first).to_have_text(re.compile('MiB$'))
    for figure in ('chart-rate', 'chart-latency', 'chart-queues'):
        assert page.locator(f'#{figure} canvas').count() == 1


def test_failure_and_its_traceback(lab: Lab, visit: Visit) -> None:
    _, page = started(lab, visit)
    failure = page.locator('#failure-rows details', has_text='<b>333</b> is no good')
    expect(failure).to_have_count(1)
    expect(page.locator('#alarm')).to_contain_text('failed')
    expect(page).to_have_title(re.compile('^!'))
    failure.locator('summary').click()
    trace = failure.locator('pre')
    expect(trace).to_contain_text('worker.py')
    expect(trace).to_contain_text("raise ValueError(f'<b>{item}</b> is no good')")
    assert number(page.locator('#tile-failed')) >= 1


def test_killed_worker_is_seen_to_be_replaced(lab: Lab, visit: Visit) -> None:
    emp, page = started(lab, visit)
    first = pids(page)
    os.kill(first[1], signal.SIGKILL)
    expect(page.locator('#tile-restarts')).to_have_text('1')
    expect(page.locator('#worker-rows tr:nth-child(2) td:nth-child(9)')).to_have_text('1')
    wait_until(lambda: pids(page)[1] not in (first[1], 0), 'another process in the slot')
    assert pids(page)[0] == first[0]
    assert pids(page)[1] == emp.proc_list[1].pid
    expect(page.locator('#failure-rows .kind', has_text='died')).to_have_count(1)
    expect(page.locator('#log-rows')).to_contain_text('Process-2')
    # the gap is in the lane of slot 1, for the arrows to be found
    expect(page.locator('#tile-up')).to_have_text('2 of 2')
    page.focus('#lanes')
    page.keyboard.press('ArrowUp')
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Home')
    spoken = page.locator('#lanes-spoken')
    expect(spoken).to_contain_text('Worker 1, ')

    def further() -> bool:
        page.keyboard.press('ArrowRight')
        return spoken.inner_text().startswith('Worker 1, down')

    wait_until(further, 'the gap in the lane')


def test_restart_of_a_slot(lab: Lab, visit: Visit) -> None:
    emp, page = started(lab, visit)
    first = pids(page)
    page.get_by_role('button', name='Restart the worker of slot 0').click()
    expect(page.locator('#news')).to_contain_text('slot 0')
    wait_until(lambda: pids(page)[0] not in (first[0], 0), 'another process in slot 0')
    assert pids(page)[1] == first[1]
    assert [process.pid for process in emp.proc_list] == pids(page)


def test_stop_ends_the_job_and_keeps_the_last_picture(lab: Lab, visit: Visit) -> None:
    visit.page.clock.install()
    emp, page = started(lab, visit)
    requests: list[str] = []
    page.click('#stop')
    expect(page.locator('#ask')).to_be_visible()
    page.click('#ask-yes')
    assert emp.join(ALARM), 'the job is over'
    expect(page.locator('#phase')).to_have_text('Over')
    expect(page.locator('#farewell')).to_contain_text('The job was stopped after')
    expect(page.locator('#stop')).to_be_disabled()
    page.on('request', lambda request: requests.append(request.url))
    assert number(page.locator('#tile-done')) > 0
    assert page.locator('#worker-rows tr').count() == 2
    page.clock.fast_forward(60_000)  # the page would have waited that long at most, had the line been cut
    expect(page.locator('#phase')).to_have_text('Over')
    assert requests == [], 'nobody is asked any more'


def test_wrong_token_sees_nothing(lab: Lab, visit: Visit) -> None:
    visit.expected.append('401')
    emp = lab.mp()
    lab.start(emp, WORKER, WORKER_CALL='item', DASHBOARD=True, DASHBOARD_TOKEN='the-token-of-this-test')
    emp.run_q_feeder(generator=itertools.count())
    assert emp.dashboard_url is not None
    visit.page.goto(emp.dashboard_url.partition('#')[0] + '#token=guessed')
    expect(visit.page.locator('#token-why')).to_contain_text('refused')
    expect(visit.page.locator('#job')).to_be_hidden()
    expect(visit.page.locator('body')).not_to_contain_text('Process-1')


def test_more_workers_and_fewer(lab: Lab, visit: Visit) -> None:
    emp, page = started(lab, visit)
    more = page.get_by_role('button', name='One worker more')
    more.click()
    more.click()  # both presses are one request
    expect(page.locator('#tile-up')).to_have_text('4 of 4')
    expect(page.locator('#worker-rows tr')).to_have_count(4)
    expect(page.locator('#workers-wanted')).to_have_text('4')
    assert len(emp.proc_list) == 4
    for _ in range(3):
        page.get_by_role('button', name='One worker fewer').click()
    expect(page.locator('#worker-rows tr')).to_have_count(1)
    expect(page.locator('#fewer')).to_be_disabled()
    expect(page.locator('#workers-wanted')).to_have_text('1')


MENDED = """
    import os

    def entry(item):
        if item == 7 and not os.path.exists({path!r}):
            raise OSError('no disk')
        return item
"""


def test_failed_chunk_is_tried_again(lab: Lab, visit: Visit) -> None:
    mended = lab.folder / 'mended'
    emp = lab.mp()
    settings = {'WORKER_CALL': 'item', 'ON_ERROR': 'skip', 'NUM_ROWS': 1, 'RESULTS_STORE': True, 'DASHBOARD': True}
    lab.start(emp, MENDED.format(path=str(mended)), **settings)
    more: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    more.put(7)
    emp.run_q_feeder(generator=iter(more.get, None))
    assert emp.dashboard_url is not None
    page = visit.page
    page.goto(emp.dashboard_url)
    expect(page.locator('#failure-rows .what')).to_have_text(re.compile('OSError: no disk'))
    expect(page.locator('#tile-failed')).to_have_text('1')
    mended.touch()
    page.get_by_role('button', name='Try failed chunks again').click()
    expect(page.locator('#news')).to_contain_text('1 chunk is tried again')
    expect(page.locator('#tile-failed')).to_have_text('0')
    expect(page.locator('#alarm')).to_be_hidden()
    more.put(None)
    assert emp.wait(ALARM)['mp_input_q'].values() == [[7]]
