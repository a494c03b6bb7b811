"""What became of every ticket, for the user: in memory now, in a job file later."""

from __future__ import annotations

from eisenmp.results.memory import QueueResults, Results
from eisenmp.results.outcome import Closing, Form, Outcome, Part, Record
from eisenmp.results.reader import OutcomeReader

__all__ = ["Closing", "Form", "Outcome", "OutcomeReader", "Part", "QueueResults", "Record", "Results"]
