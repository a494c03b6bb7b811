"""The examples of long-lived workers: servers, asgi, recorder. Each ends by itself, and nothing is lost."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from eisenmp.listeners import SPREADS

Load = Callable[[str], ModuleType]


def test_three_groups_of_flask_servers_on_one_database(load: Load) -> None:
    pytest.importorskip("flask")
    report = load("servers/manager.py").manager_entry(servers=2, requests=4)
    assert [group for group, *_ in report.rows] == ["blue", "blue", "green", "green", "red", "red"]
    assert [visits for *_, visits in report.rows] == [4] * 6
    assert report.asked == report.recorded == 24
    before = {group: pid for group, _, pid, _, _ in report.rows}
    after = {group: pid for group, _, _, pid, _ in report.rows}
    assert len(set(before.values())) == 3, "a process for each group"
    assert before["blue"] != after["blue"], "it was killed"
    assert (before["green"], before["red"]) == (after["green"], after["red"])


@pytest.mark.skipif(not SPREADS, reason="without sockets of their own, a restart may cost a request")
@pytest.mark.parametrize("workers", [1, 2])
def test_an_application_on_every_core_is_replaced_while_it_serves(run: Callable[..., str], workers: int) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    said = run("asgi", "--workers", str(workers), "--requests", "200", "--clients", "4")
    assert "failed requests: 0" in said
    total = re.search(r"^([\d,]+) requests to 127\.0\.0\.1:\d+ in", said, re.MULTILINE)
    assert total is not None
    assert int(total[1].replace(",", "")) >= 400
    processes = [int(count.replace(",", "")) for count in re.findall(r"process \d+: ([\d,]+)", said)]
    assert len(processes) >= 2
    assert sum(processes) == int(total[1].replace(",", ""))


@pytest.mark.parametrize(
    ("year", "status", "days"), [(2026, 200, 365), (2024, 200, 366), (1, 200, 365), (9999, 404, 0)]
)
def test_the_page_of_the_application(load: Load, year: int, status: int, days: int) -> None:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    app = load("asgi/worker/serve.py").app
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    path = f"/calendar/{year}"
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", "headers": []}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == status
    found = json.loads(sent[1]["body"])
    if not days:
        assert found == {"error": "a year from 1 to 9998, not 9999"}
        return
    assert len(found) == days
    last = date(year, 12, 31)
    assert found[-1] == {"day": str(last), "name": f"{last:%A}", "week": last.isocalendar().week}


def test_recorders_write_what_was_sent(load: Load, tmp_path: Path) -> None:
    manager = load("recorder/manager.py")
    report = manager.manager_entry(workers=2, streams=3, seconds=0.2, folder=str(tmp_path))
    assert report.sound
    assert [worker for _, worker, _, _ in report.rows] == ["Process-1", "Process-2", "Process-1"]
    for name, _, told, size in report.rows:
        assert told == size == (tmp_path / f"{name}.bin").stat().st_size
    assert report.messages == 6
    assert report.blocks >= 3


def test_a_file_with_a_gap_is_not_sound(load: Load, tmp_path: Path) -> None:
    is_sound = load("recorder/manager.py").is_sound
    for content, sound in ((b"abcabcab", True), (b"abcacabc", False), (b"", False)):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert is_sound(str(path), "abc") is sound
