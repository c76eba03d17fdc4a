"""What the optimizers cost, by name; needs no torch, so that a study can be checked without it."""

from __future__ import annotations

from collections.abc import Mapping

#: Element-wise FLOPs a parameter: SGD multiplies and adds; AdamW's update (Loshchilov & Hutter
#: 2019, algorithm 2) takes 3 for each moment, 2 for decay, and 6 for the corrected quotient.
OPTIMIZER_FLOPS: Mapping[str, int] = {"sgd": 2, "adamw": 14}

#: Bytes of state a parameter keeps after its first step, in units of the parameter's own bytes.
OPTIMIZER_STATE: Mapping[str, int] = {"sgd": 0, "adamw": 2}


def training_bytes(optimizer: str, parameter_bytes: int) -> int:
    """Memory that parameters take in training: themselves, their gradients, optimizer states."""
    return parameter_bytes * (2 + OPTIMIZER_STATE[optimizer])
