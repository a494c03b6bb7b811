"""The constants of eisenmp 1.0 under their old import name."""

from eisenmp.constants import (
    INPUT_HEADER,
    OUTPUT_HEADER,
    PERF_CURRENT_ETA,
    PERF_HEADER_ETA,
    STOP_MSG,
)

__all__ = ["INPUT_HEADER", "OUTPUT_HEADER", "PERF_CURRENT_ETA", "PERF_HEADER_ETA", "STOP_MSG"]
