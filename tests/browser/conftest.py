"""One browser for the tests of a module: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import children

PATIENCE: Final = 20_000  # milliseconds; an alarm, not a measurement
expect.set_options(timeout=PATIENCE)
_NAMES: Final = ('chromium', 'chromium-browser', 'google-chrome')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They can be left out by name: `-m 'not browser'`."""
    for item in items:
        if item.path.parent.name == 'browser':
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(60, method='signal'))  # a busy machine, and two of these at a time


@dataclass
class Guests:
    """The browser, and the processes that belong to it: they come and go as it likes."""

    browser: Browser
    pids: frozenset[int]


@pytest.fixture(scope='module')
def guests() -> Iterator[Guests]:
    """A browser, started once for a module."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f'there is no browser here: none of {", ".join(_NAMES)} is installed')
    before = children()
    arguments = ['--no-sandbox'] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*arguments, '--enable-precise-memory-info'])
        yield Guests(browser, frozenset(children() - before))
        browser.close()


@pytest.fixture(scope='module')
def foreign_processes(guests: Guests) -> frozenset[int]:
    """See the conftest.py above."""
    return guests.pids


@dataclass
class Visit:
    """A page in a browser window, and all that must not be: noise on the console, requests to another host."""

    page: Page
    wrong: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  # beginnings of what a test means to cause

    def watch(self) -> None:
        """Note what is wrong from now on."""
        self.page.on('console', self._console)
        self.page.on('pageerror', lambda error: self.wrong.append(f'error: {error}'))
        self.page.on('request', self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ('error', 'warning'):
            self.wrong.append(f'console: {message.text}')

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).hostname != '127.0.0.1':
            self.wrong.append(f'request: {request.url}')

    @property
    def faults(self) -> list[str]:
        """What was wrong and not expected."""
        return [text for text in self.wrong if not any(part in text for part in self.expected)]


@pytest.fixture
def visit(guests: Guests, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A fresh window. Parameters (indirect) are options of a browser's context, such as ``color_scheme``."""
    options: dict[str, Any] = {'viewport': {'width': 1280, 'height': 900}, **getattr(request, 'param', {})}
    context: BrowserContext = guests.browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    visit = Visit(context.new_page())
    visit.watch()
    yield visit
    context.close()
    assert visit.faults == []
