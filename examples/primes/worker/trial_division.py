"""Worker of the prime example: trial division, slow on purpose, so that there is real work to spread."""

import math
from typing import Any


def worker_entrance(toolbox: Any) -> bool:
    """Do one chunk; eisenmp calls again until the answer is False."""
    header, *rows = toolbox.numbers_in.get()
    if toolbox.STOP_MSG in rows:
        return False
    primes = [number for number in rows if is_prime(number)]
    toolbox.mp_output_q.put([toolbox.OUTPUT_HEADER + header, primes])
    return True


def is_prime(number: int) -> bool:
    """Divide by 2, 3 and then only by numbers next to a multiple of 6: all other divisors are multiples of 2 or 3."""
    if number < 4:
        return number > 1
    if number % 2 == 0 or number % 3 == 0:
        return False
    return all(number % low and number % (low + 2) for low in range(5, math.isqrt(number) + 1, 6))
