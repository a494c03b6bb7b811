"""The job file: what has become of every ticket, in one SQLite file. A job that is started again on it goes on.

===============  ====================================================================
``ranges``       sets of tickets as ranges; pure
``borders``      which ticket has which items, as runs; what is to be done again; pure
``codec``        outcomes to rows and back; pure
``fingerprint``  digests of what shapes results
``schema``       the tables, and the first look at a file
``lock``         one manager at a time
``trust``        whose file it is
``journal``      the manager's side: opens it, knows what is done
``writer``       the thread that writes
``archive``      what the parts of a running job see of it;  ``opening``  makes one
``replay``       a source that is fed again
``reader``       for reading, also from elsewhere and while the job runs
``window``       what it reads at a time;  ``summary``  what it tells at a glance
``retry``        forgets failures;  ``status``  how it gets on
===============  ====================================================================
"""

from __future__ import annotations

from eisenmp.jobfile.journal import Journal
from eisenmp.jobfile.reader import JobReader
from eisenmp.jobfile.summary import FailureRow, JobSummary, QueueSummary, RunSummary

__all__ = ["FailureRow", "JobReader", "JobSummary", "Journal", "QueueSummary", "RunSummary"]
