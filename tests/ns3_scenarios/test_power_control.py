"""Power where a plan sets none: open loop and fixed, against their formulas, until a plan does."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ofdma_lab import Lab, Node, loss_db
from radio_lab import run, scenario

from collapipe_ns3.plan import LinkPlan
from ns3_scenarios import network
from ns3_scenarios.checks import problems
from ns3_scenarios.numerology import BLOCK_HZ
from ns3_scenarios.power import FixedPower, OpenLoop
from ns3_scenarios.readings import RadioDelivery, RadioLinkState
from ns3_scenarios.scenario import LteSpec, OfdmaSpec, ScenarioSpec, WifiSpec

MUCH = 10**8


def open_loop_w(
    p0_dbm: float, alpha: float, path_loss_db: float, blocks: Any, most_w: float
) -> Any:
    """TS 36.213, 5.1.1.1, in watts."""
    dbm = p0_dbm + 10 * np.log10(blocks) + alpha * path_loss_db
    return np.minimum(10 ** (dbm / 10 - 3), most_w)


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
@pytest.mark.parametrize(("p0_dbm", "alpha"), [(-80.0, 0.8), (-60.0, 0.6), (-95.0, 1.0)])
def test_each_tti_is_sent_at_the_power_of_its_blocks(
    engine: str, p0_dbm: float, alpha: float
) -> None:
    """Two links of different path loss; a small grant, a large one, and the rest at the end."""
    nodes = [Node(0.0), Node(40.0, watts=0.2), Node(250.0, 10.0, watts=0.02)]
    with closing(Lab(nodes, [(0, 0, 1, 0), (0, 0, 2, 0)], engine=engine)) as lab:
        for link, blocks in ((0, 7.0), (1, 30.0)):
            lab.of[link].openLoop.p0 = 10 ** (p0_dbm / 10 - 3)
            lab.of[link].openLoop.alpha = alpha
            lab.of[link].granted = blocks
            lab.send(link, 3_000 if link else 20_000)
        lab.radio.Sound(lab.of[0], 1)
        lab.run()
        sent, states = lab.allocated, lab.states
        energy_j = sum(item.energy_j for item in lab.items) + lab.soundings[:, 4].sum()
    used = set()
    for link, blocks in ((0, sent[sent[:, 0] == 0]), (1, sent[sent[:, 0] == 1])):
        far_m = math.hypot(nodes[link + 1].x, nodes[link + 1].y)
        most_w = nodes[link + 1].watts
        expected = open_loop_w(p0_dbm, alpha, loss_db(far_m), blocks[:, 2], most_w)
        assert blocks[:, 3] == pytest.approx(expected, rel=1e-9)
        used |= set(blocks[:, 2])
    assert len(used) > 2
    sounding_w = open_loop_w(p0_dbm, alpha, loss_db(40.0), 50, 0.2)
    senders = states[states[:, 1] == 1]
    assert senders[0, 4] == pytest.approx(float(sounding_w), rel=1e-9)
    assert energy_j == pytest.approx((senders[:, 3] * senders[:, 4]).sum(), rel=1e-9)


def test_a_node_that_walks_away_raises_its_power() -> None:
    lab = Lab([Node(0.0), Node(50.0, vx=30.0)], [(0, 0, 1, 0)])
    with closing(lab):
        lab.of[0].openLoop.p0 = 1e-13
        lab.of[0].openLoop.alpha = 1.0
        lab.send(0, MUCH)
        lab.run(2.0)
        first, last = lab.allocated[0], lab.allocated[-1]
    assert first[2] == last[2] == 50
    assert 10 * math.log10(last[3] / first[3]) == pytest.approx(loss_db(110) - loss_db(50), abs=0.1)


def after(
    spec: ScenarioSpec, link: tuple[str, str], *grants: LinkPlan
) -> tuple[RadioDelivery, RadioLinkState]:
    """One transfer over a link, and the link's measurement."""
    with closing(network.build(spec)) as net:
        net.apply(grants)

        async def main() -> RadioDelivery:
            return await net.transfer(*link, 200_000)

        delivery = run(net, main())
        return delivery, next(x for x in net.link_state() if (x.src, x.dst) == link)


UP, DOWN, SIDE = ("c0.cu", "bs"), ("bs", "c0.cu"), ("c0.cu", "c0.d0")
LOSS_DB = 38.9 + 30 * math.log10(50.0)


