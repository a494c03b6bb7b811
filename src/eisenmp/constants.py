"""Texts that manager and worker files share. ``eisenmp.utils.eisenmp_constants`` gives them their 1.0 home."""

from __future__ import annotations

from typing import Final

# The text of the closing row. It carries 128 random bits, so it does not occur in data by chance, and it holds only
# printable ASCII, so that `STOP_MSG in str(row)` finds it in the repr of a list as well.
STOP_MSG: Final = "_eisenmp_STOP_b8f1d2c96a7e4f03a5d0c4e19b7763fd_"
OUTPUT_HEADER: Final = "OUTPUT_HEADER;"
INPUT_HEADER: Final = "INPUT_HEADER;"
PERF_HEADER_ETA: Final = "PERF_HEADER_ETA;"
PERF_CURRENT_ETA: Final = "PERF_CURRENT_ETA;"
TICKET_MARK: Final = "_TID_"
CLOSING_MARK: Final = "_END_"

DEFAULT_QUEUES: Final = ("mp_input_q", "mp_output_q", "mp_print_q", "mp_info_q", "mp_tools_q")
DEFAULT_SUFFIX: Final = " (default)"


def ticket_header(queue_name: str, serial: int) -> str:
    """Row 0 of a chunk: ``'<queue name>;_TID_<n>;'``."""
    return f"{queue_name};{TICKET_MARK}{serial};"


def closing_header(queue_name: str) -> str:
    """Row 0 of the closing list. It names the queue and no ticket."""
    return f"{queue_name};{CLOSING_MARK};"


def parse_header(text: str) -> tuple[str, int | None] | None:
    """Read a header, with or without a leading ``OUTPUT_HEADER``: (queue name, serial or None for the closing list).

    Returns None for a text that is no header.
    """
    text = text.removeprefix(OUTPUT_HEADER).removeprefix(INPUT_HEADER)
    name, mark, rest = text.rpartition(";" + TICKET_MARK)
    digits = rest[:-1]
    if mark and rest.endswith(";") and digits.isdecimal() and len(digits) <= 20 and int(digits) < 1 << 64:
        return name, int(digits)  # a ticket's number travels as 64 bits
    if text.endswith(f";{CLOSING_MARK};"):
        return text[: -len(CLOSING_MARK) - 2], None
    return None
