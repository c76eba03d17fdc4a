"""Imported by a fork server: whatever it forks has ns-3, torch and this package loaded."""

import contextlib

import torch

from collapipe_ns3 import runner
from ns3_scenarios import runtime

torch.set_num_threads(1)
# What goes wrong here would end the server without a word; in a cell it is told.
with contextlib.suppress(Exception):
    runtime.native()

__all__ = ["runner"]
