"""What README and docs show, taken apart: every block of code, and what its page promises about it.

A page says so in comments that nobody sees, right before the block:

``<!-- file: NAME -->``
    The block is the file NAME, which lies in the folder of every program of the page.
``<!-- prints: REGEX -->``
    A program prints just this.
``<!-- output -->``
    The block is what the program before it prints, to the letter.
``<!-- for instance -->``
    The block shows what numbers may look like. It is not compared.
``<!-- needs: NAME -->``
    Left out where neither a command nor a module of that name is installed.
``<!-- not run: WHY -->``
    It is code, and it is not run.

``<!-- says: REGEX -->``
    What stands on standard error. Nothing does otherwise.
``<!-- flags: FLAGS -->``
    For Python, in the place of those that make errors of warnings.
``<!-- drawing -->``
    No code.

A ``python`` block is a program. A ``console`` block has calls (``$ …``), below each what it prints, where ``…`` stands
for anything, and ``[1]`` on a line of its own for the exit code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support import ROOT

__all__ = [
    'PAGES',
    'Block',
    'Call',
    'anchors_of',
    'blocks_of',
    'calls_of',
    'files_of',
    'links_of',
    'loose_blocks',
    'programs_of',
]

PAGES: Final = ['README.md', *sorted(str(path.relative_to(ROOT)) for path in (ROOT / 'docs').rglob('*.md'))]
NOT_CODE: Final = frozenset({'file', 'output', 'for instance', 'not run', 'drawing'})
NOTES: Final = NOT_CODE | {'prints', 'needs', 'says', 'flags'}

_BLOCK: Final = re.compile(
    r'(?P<notes>(?:<!--(?:(?!-->).)*-->\s*)*)^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$', re.DOTALL | re.MULTILINE
)
_NOTE: Final = re.compile(r'<!--\s*([^:>]+?)\s*(?::\s*(.*?)\s*)?-->', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page.

    Attributes:
        page: its path below the project.
        line: where it begins.
        kind: its language, as Markdown has it.
        text: what stands in it.
        notes: what the page says about it.
    """

    page: str
    line: int
    kind: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return f'{self.page}:{self.line}'


@dataclass(frozen=True, slots=True)
class Call:
    """A command line, what it prints, and its exit code."""

    block: Block
    line: str
    printed: str
    code: int


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """All blocks of a page, in order. `text`: the page's, if it is not to be read."""
    text = (ROOT / page).read_text(encoding='utf-8') if text is None else text
    found = []
    for match in _BLOCK.finditer(text):
        notes = {name: value or '' for name, value in _NOTE.findall(match['notes'])}
        line = text.count('\n', 0, match.end('notes')) + 1
        found.append(Block(page, line, match['kind'].strip(), match['text'], notes))
    return found


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return {block.notes['file']: block.text for block in blocks_of(page) if 'file' in block.notes}


def programs_of(page: str) -> Iterator[tuple[Block, str | None]]:
    """(program, what it prints: a regular expression, or None where the page does not say)"""
    blocks = blocks_of(page)
    for at, block in enumerate(blocks):
        if block.kind != 'python' or {'file', 'not run'} & set(block.notes):
            continue
        below = blocks[at + 1] if at + 1 < len(blocks) else block
        if 'output' in below.notes:
            yield block, re.escape(below.text)
        else:
            yield block, block.notes['prints'] + r'\n' if 'prints' in block.notes else None


def calls_of(page: str) -> Iterator[Call]:
    """The calls in the ``console`` blocks of a page."""
    for block in blocks_of(page):
        if block.kind != 'console' or 'not run' in block.notes:
            continue
        for call in re.split(r'^\$ ', block.text, flags=re.MULTILINE)[1:]:
            line, _, printed = call.partition('\n')
            codes = re.findall(r'^\[(\d+)\]\n', printed, re.MULTILINE)
            printed = re.sub(r'^\[\d+\]\n', '', printed, flags=re.MULTILINE)
            shown = '.*'.join(map(re.escape, printed.split('…')))
            yield Call(block, line, shown, int(codes[0]) if codes else 0)


def loose_blocks(page: str, text: str | None = None) -> list[str]:
    """What is wrong with the blocks of a page: code that is not run and does not say so, notes without a sense."""
    wrong = []
    before: Block | None = None
    for block in blocks_of(page, text):
        unknown = block.notes.keys() - NOTES
        if unknown:
            wrong.append(f'{block.place}: unknown note {", ".join(unknown)}')
        run = block.kind in ('python', 'console') or block.kind.startswith('{')  # that is a directive of the site
        if not run and not NOT_CODE & block.notes.keys():
            wrong.append(f'{block.place}: a block that is not run and does not say so')
        if 'output' in block.notes and (before is None or before.kind != 'python'):
            wrong.append(f'{block.place}: the output of no program')
        before = block
    return wrong


def links_of(page: str) -> Iterator[tuple[str, str]]:
    """(file, part of it) of the links of a page that lead to files of the project."""
    text = re.sub(r'^```.*?^```$', '', (ROOT / page).read_text(encoding='utf-8'), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' not in link:
            file, _, part = link.partition('#')
            yield file, part


def anchors_of(path: Path) -> set[str]:
    """The parts of a page that links may name."""
    headings = re.findall(r'^#+ (.*)$', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).strip().replace(' ', '-') for heading in headings}
