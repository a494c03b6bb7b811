"""The live page in a browser, with an invented job: what would take hours, or what a real job seldom does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.invented import Invented
from tests.browser.replay import TOKEN, Replay
from tests.support import ALARM, wait_until

PHONE = {'viewport': {'width': 390, 'height': 844}, 'has_touch': True}


class Gate:
    """Lets so many states pass, then waits until it may go on."""

    def __init__(self, states: int) -> None:
        self._states = states
        self._changed = threading.Condition()
        self._closed = False

    def open(self, states: int) -> None:
        with self._changed:
            self._states = states
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __call__(self, n: int) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or n < self._states, ALARM)
            return not self._closed and n < self._states


class Show:
    """A replay with its gate."""

    def __init__(self, states: int, faults: float = 0.01) -> None:
        self.job = Invented(faults=faults)
        self.gate = Gate(states)
        self.replay = Replay(self.job, self.gate)

    def close(self) -> None:
        self.gate.close()
        self.replay.close()

    def serve_again(self, states: int) -> None:
        """At the same address."""
        self.gate = Gate(states)
        self.replay = Replay(self.job, self.gate, self.replay.port)


@pytest.fixture
def shows() -> Iterator[Any]:
    """Makes replays and ends them. To be named before `visit`, so that the page leaves first."""
    made: list[Show] = []

    def make(states: int, faults: float = 0.01) -> Show:
        made.append(Show(states, faults))
        return made[-1]

    yield make
    for show in made:
        show.close()


def opened(visit: Visit, show: Show, seconds: str) -> Page:
    """The page, when the job's clock shows that time."""
    visit.page.goto(show.replay.address)
    expect(visit.page.locator('#tile-seconds')).to_have_text(seconds)
    return visit.page


def test_token_leaves_the_address_and_stays_for_the_tab(shows: Any, visit: Visit) -> None:
    show = shows(4)
    page = opened(visit, show, '0:02')
    assert TOKEN not in page.url and '#' not in page.url
    show.gate.close()  # the next page begins with a line of its own
    show.gate = show.replay.pace = Gate(8)
    page.reload()
    expect(page.locator('#tile-seconds')).to_have_text('0:04')


def test_wrong_token_is_asked_for_again(shows: Any, visit: Visit) -> None:
    visit.expected.append('401')
    show = shows(4)
    page = visit.page
    page.goto(show.replay.address.partition('#')[0])
    expect(page.locator('#token-form')).to_be_visible()
    expect(page.locator('#token-text')).to_be_focused()
    page.keyboard.type('guess')
    page.keyboard.press('Enter')
    expect(page.locator('#token-why')).to_contain_text('refused')
    expect(page.locator('#job')).to_be_hidden()
    expect(page.locator('#token-text')).to_be_focused()
    page.keyboard.insert_text(show.replay.address)  # the whole address will do
    page.keyboard.press('Enter')
    expect(page.locator('#tile-seconds')).to_have_text('0:02')
    expect(page.locator('#token-form')).to_be_hidden()


def test_what_workers_say_is_text_only(shows: Any, visit: Visit) -> None:
    """Logs and failures of the replay are full of tags."""
    page = opened(visit, shows(200), '1:40')
    expect(page.locator('#failure-rows')).to_contain_text('<img src=x onerror=alert(1)>')
    expect(page.locator('#log-rows')).to_contain_text('<b>& more</b>')
    assert page.locator('#failure-rows img, #log-rows b').count() == 0


def test_logs_by_level_and_words(shows: Any, visit: Visit) -> None:
    page = opened(visit, shows(60), '0:30')
    levels = page.locator('#log-rows td:nth-child(2)')
    assert set(levels.all_text_contents()) == {'INFO', 'WARNING', 'print'}
    page.select_option('#log-level', '30')
    assert set(levels.all_text_contents()) == {'WARNING'}
    page.select_option('#log-level', 'all')
    page.fill('#log-words', 'process-2')
    assert set(page.locator('#log-rows td:nth-child(3)').all_text_contents()) == {'Process-2'}
    page.fill('#log-words', '')
    page.locator('#log-frame').focus()
    page.keyboard.press('Home')
    expect(page.locator('#log-follow')).not_to_be_checked()  # whoever reads is left alone
    page.keyboard.press('End')
    expect(page.locator('#log-follow')).to_be_checked()
    page.fill('#log-words', 'nowhere to be found')
    expect(page.locator('#no-logs')).to_contain_text('none of which pass')


