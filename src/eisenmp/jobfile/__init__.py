"""The job file: what has become of every ticket, in one SQLite file. A job that is started again on it goes on.

=============  =======================================================================
``ranges``     sets of tickets as ranges; pure
``borders``    which ticket has which items, as runs; what is to be done again; pure
``codec``      outcomes to rows and back; pure
``schema``     the tables, and the first look at a file
``lock``       one manager at a time
``trust``      whose file it is
``writer``     the thread that writes
``journal``    the manager's side: opens it, knows what is done
``reader``     for reading, also from elsewhere and while the job runs
=============  =======================================================================
"""

from __future__ import annotations

from eisenmp.jobfile.journal import Journal
from eisenmp.jobfile.reader import FailureRow, JobReader, JobSummary, QueueSummary, RunSummary

__all__ = ["FailureRow", "JobReader", "JobSummary", "Journal", "QueueSummary", "RunSummary"]
