"""``eisenmp doctor``: what this machine offers, and whether it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

import click

from eisenmp.cli.exits import FAILED, FINE
from eisenmp.cli.machine import BROKEN, NOTE, Finding, look
from eisenmp.cli.selftest import check_ways

__all__ = ["command"]

_MARKS: Final = {"fine": ("ok", "green"), "note": ("note", "yellow"), "broken": ("BROKEN", "red")}


@click.command("doctor", short_help="What this machine offers, and whether it works.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
@click.option("--no-test", is_flag=True, help="Only look; run no job.")
def command(as_json: bool, no_test: bool) -> int:
    """Tell what this machine offers to eisenmp, and run a small job in each way that there is.

    That takes ten seconds at most, two in practice. The exit code is 1 when something is broken. A note is nothing bad:
    something is missing that eisenmp can do without, or that is worth knowing.
    """
    findings: list[Finding] = []
    for finding in _all(test=not no_test):
        findings.append(finding)
        if not as_json:
            _show(finding)
    broken = [finding.name for finding in findings if finding.state == BROKEN]
    if as_json:
        click.echo(json.dumps({"broken": broken, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        notes = sum(finding.state == NOTE for finding in findings)
        verdict = f"broken: {', '.join(broken)}" if broken else "everything works"
        click.echo(f"\n{verdict}" + (f"; {notes} notes" if notes > 1 else "; 1 note" if notes else ""))
    return FAILED if broken else FINE


def _all(*, test: bool) -> Iterator[Finding]:
    yield from look()
    if test:
        yield from check_ways()


def _show(finding: Finding) -> None:
    mark, colour = _MARKS[finding.state]
    click.echo(f"{click.style(f'{mark:<6}', fg=colour)} {finding.name:<15} {finding.shown}")
    if finding.follows:
        click.echo(f"{'':<23}-> {finding.follows}")