def test_line_that_is_cut_comes_back(shows: Any, visit: Visit) -> None:
    visit.expected += ['ERR_CONNECTION_REFUSED', 'ERR_CONNECTION_RESET', 'ERR_INCOMPLETE_CHUNKED_ENCODING']
    show = shows(100)
    page = visit.page
    page.clock.install()
    opened(visit, show, '0:50')
    expect(page.locator('#failure-rows details').first).to_be_visible()
    show.close()
    expect(page.locator('#phase')).to_contain_text('No connection')
    expect(page.locator('#stop')).to_be_disabled()
    farewell = page.locator('#farewell')
    forward(page, farewell, 'The manager does not answer. The job may have ended. This is the picture of 0:50')
    expect(page.locator('#failure-rows details').first).to_be_visible()  # it stays
    show.serve_again(120)
    forward(page, page.locator('#tile-seconds'), '1:00')
    expect(page.locator('#phase')).to_have_text('Running')
    expect(farewell).to_be_hidden()


def forward(page: Page, where: Locator, text: str) -> None:
    """Let the page's time pass quickly until it says so."""

    def come() -> bool:
        page.clock.fast_forward(1000)
        return text in where.inner_text()

    wait_until(come, text)


def test_missed_state_makes_it_ask_for_all(shows: Any, visit: Visit) -> None:
    show = shows(10)
    opened(visit, show, '0:05')
    pages = show.replay.pages
    show.job.n += 3
    show.gate.open(20)
    expect(visit.page.locator('#tile-seconds')).to_have_text('0:10')
    assert show.replay.pages == pages + 1


def test_actions_reach_the_manager_once(shows: Any, visit: Visit) -> None:
    show = shows(10)
    page = opened(visit, show, '0:05')
    page.click('#more')
    page.click('#more')
    expect(page.locator('#news')).to_contain_text('resize: as you wish')
    page.click('#restart-all')
    page.click('#ask-yes')
    expect(page.locator('#news')).to_contain_text('restart')
    page.click('#stop')
    page.keyboard.press('Escape')  # no, after all
    page.click('#worker-rows [data-restart="2"]')
    expect(page.locator('#news')).to_contain_text('restart')
    show.gate.open(12)
    expect(page.locator('#workers-wanted')).to_have_text('6')
    assert show.replay.actions == [('resize', {'workers': 6}), ('restart', {}), ('restart', {'slot': 2})]


@pytest.mark.parametrize('visit', [{'color_scheme': 'light'}, {'color_scheme': 'dark'}], indirect=True, ids=str)
def test_colours_follow_the_system_until_they_are_chosen(shows: Any, visit: Visit) -> None:
    page = opened(visit, shows(10), '0:05')
    light = page.evaluate('matchMedia("(prefers-color-scheme: light)").matches')
    ground = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0] > 128"
    assert page.evaluate(ground) is light
    page.click('#theme')
    assert page.evaluate(ground) is True, 'light comes after the system’s'
    page.click('#theme')
    assert page.evaluate(ground) is False
    page.reload()
    assert page.evaluate(ground) is False, 'the choice is remembered'


