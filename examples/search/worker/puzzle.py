"""Worker of the search example: does one assignment of digits to letters solve SEND + MORE = MONEY?"""

from collections.abc import Sequence

import eisenmp


def try_digits(rows: Sequence[tuple[int, ...]]) -> int:
    """Try each row, the digits of S, E, N, D, M, O, R, Y. A solution ends the whole search; else rows are counted."""
    for s, e, n, d, m, o, r, y in rows:
        if not s or not m:
            continue  # no number begins with 0
        send = 1000 * s + 100 * e + 10 * n + d
        more = 1000 * m + 100 * o + 10 * r + e
        money = 10000 * m + 1000 * o + 100 * n + 10 * e + y
        if send + more == money:
            raise eisenmp.StopJob((send, more, money))
    return len(rows)
