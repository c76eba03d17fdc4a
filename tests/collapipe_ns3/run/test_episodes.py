"""The effect of starting a new simulation in each round, compared with one simulation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bridge import loop as simulated
from bridge.compute import TorchThread
from collapipe_ns3 import Study
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.run.runner import Run
from collapipe_ns3.topology import layout
from ns3_scenarios import network

ROUNDS = 2


def fresh(stacks: Sequence[str]) -> Run:
    # What a round is tested on changes nothing of its training.
    changes = ["scheme.name=pipeline", "task.test_size=20", *stacks]
    return Run(Study.load("quickstart", changes).config, torch.device("cpu"))


def as_episodes(run: Run) -> list[RoundOutcome]:
    return [record.outcome for record in run.rounds(ROUNDS)]


def in_one_simulation(run: Run) -> list[RoundOutcome]:
    """The same plans in one network that keeps its connections, attachments and rates."""
    steps, optimizer = run.config.training.least_steps, OPTIMIZERS["adamw"]
    training = Training(run.task.batches, run.task.shares, steps, optimizer)
    net = network.build(layout.scenario(run.config, run.seed, 0))

    async def rounds(site: Site) -> list[RoundOutcome]:
        plan = run.plan()
        outcomes = []
        for number in range(ROUNDS):
            numbered = type(plan)(number, plan.scheme, plan.clusters, plan.links)
            outcomes.append(await run_round(site, run.state, numbered, training))
        return outcomes

    try:
        with TorchThread() as thread:
            site = Site(net, run.profiles, thread)
            return simulated.run(net, rounds(site))
    finally:
        net.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stacks", "longest"),
    [((), 0.06), (("radio.d2d=wifi", "radio.d2e=lte"), 0.2)],
    ids=["OFDMA", "Wi-Fi and LTE"],
)
def test_an_episode_forgets_connections_and_little_else(
    stacks: Sequence[str], longest: float
) -> None:
    """Training is equal bit for bit; the first round takes as long, later ones a little longer.

    docs/protocol.md states the difference over several seeds.
    """
    episodes, continuous = as_episodes(fresh(stacks)), in_one_simulation(fresh(stacks))
    assert [o.loss for o in episodes] == [o.loss for o in continuous]
    assert episodes[0].duration_ns == continuous[0].duration_ns
    alone, joined = (sum(o.duration_ns for o in side[1:]) for side in (episodes, continuous))
    assert -0.02 < alone / joined - 1 < longest