@pytest.mark.parametrize('visit', [PHONE], indirect=True, ids=['phone'])
def test_phone_needs_no_scrolling_sideways(shows: Any, visit: Visit) -> None:
    page = opened(visit, shows(150), '1:15')
    page.locator('#failure-rows summary').first.click()
    row = page.get_by_role('table', name='Workers').get_by_role('row').nth(1)
    assert row.get_by_role('cell').count() == 9, 'it is still a table for those who listen'
    assert page.evaluate('document.documentElement.scrollWidth') == 390
    wide = page.evaluate(
        """[...document.querySelectorAll('main *')].filter(node => node.getBoundingClientRect().right > 391
        && !node.closest('pre, .log, .unseen')).map(node => node.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_by_keyboard_alone(shows: Any, visit: Visit) -> None:
    """Tab reaches what can be pressed, in the order of the page; arrows go through the lanes."""
    show = shows(150)
    page = opened(visit, show, '1:15')
    reached = []
    for _ in range(20):
        page.keyboard.press('Tab')
        reached.append(page.evaluate('document.activeElement.id || document.activeElement.dataset.restart || ""'))
        if reached[-1] == 'lanes':
            seen = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
            assert seen == 'solid', 'one sees where one is'
            for key in ('ArrowDown', 'ArrowLeft', 'ArrowLeft'):
                page.keyboard.press(key)
            expect(page.locator('#lanes-spoken')).to_have_text(re.compile(r'^Worker 0, .*_TID_\d+, .* ms'))
            expect(page.locator('#lanes-tip')).to_be_visible()
            page.keyboard.press('Escape')
            expect(page.locator('#lanes-tip')).to_be_hidden()
    wanted = ['theme', 'stop', 'lanes', 'fewer', 'more', 'restart-all', '0', '1', '2', '3', 'retry', 'log-level']
    assert [name for name in reached if name in wanted] == wanted
    page.focus('#stop')
    page.keyboard.press('Enter')
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    expect(page.locator('#phase')).to_have_text('Running')  # nothing has come since
    expect(page.locator('#news')).to_contain_text('stop')
    assert show.replay.actions == [('stop', {})]


def test_pointing_tells_what_is_there(shows: Any, visit: Visit) -> None:
    """At the lanes: ticket and duration. At a chart: the values of that time, in all charts."""
    page = opened(visit, shows(150), '1:15')
    lanes = page.locator('#lanes-canvas')
    box = lanes.bounding_box()
    assert box is not None
    tip = page.locator('#lanes-tip')
    for x in range(500, 560, 4):  # chunks take 0.4 s, five pixels; between them there may be nothing
        lanes.hover(position={'x': x, 'y': 10})
        if tip.is_visible():
            break
    expect(tip).to_have_text(re.compile(r'^Worker 0orders_TID_\d+.* m?s, from 0:[23]\d\.\d'))
    values = page.locator('#chart-queues .legend b')
    now = values.all_inner_texts()
    page.locator('#chart-rate .plot').hover(position={'x': 80, 'y': 60})
    expect(values.nth(1)).to_have_text('0')  # there was nothing in it at the beginning
    assert now[1] != '0'
    page.mouse.move(5, 5)
    expect(values.nth(1)).to_have_text(now[1])
    expect(tip).to_be_hidden()


@pytest.fixture
def module(shows: Any, visit: Visit) -> Callable[[str, str], Any]:
    """Runs a piece of JavaScript with the names of one of the page's modules."""
    visit.page.goto(shows(0).replay.address)

    def run(name: str, body: str) -> Any:
        return visit.page.evaluate(f"import('/static/js/{name}.js').then(module => {{ {body} }})")

    return run


def test_series_of_a_day_has_as_many_points_as_one_of_minutes(module: Callable[[str, str], Any]) -> None:
    day = module(
        'series',
        """const series = new module.Series();
        for (let n = 1; n <= 172800; n++) series.push(n / 2, {rate: 100, p95: n === 100000 ? 9 : 1});
        return {t: series.t, rate: series.get('rate'), p95: series.get('p95')};""",
    )
    assert 300 <= len(day['t']) <= 600
    assert day['t'][0] == 0.5 and day['t'][-1] > 86_000
    assert day['t'] == sorted(day['t'])
    gaps = [later - earlier for earlier, later in pairwise(day['t'])]
    assert max(gaps) < 2.1 * min(gaps), 'evenly thinned'
    assert set(day['rate']) == {100}
    assert max(day['p95']) == 9, 'a peak is not averaged away'


def test_series_of_the_server_is_gone_on_with(module: Callable[[str, str], Any]) -> None:
    t = [8.0 * n for n in range(500)]
    series = module(
        'series',
        f"""const series = new module.Series();
        series.load({t}, {{rate: {[7] * 500}, 'cpu:1': [1, null, 3]}});
        for (let n = 1; n <= 64; n++) series.push({t[-1]} + n / 2, {{rate: 7, 'cpu:1': 5}});
        return {{t: series.t, rate: series.get('rate'), late: series.get('cpu:1')}};""",
    )
    assert 503 <= len(series['t']) <= 506, 'new points are as far apart as the old ones'
    assert set(series['rate']) == {7}
    assert series['late'][495:499] == [None, None, 1, None], 'what began late is at the end'


def test_lanes_are_bounded_and_the_whole_job_is_there(module: Callable[[str, str], Any]) -> None:
    """A day of chunks of half a second, each with as much idle time after it."""
    lanes = module(
        'lanes',
        """const lanes = new module.Lanes();
        for (let n = 0; n < 86400; n++) lanes.take([0, 1].map(slot => [slot, n, n + 0.5, 'work', `q_TID_${n}`, 1]));
        lanes.take([[0, 86400, null, 'work', 'q_TID_last', 1]]);
        const found = lanes.between(0, 86410, 86410);
        return {kept: lanes.blocks.size, one: found.get(0), limit: module.stragglerFrom(found)};""",
    )
    assert lanes['kept'] <= 6000
    assert lanes['one'][0]['start'] == 0
    assert sum(block['chunks'] for block in lanes['one']) == 86_401
    busy = sum(block['until'] - block['start'] - block['idle'] for block in lanes['one'][:-1])
    assert busy == pytest.approx(43_200, rel=1e-6), 'half of the time is idle, coarse or not'
    assert lanes['one'][-1]['until'] == 86_410 and lanes['one'][-1]['open']
    assert lanes['limit'] == 2


def test_events_may_be_cut_anywhere(module: Callable[[str, str], Any]) -> None:
    text = (
        ': hello\r\n\r\nevent: history\r\ndata: {"a":\r\ndata: 1}\r\n\r\nevent: state\ndata: {"b": 2}\n\ndata: last\n\n'
    )
    wanted = [['history', '{"a":\n1}'], ['state', '{"b": 2}'], ['message', 'last']]
    found = module(
        'stream',
        f"""const text = {json.dumps(text)};
        return [1, 2, 3, 7, text.length].map(size => {{
            const parser = new module.EventParser();
            const found = [];
            for (let at = 0; at < text.length; at += size) found.push(...parser.feed(text.slice(at, at + size)));
            return found;
        }});""",
    )
    assert found == [wanted] * 5


def test_figures_as_people_read_them(module: Callable[[str, str], Any]) -> None:
    shown = module(
        'format',
        """return {
            compact: [0, 0.0123, 1.234, 12.34, 999.6, 1234, 12345, 4560000, null, NaN].map(module.compact),
            duration: [0, 0.00035, 0.0123, 0.9999, 1.234, 59.94, 125, 11220].map(module.duration),
            clock: [7.4, 59.6, 725, 11220, 194820].map(one => module.clock(one)),
            bytes: [512, 12.3 * 1048576, null].map(module.bytes),
            percent: [0, 0.6299, 0.9999, 1].map(module.percent),
        };""",
    )
    assert shown == {
        'compact': ['0', '0.012', '1.23', '12.3', '1,000', '1,234', '12.3k', '4.56M', '–', '–'],
        'duration': ['0 s', '350 µs', '12.3 ms', '1 s', '1.23 s', '59.9 s', '2:05 min', '3:07:00 h'],
        'clock': ['0:07', '1:00', '12:05', '3:07:00', '2 d 6:07:00'],
        'bytes': ['512 B', '12.3 MiB', '–'],
        'percent': ['0 %', '62 %', '99 %', '100 %'],
    }


# Each state is painted at once, instead of with the next frame, so that many frames take a short time.
_EACH_PAINTED = """
    const later = window.requestAnimationFrame;
    window.requestAnimationFrame = (paint) => window.paintEach ? (window.painted += 1, paint(0), 0) : later(paint);
    window.painted = 0;
"""


def test_open_for_an_hour_does_not_grow(shows: Any, visit: Visit) -> None:
    """An hour is 7,200 states: what ten minutes took is all that it takes. So is what painting takes."""
    show = shows(1200, faults=0.08)  # enough to fill the list of failures early
    visit.page.add_init_script(_EACH_PAINTED)
    page = opened(visit, show, '10:00')
    expect(page.locator('#failure-counts')).to_have_text('the newest 200')
    early = _weight(page)
    show.gate.open(7100)
    expect(page.locator('#tile-seconds')).to_have_text('59:10')
    page.evaluate('window.paintEach = true')
    show.gate.open(7200)
    expect(page.locator('#tile-seconds')).to_have_text('1:00:00')
    assert page.evaluate('window.painted') >= 100
    late = _weight(page)
    assert late['nodes'] < early['nodes'] * 1.1, (early, late)
    assert late['listeners'] <= early['listeners'], (early, late)
    # Code that was compiled meanwhile and bytes on their way come to a megabyte or so; what came, to more than 20.
    assert late['heap'] < early['heap'] + 2_500_000, (early, late)


def _weight(page: Page) -> dict[str, float]:
    """What the page holds: bytes of the heap, nodes (those out of the document, too), listeners."""
    session = page.context.new_cdp_session(page)
    session.send('HeapProfiler.collectGarbage')
    session.send('HeapProfiler.collectGarbage')
    heap = session.send('Runtime.getHeapUsage')['usedSize']
    counters = session.send('Memory.getDOMCounters')
    session.detach()
    return {'heap': heap, 'nodes': counters['nodes'], 'listeners': counters['jsEventListeners']}


_CONTRAST = """([front, back]) => {
    const probe = document.getElementById('probe');
    const light = name => {
        probe.style.color = `var(--${name})`;
        const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
        const [r, g, b] = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
}"""


@pytest.mark.parametrize('visit', [{'color_scheme': 'light'}, {'color_scheme': 'dark'}], indirect=True, ids=str)
def test_contrast_is_enough_to_read(shows: Any, visit: Visit) -> None:
    """As WCAG has it at level AA: 4.5 for text, 3 for what is drawn."""
    visit.page.goto(shows(0).replay.address)
    texts = ['ink panel', 'ink ground', 'muted panel', 'muted ground', 'accent panel', 'slow-ink panel', 'bad panel']
    texts += ['bad bad-ground', 'ink bad-ground', 'on-accent accent', 'panel ink', 'bad ground', 'muted stripe']
    drawn = ['accent stripe', 'slow stripe', 'bad stripe', 'edge panel', 'accent line']
    drawn += [f'hue-{n} panel' for n in range(2, 7)]
    for least, pairs in ((4.5, texts), (3, drawn)):
        for pair in pairs:
            assert visit.page.evaluate(_CONTRAST, pair.split()) >= least, pair
