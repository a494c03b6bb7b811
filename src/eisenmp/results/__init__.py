"""What became of every ticket, for the user: in memory, or by way of a job file."""

from __future__ import annotations

from eisenmp.results.memory import Results
from eisenmp.results.outcome import Closing, Form, Outcome, Part, Record
from eisenmp.results.reader import OutcomeReader
from eisenmp.results.sequence import QueueResults

__all__ = ["Closing", "Form", "Outcome", "OutcomeReader", "Part", "QueueResults", "Record", "Results"]
