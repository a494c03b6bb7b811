"""``Result.result_dict`` of eisenmp 1.0: the results of the newest job."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = ["Result"]


class Result:
    """Holds ``result_dict``: ``{queue name: [(ticket, result), …]}`` of the job that started last.

    It is filled when the job ends, and only with ``RESULTS_STORE = True`` (or ``RESULTS_DICT_PRINT``).
    """

    result_dict: ClassVar[dict[str, list[tuple[int, Any]]]] = {}
