"""Imported by a fork server: whatever it forks has ns-3, torch and this package loaded."""

import torch

from collapipe_ns3 import runner
from ns3_scenarios import runtime

torch.set_num_threads(1)
runtime.native()

__all__ = ["runner"]
