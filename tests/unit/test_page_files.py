"""The files of the live page: what browsers would refuse, and what would be unsafe, is not in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT

STATIC: Final = ROOT / 'src' / 'eisenmp' / 'web' / 'static'
OURS: Final = sorted(path for path in STATIC.rglob('*') if path.is_file() and path.parent.name != 'vendor')
SCRIPTS: Final = [path for path in OURS if path.suffix == '.js']
PAGE: Final = (STATIC / 'index.html').read_text('utf-8')


def named(path: Path) -> str:
    return str(path.relative_to(STATIC))


@pytest.mark.parametrize('script', SCRIPTS, ids=named)
def test_text_is_never_taken_for_markup(script: Path) -> None:
    """What workers print goes through these files."""
    unsafe = r'innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTML|srcdoc|DOMParser'
    assert re.findall(unsafe, script.read_text('utf-8')) == []


@pytest.mark.parametrize('path', OURS, ids=named)
def test_no_other_host_is_named(path: Path) -> None:
    assert set(re.findall(r'\w+://[^\s"\'`)]+', path.read_text('utf-8'))) <= {'http://www.w3.org/2000/svg'}


def test_nothing_is_inline() -> None:
    """The content security policy would stop it."""
    assert re.findall(r'<style|\sstyle=|\son\w+=|javascript:', PAGE) == []
    assert all('src=' in tag for tag in re.findall(r'<script[^>]*>', PAGE))


def test_what_is_named_is_there() -> None:
    for path in re.findall(r'(?:src|href)="(static/[^"]+)"', PAGE):
        assert (STATIC.parent / path).is_file(), path
    for script in SCRIPTS:
        for path in re.findall(r'from "(\./[^"]+)"', script.read_text('utf-8')):
            assert (script.parent / path).is_file(), (script.name, path)


def test_every_element_that_is_looked_for_is_there() -> None:
    ids = re.findall(r'\sid="([^"]+)"', PAGE)
    assert len(ids) == len(set(ids))
    for script in SCRIPTS:
        looked_for = re.findall(r'\b(?:byId|at|getElementById)\("([\w-]+)"\)', script.read_text('utf-8'))
        assert set(looked_for) <= set(ids), script.name


def test_what_is_not_ours_says_whose_it_is() -> None:
    version = re.search(r'uPlot \(v([\d.]+)\)', (STATIC / 'vendor' / 'uPlot.iife.min.js').read_text('utf-8'))
    assert version is not None
    assert f'| uPlot {version[1]} | MIT |' in (ROOT / 'docs' / 'dependencies.md').read_text('utf-8')
    assert 'Permission is hereby granted' in (STATIC / 'vendor' / 'uPlot.LICENSE').read_text('utf-8')
