"""TITANIC: a subset of the devices, selected by an integer program, and one micro-batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from collapipe_ns3.costs.workload import held_bytes
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.memory import recovery_copies
from collapipe_ns3.prediction.reach import reach, silent_links
from collapipe_ns3.schemes.pipeline import open_links

#: The most nodes of the solver's search tree; clusters of ten devices take a few. A time limit
#: would make the plan depend on the machine.
_MOST_NODES = 100_000

#: The longest time of a hop in seconds, so that the solver's numbers stay within their range.
_MOST_S = 1e9


class TITANIC:
    """Selection and partition like TITANIC (Su et al., INFOCOM 2024), executed sequentially.

    An integer program selects the devices of each cluster and the number of blocks on each, so as
    to minimise the time of one micro-batch:

      min Σ_k y_k·(2·t0_k + h_k) + n_k·c_k   s.t.  Σ n_k = L,  y_k ≤ n_k ≤ N_k·y_k,  Σ y_k ≥ least

    where y_k is 1 if device k takes part, n_k is its number of blocks, t0_k the fixed time of a
    computation, c_k its time for a block's forward and backward (the mean over all blocks), N_k the
    number of blocks that fit its memory if all are as large as the largest, and h_k the time of an
    activation and its gradient over the links to it, at the goodput last measured (0 without a
    measurement). The whole batch is one micro-batch (M = 1), stages are in the study's order, and
    power and bandwidth are left to the radio. Parameters travel to each receiver alone, store and
    forward, in fp32.

    The paper's own program is not public. The objective above, and that the model is split over at
    least `least_devices` (if a cluster has as many), are this project's interpretation of "selects
    a subset of clients with an integer program and partitions the model over them".
    """

    def __init__(
        self,
        least_devices: Annotated[
            int, Field(ge=1, description="The fewest devices of a cluster that share its model.")
        ] = 2,
    ) -> None:
        self.least_devices = least_devices

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The best selection for the latest measurements."""
        able = reach(observation)
        clusters = []
        for number, devices in enumerate(able.devices):
            if not devices:
                clusters.append(ClusterPlan(number, ()))
                continue
            offers = [_offer(device, number, observation) for device in devices]
            blocks = select(offers, observation.model.encoder_blocks, self.least_devices)
            stages, first = [], 0
            for device, count in zip(devices, blocks, strict=True):
                if count:
                    stages.append(Stage(device, first, first + count - 1))
                    first += count
            clusters.append(ClusterPlan(number, (Pipeline(tuple(stages), 1, "gpipe"),)))
        links = open_links(able.devices)
        return RoundPlan(round, "titanic", tuple(clusters), links, able.absences)

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links over which nothing arrived when they were last measured."""
        return silent_links(observation)

    def learn(self, outcome: RoundOutcome) -> None:
        """Does nothing: the next observation has the measured links."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A device: its fixed time, its time per block, and the most blocks that its memory holds."""

    fixed_s: float
    block_s: float
    most_blocks: int


def select(offers: Sequence[Offer], blocks: int, least_devices: int) -> list[int]:
    """The number of blocks on each device, by the integer program of `TITANIC`.

    If the model does not fit in the memory of all devices together, the blocks are divided evenly,
    so that the check of memory reports how much each device lacks.
    """
    # Importing this takes half a second, which is not needed to read a study.
    from scipy.optimize import Bounds, LinearConstraint, milp

    count = len(offers)
    most = np.array([min(offer.most_blocks, blocks) for offer in offers])
    usable = int((most > 0).sum())
    if most.sum() < blocks:
        return [len(part) for part in np.array_split(np.arange(blocks), count)]
    least = min(least_devices, usable, blocks)
    cost = [offer.fixed_s for offer in offers] + [offer.block_s for offer in offers]
    one, zero, each = np.ones(count), np.zeros(count), np.eye(count)
    constraints = [
        LinearConstraint(np.concatenate([zero, one]), blocks, blocks),
        LinearConstraint(np.concatenate([one, zero]), least, math.inf),
        LinearConstraint(np.hstack([-each, each]), 0, math.inf),  # n ≥ y
        LinearConstraint(np.hstack([-np.diag(most), each]), -math.inf, 0),  # n ≤ N·y
    ]
    bounds = Bounds(0, np.concatenate([one, most]))
    found = milp(
        cost,
        constraints=constraints,
        bounds=bounds,
        integrality=np.ones(2 * count),
        options={"node_limit": _MOST_NODES},
    )
    if found.x is None:
        raise RuntimeError(f"TITANIC's integer program: {found.message}")
    return [round(n) for n in found.x[count:]]


def _offer(device: str, cluster: int, observation: Observation) -> Offer:
    profile, blocks = observation.profiles[device], observation.model.blocks
    batch = observation.model.longest_shape(observation.batch_size)
    flops = sum(block.forward_flops(batch) + block.backward_flops(batch) for block in blocks)
    copies = observation.exchange.kept_copies(cluster) if observation.exchange else 0
    if observation.recovery is not None:
        copies += recovery_copies(observation.recovery, observation.optimizer)
    held = max(
        held_bytes(block, observation.optimizer)
        + copies * block.parameter_bytes
        + block.kept_bytes(batch)
        for block in blocks
    )
    message = blocks[0].gradient.bytes_on_air("fp32", batch)
    near = {control_unit(cluster), *observation.devices[cluster]}
    rates = [
        link.goodput_bps
        for link in observation.links
        if device in (link.src, link.dst)
        and {link.src, link.dst} <= near
        and 0 < link.goodput_bps < math.inf
    ]
    hop_s = 2 * 8 * message / (sum(rates) / len(rates)) if rates else 0.0
    hop_s = min(hop_s, _MOST_S)
    return Offer(
        fixed_s=2 * profile.overhead_s + hop_s,
        block_s=flops / len(blocks) / profile.flops_per_s,
        most_blocks=int(profile.memory_bytes // held),
    )
