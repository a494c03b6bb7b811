"""The import names of eisenmp 1.0, nothing else."""
