"""A soak: long jobs under random faults. ``make soak``, or ``python -m tests.soak --help``."""
