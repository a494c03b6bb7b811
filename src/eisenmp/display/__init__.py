"""What a job shows while it runs and when it ends. Displays only listen: nothing here is on the data's way."""

from __future__ import annotations

from eisenmp.display.line import LineDisplay
from eisenmp.display.report import print_results

__all__ = ["LineDisplay", "print_results"]
