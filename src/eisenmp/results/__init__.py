"""What became of every ticket, for the user: in memory now, in a job file later."""

from __future__ import annotations

from eisenmp.results.memory import Closing, Outcome, OutcomeReader, QueueResults, Record, Results

__all__ = ["Closing", "Outcome", "OutcomeReader", "QueueResults", "Record", "Results"]
