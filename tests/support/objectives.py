"""Objectives of a round of made-up clusters, for tests of the optimiser."""

from __future__ import annotations

import fleets
import numpy as np

from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.objective import Objective
from collapipe_ns3.dssra.segments.problem import Choices
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge


def problem(
    seed: int,
    clusters: int,
    devices: int,
    blocks: int,
    radio: str,
    *,
    priced: bool = True,
    micro_batches: tuple[int, ...] = (1, 2, 4),
    memory: float = 20.0,
) -> Objective:
    rng = np.random.default_rng(seed)
    seen = fleets.observation(
        rng, clusters, devices, radio=radio, blocks=blocks, batch_size=8, memory=memory
    )
    work = Workload.of(
        seen.model,
        batch_size=8,
        local_steps=2,
        optimizer=OPTIMIZERS["adamw"],
        source_length=9,
        target_length=10,
    )
    shape = (clusters, devices + 1)
    joule = 10 ** rng.uniform(-2, 1, shape) if priced else np.zeros(shape)
    return Objective(
        Fleet.of(seen, Knowledge()),
        work,
        GradientNoise(),
        1.0,
        joule,
        0.0,
        Choices(micro_batches, one_f_one_b=False),
        1.0,
    )
