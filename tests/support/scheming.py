"""Observations for schemes: clusters of any size, devices of given speed and memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import lab

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.observed import Observation


def observation(
    sizes: Sequence[int],
    blocks: int,
    batch_size: int = 12,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> Observation:
    """Clusters with so many devices each; `changed` replaces figures of nodes' profiles."""
    devices = tuple(tuple(f"c{n}.d{k}" for k in range(size)) for n, size in enumerate(sizes))
    names = ["bs", *(f"c{n}.cu" for n in range(len(sizes))), *(d for each in devices for d in each)]
    profiles = lab.profiles(names, {})
    for node, figures in (changed or {}).items():
        profiles[node] = dataclasses.replace(profiles[node], **figures)
    return Observation(
        devices=devices,
        profiles=profiles,
        model=closed_form(dataclasses.replace(lab.SPEC, encoder_blocks=blocks)),
        batch_size=batch_size,
        local_steps=1,
        optimizer=OPTIMIZERS["sgd"],
        **more,
    )
