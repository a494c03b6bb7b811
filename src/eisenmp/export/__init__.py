"""Results of a job file as a file that other programs read.

=============  =======================================================================
``rows``       outcomes as rows, a window of them at a time
``lines``      those of ``eisenmp map``: lines as they were printed
``plain``      any value as one that all formats know; pure
``shape``      which columns a table has; pure
``texts``      JSON lines, CSV, lines;  ``database``  SQLite;  ``parquet``  the extra
``whole``      a file that is there whole or not at all
=============  =======================================================================
"""

from __future__ import annotations

from eisenmp.export.exporting import FORMATS, Exported, export_results

__all__ = ["FORMATS", "Exported", "export_results"]
