"""Loads run directories as tidy pandas frames; of this project it knows only their schema."""

from analysis.load import NotARun, NotWhole, Run, Runs, load
from run_directory.tables import repeatable

__all__ = ["NotARun", "NotWhole", "Run", "Runs", "load", "repeatable"]
