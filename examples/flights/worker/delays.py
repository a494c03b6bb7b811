"""Worker of the flights example, in the plain style: a list in, a result out, no queue in sight."""

import csv
from typing import Any


def chunk_sums(rows: list[str], toolbox: Any) -> dict[str, tuple[int, int, int]]:
    """For each airline of the chunk: flights that arrived, the sum of their delays in minutes, flights that did not.

    The rows are lines of text as they stand in the file, because parsing them is work that the manager should not do
    alone.
    """
    carrier_at, delay_at = toolbox.carrier_column, toolbox.delay_column
    sums: dict[str, tuple[int, int, int]] = {}
    for fields in csv.reader(rows):  # right with quoted commas too, unlike str.split
        arrived, minutes, lost = sums.get(fields[carrier_at], (0, 0, 0))
        delay = fields[delay_at]
        if delay == "NA":  # cancelled or diverted: no arrival, so no delay that a mean could use
            lost += 1
        else:
            arrived += 1
            minutes += int(delay)
        sums[fields[carrier_at]] = (arrived, minutes, lost)
    return sums
