"""Reads run directories as tidy pandas frames; knows the record schema and nothing else."""

from analysis.load import RunTables, load

__all__ = ["RunTables", "load"]
