"""Worker of the longrun example: one line of the table in, one scored flight out."""

import csv
import math
from typing import Any

CODES = 40  # letters and digits count as numbers below that


def score(line: str, toolbox: Any) -> dict[str, Any]:
    """How much a flight was off its plan: 0 (as planned) to 1000 (or never arrived).

    Whole numbers, so that sums are the same in whatever order they are made.
    """
    row = dict(zip(toolbox.columns, next(csv.reader([line])), strict=True))
    delay, distance = row["arr_delay"], int(row["distance"])
    points = 1000
    if delay != "NA":
        expected = _usual(row["carrier"], int(row["hour"]), distance)
        points = round(1000 / (1 + math.exp((expected - int(delay)) / 30)))
    return {"flight": row["carrier"] + row["flight"], "month": int(row["month"]), "score": points}


def _usual(carrier: str, hour: int, distance: int) -> float:
    """Minutes that such a flight is late: a made-up model that costs about as much as a small real one."""
    code = sum(ord(letter) % CODES for letter in carrier)
    waves = (math.sin(hour * k / 24) * math.cos(distance / (100 * k)) for k in range(1, 40))
    return 10 + code / 20 + 5 * sum(waves)
