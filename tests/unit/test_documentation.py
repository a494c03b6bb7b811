"""Pages that speak of the code name all of it, and what they name is there."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import eisenmp
from benchmarks import record
from benchmarks.rounds import Contest, Figure, Goal
from eisenmp import settings, short, spaces
from tests.support import ROOT

DOCS = ROOT / 'docs'


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding='utf-8')


def rows(text: str, columns: int) -> list[list[str]]:
    """The cells of all tables that have so many columns, heads left out."""
    found = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    return [row for row in found if len(row) == columns and row[0].startswith('`')]


def helper(name: str) -> ModuleType:
    """A module of the site's own."""
    spec = importlib.util.spec_from_file_location(f'site_{name}', DOCS / '_site' / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- settings

TABLE = {row[0].partition('<br>')[0].strip('`'): row for row in rows(read('settings.md'), 4)}


@pytest.mark.parametrize('setting', settings.Settings._fields)
def test_the_page_of_settings_says_what_the_code_says(setting: str) -> None:
    name, default, allowed, means = TABLE[setting]
    without = settings.Settings._field_defaults[setting]
    assert re.match(rf'`{re.escape(repr(without))}`(?=:|$)', default), default
    assert (':' in default) == (without is None), 'what None means, and only that'
    assert allowed == settings._ALLOWED[setting][0]
    assert means
    shorter = {'ON_ERROR': 'on_error', **short._NAMES}.get(setting)
    named = re.match(r'`(\w+)`', name.partition('<br>')[2])
    assert (named and named[1]) == shorter


def test_the_page_of_settings_has_no_other_ones() -> None:
    assert set(TABLE) == set(settings.Settings._fields)
    for name in settings.ALIASES:
        assert f'`{name}`' in read('settings.md')


def test_readme_has_all_settings() -> None:
    table = (ROOT / 'README.md').read_text('utf-8').partition('### Settings')[2].partition('\n#')[0]
    named = set(re.findall(r'`([A-Z_]{3,})`', ''.join(row[0] for row in rows(table, 3))))
    assert named == set(TABLE) - {'ENGINE_ADDRESS'}


# ---- promises and names

SHOWN = re.findall(r'`(tests/[\w/]+\.py)::(\w+)`', read('promises.md'))


@pytest.mark.parametrize(('path', 'name'), SHOWN)
def test_a_test_that_shows_a_promise_is_there(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text('utf-8'))
    made = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
             if isinstance(target, ast.Name)}  # fmt: skip
    assert name in made


def test_each_promise_has_a_test() -> None:
    promises = re.findall(r'^\* (?:.|\n(?!\n|\*|#))*', read('promises.md'), re.MULTILINE)
    assert len(promises) > 20
    for promise in promises:
        assert '<br>`tests/' in promise, promise


def test_the_reference_has_all_public_names() -> None:
    told = set(re.findall(r':: ([\w.]+)$', read('api.md'), re.MULTILINE))
    names = {f'eisenmp.{name}' for name in eisenmp.__all__ if name != 'spaces'}
    names |= {f'eisenmp.spaces.{name}' for name in spaces.__all__}
    assert names <= told


def test_each_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(r'^[\w-]+$', read('index.md'), re.MULTILINE)
    assert sorted([*listed, 'index']) == sorted(path.stem for path in DOCS.glob('*.md'))


# ---- what was measured


def test_what_the_benchmarks_write_becomes_tables(tmp_path: Path) -> None:
    contest = Contest('stream', 'a million | ints', 'ms', {})
    contest.values.update({'eisenmp.Mp': [10.0, 12.0, 11.0], 'Pool': [22.0, 24.0, 20.0]})
    contest.said['executor'] = 'hangs'
    contest.figures.append(Figure('times as fast as Pool', (2.0, 2.2, 1.8), '', Goal(must=1.5, aim=3.0)))
    contest.notes.append('mpire is not installed')
    record.write(tmp_path / 'figures.json', [contest], record.environment(3))
    text = helper('measured').measured_text(tmp_path)
    assert '| stream | times as fast as Pool | 2.00 | ≥ 1.5 | ≥ 3 | must |' in re.sub(r'[ \xa0]+', ' ', text)
    assert '| eisenmp.Mp | 11.0 | 10.0 … 12.0 |' in text
    assert '| executor | hangs |  |' in text
    assert '### stream: a million \\| ints' in text
    assert 'mpire is not installed' in text
    assert '3 rounds' in text
    assert 'figures.svg' not in text
    (tmp_path / 'figures.svg').touch()
    assert '(measured/figures.svg)' in helper('measured').measured_text(tmp_path)


def test_without_figures_there_is_a_word_about_it(tmp_path: Path) -> None:
    assert 'Nothing is written down' in helper('measured').measured_text(tmp_path)


# ---- the site

LOCAL = """
<link rel="stylesheet" href="_static/site.css?v=1"><link rel="canonical" href="https://example.org/">
<a href="https://example.org/">elsewhere</a><code>@import url(https://example.org/)</code>
<img src="plot.svg"><script src="a.js"></script>
"""
FOREIGN = {
    'style.css': '@import "https://fonts.example.org/a.css"; b { background: url(//cdn.example.org/x.png) }',
    'page.html': """
        <script src="https://cdn.example.org/a.js"></script><img srcset="//example.org/x.png 2x">
        <style>b { background: url(https://example.org/y) }</style><link rel="preload" href="http://example.org/f.woff2">
        <p style="background: url(http://example.org/x)">
    """,
}


def test_a_page_that_asks_other_hosts_is_found(tmp_path: Path) -> None:
    foreign_requests = helper('local').foreign_requests
    (tmp_path / 'good.html').write_text(LOCAL)
    assert list(foreign_requests(tmp_path)) == []
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text)
    found = list(foreign_requests(tmp_path))
    assert len(found) == 7
    assert {line.partition(':')[0] for line in found} == {'page.html', 'style.css'}


def test_a_notebook_becomes_a_page(tmp_path: Path) -> None:
    cells = [
        {'cell_type': 'markdown', 'source': ['# Title\n', 'text']},
        {
            'cell_type': 'code',
            'source': ['1 + 1'],
            'outputs': [
                {'output_type': 'stream', 'text': ['said\n']},
                {'output_type': 'execute_result', 'data': {'text/plain': ['2']}},
                {'output_type': 'error', 'traceback': ['\x1b[31mError\x1b[0m']},
            ],
        },
        {'cell_type': 'code', 'source': ['pass'], 'outputs': []},
    ]
    (tmp_path / 'n.ipynb').write_text(json.dumps({'cells': cells}))
    text = helper('notebook').notebook_text(tmp_path / 'n.ipynb')
    assert text.startswith('# Title\ntext\n\n```python\n1 + 1\n```\n\n')
    assert '```text\nsaid\n2\nError\n```' in text
    assert text.endswith('```python\npass\n```')
