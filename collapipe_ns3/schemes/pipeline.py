"""PipeLine: the encoder in equal parts on all devices, without optimisation of resources."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, LinkPlan, Pipeline, RoundPlan, Stage
from collapipe_ns3.prediction.reach import reach, silent_links


class PipeLine:
    """Pipeline parallelism like GPipe (Huang et al., NeurIPS 2019).

    Each of a cluster's devices, in the study's order, has a contiguous segment with an equal number
    of blocks. The number of micro-batches is fixed. Power and bandwidth are left to the radio:
    every node sends at its maximum power unless the study's `radio` says otherwise, and parameters
    travel to each receiver alone, store and forward, in fp32. CollaPipe's paper names the baseline
    PipeLine without defining it fully; equal parts and the fixed order are this project's
    interpretation.
    """

    def __init__(
        self,
        micro_batches: Annotated[
            int, Field(ge=1, description="Parts that a batch is split into.")
        ] = 4,
        schedule: Annotated[
            Literal["gpipe", "1f1b"], Field(description="The pipeline schedule.")
        ] = "gpipe",
        recompute: Annotated[
            bool,
            Field(
                description="Devices keep only the inputs of blocks, and compute each block twice."
            ),
        ] = False,
    ) -> None:
        self.micro_batches = micro_batches
        self.schedule = schedule
        self.recompute = recompute

    def plan(self, round: int, observation: Observation) -> RoundPlan:
        """The same plan every round, for the devices that can take part."""
        able = reach(observation)
        clusters = tuple(
            ClusterPlan(
                number,
                (
                    Pipeline(
                        equal_segments(devices, observation.model.encoder_blocks, self.recompute),
                        self.micro_batches,
                        self.schedule,
                    ),
                )
                if devices
                else (),
            )
            for number, devices in enumerate(able.devices)
        )
        return RoundPlan(round, "pipeline", clusters, open_links(able.devices), able.absences)

    def sounding(self, observation: Observation) -> list[tuple[str, str]]:
        """The links over which nothing arrived when they were last measured."""
        return silent_links(observation)

    def learn(self, outcome: RoundOutcome) -> None:
        """Does nothing: the plan never changes."""


def equal_segments(
    devices: tuple[str, ...], blocks: int, recompute: bool = False
) -> tuple[Stage, ...]:
    """Contiguous segments whose lengths differ by one block at most, the longer ones first.

    If there are fewer blocks than devices, each of the first `blocks` devices gets one. All of them
    recompute, or none.
    """
    used = devices[:blocks]
    size, longer = divmod(blocks, len(used))
    stages, first = [], 0
    for place, device in enumerate(used):
        count = size + (place < longer)
        stages.append(Stage(device, first, first + count - 1, recompute))
        first += count
    return tuple(stages)


def open_links(clusters: Sequence[tuple[str, ...]]) -> tuple[LinkPlan, ...]:
    """Every link of the pipelines in both directions, without a power and a bandwidth.

    `clusters` lists the devices of each cluster that take part; none if the cluster sits out.
    """
    links = []
    for number, devices in enumerate(clusters):
        if not devices:
            continue
        control = control_unit(number)
        line = [control, *devices, control]
        pairs = [*pairwise(line), (control, SERVER)]
        pairs += [(dst, src) for src, dst in pairs]
        pairs += [(control, device) for device in devices] + [(d, control) for d in devices]
        links += [LinkPlan(src, dst) for src, dst in dict.fromkeys(pairs)]
    return tuple(links)
