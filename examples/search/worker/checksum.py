"""Worker of the search example: which numbers have an MD5 checksum that begins as wanted?"""

from collections.abc import Sequence
from hashlib import md5
from typing import Any


def first_hit(rows: Sequence[tuple[str, ...]], toolbox: Any) -> tuple[int, str | None]:
    """How many rows were tried, and the first number among them that fits, None: none does.

    It does not stop the job: there may be a smaller one in a chunk that another worker still tries.
    """
    for at, digits in enumerate(rows, 1):
        number = "".join(digits)
        if md5(number.encode()).hexdigest().startswith(toolbox.prefix):
            return at, number
    return len(rows), None
