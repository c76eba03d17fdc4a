"""Rounds of two clusters on exact links, whose parameters travel in other formats than fp32."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import lab

from bridge.fixed import Link
from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.exchange import Blocks, Units
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, RoundPlan, validate
from collapipe_ns3.schedule import SCHEDULES

INT8 = ParameterFormat("int8", difference=True)
TOP_K = ParameterFormat("fp16", difference=True, largest=0.25)
SHARES = (0.5, 0.5)
MODEL = Units(embedding=True, blocks=(Blocks(0, 3),))
DEVICES = (("c0.d0", "c0.d1"), ("c1.d0", "c1.d1"))


def plan(
    round: int,
    down: ParameterFormat = INT8,
    up: ParameterFormat = TOP_K,
    *,
    swapped: bool = False,
    absent: Sequence[int] = (),
) -> RoundPlan:
    """Two clusters, each served on its own: the first has two segments, the second one.

    If `swapped`, the second has it on its other device. Clusters that are `absent` sit out.
    """
    pipes = [lab.pipeline(0, (2, 2), 2, "gpipe"), lab.pipeline(1, (4,), 2, "gpipe")]
    if swapped:
        (stage,) = pipes[1].stages
        stages = (dataclasses.replace(stage, device="c1.d1"),)
        pipes[1] = dataclasses.replace(pipes[1], stages=stages)
    clusters = (ClusterPlan(n, () if n in absent else (p,)) for n, p in enumerate(pipes))
    groups = (Group((0,), down), Group((1,), down))
    made = RoundPlan(round, "test", tuple(clusters)).arranged_by(
        Arrangement(groups, uploads={0: up, 1: up})
    )
    schedules = tuple(SCHEDULES)
    validate(made, devices=DEVICES, blocks=4, batch_size=12, schedules=schedules)
    return made


def sent(outcome: RoundOutcome) -> dict[tuple[str, str], int]:
    """Bytes of parameters over each hop; optimizer states follow them."""
    sizes: dict[tuple[str, str], int] = {}
    for each in outcome.deliveries:
        if each.kind in ("model", "parameters"):
            sizes.setdefault((each.src, each.dst), each.size_bytes)
    return sizes


def run(
    plans: Sequence[RoundPlan],
    state: TrainingState,
    links: Mapping[tuple[str, str], Link] | None = None,
) -> list[RoundOutcome]:
    """Executes the plans one after the other, with two local steps each."""
    return lab.run_rounds(plans, state, shares=SHARES, local_steps=2, links=links)