def edge(
    power: OpenLoop | FixedPower | None, stack: type[LteSpec] | type[OfdmaSpec]
) -> ScenarioSpec:
    return replace(scenario(), d2e=stack(power=power))


@pytest.mark.parametrize("stack", [LteSpec, OfdmaSpec])
@pytest.mark.parametrize(("p0_dbm", "alpha"), [(-78.0, 0.7), (-92.0, 1.0), (-20.0, 0.8)])
def test_an_uplink_follows_the_open_loop(
    stack: type[LteSpec] | type[OfdmaSpec], p0_dbm: float, alpha: float
) -> None:
    """ns-3's LteUePowerControl and the OFDMA radio alike; the last exceeds the maximum power."""
    delivery, link = after(edge(OpenLoop(p0_dbm, alpha), stack), UP)
    assert delivery.outcome == "delivered"
    blocks = delivery.bandwidth_hz / BLOCK_HZ
    expected_w = open_loop_w(p0_dbm, alpha, LOSS_DB, blocks, 0.1)
    assert 10 * math.log10(delivery.tx_power_w / expected_w) == pytest.approx(0.0, abs=0.05)
    assert 10 * math.log10(link.gain) == pytest.approx(-LOSS_DB, abs=0.05)
    down, _ = after(edge(OpenLoop(p0_dbm, alpha), stack), DOWN)
    assert down.tx_power_w <= 1.0 + 1e-9
    if stack is OfdmaSpec:
        assert down.tx_power_w == pytest.approx(1.0)  # stations send at their most


@pytest.mark.parametrize("stack", [LteSpec, OfdmaSpec])
def test_a_plans_power_comes_before_the_open_loop(stack: type[LteSpec] | type[OfdmaSpec]) -> None:
    spec = edge(OpenLoop(-92.0, 1.0), stack)
    delivery, link = after(spec, UP, LinkPlan(*UP, tx_power_w=0.05))
    assert delivery.tx_power_w == pytest.approx(0.05)
    assert link.tx_power_w == pytest.approx(0.05)


FIXED = FixedPower(0.02)


@pytest.mark.parametrize(
    ("spec", "link", "watts"),
    [
        (replace(scenario(), d2d=WifiSpec(power=FIXED)), SIDE, 0.02),
        (replace(scenario(), d2d=OfdmaSpec(power=FIXED)), SIDE, 0.02),
        (edge(FIXED, LteSpec), UP, 0.02),
        (edge(FIXED, OfdmaSpec), UP, 0.02),
        (edge(FIXED, OfdmaSpec), DOWN, 1.0),
        (edge(FixedPower(5.0), OfdmaSpec), UP, 0.1),
        (edge(None, OfdmaSpec), UP, 0.1),
    ],
)
def test_a_fixed_power_is_every_nodes_but_a_stations(
    spec: ScenarioSpec, link: tuple[str, str], watts: float
) -> None:
    assert after(spec, link)[0].tx_power_w == pytest.approx(watts)


def test_a_sounding_is_sent_at_no_more_than_a_node_has() -> None:
    with closing(network.build(edge(FixedPower(5.0), OfdmaSpec))) as net:
        run(net, net.sound([UP]))
        (link,) = [each for each in net.link_state() if (each.src, each.dst) == UP]
        sounded = net.deliveries[-1]
    assert link.tx_power_w == pytest.approx(0.1)
    assert sounded.energy_j == pytest.approx(0.1 * sounded.airtime_s)


def test_every_problem_of_a_power_control_is_listed_with_its_place() -> None:
    spec = replace(
        scenario(), d2d=WifiSpec(power=OpenLoop()), d2e=LteSpec(power=OpenLoop(-80.5, 0.3))
    )
    assert {path for path, _ in problems(spec)} == {
        "d2d.power",
        "d2e.power.p0_dbm",
        "d2e.power.alpha",
    }
    spec = replace(
        scenario(),
        d2d=OfdmaSpec(power=OpenLoop(-300.0, 1.5)),
        d2e=OfdmaSpec(power=FixedPower(math.nan)),
    )
    assert {path for path, _ in problems(spec)} == {
        "d2d.power.p0_dbm",
        "d2d.power.alpha",
        "d2e.power.tx_power_w",
    }
