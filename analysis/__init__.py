"""Reads run directories as tidy pandas frames; knows the record schema and nothing else."""

from analysis.load import NotARun, NotWhole, RunTables, load
from run_directory.tables import repeatable

__all__ = ["NotARun", "NotWhole", "RunTables", "load", "repeatable"]
