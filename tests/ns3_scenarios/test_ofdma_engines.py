"""The fast engine and ns-3's spectrum channel agree to the last bit."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ofdma_lab import BOLTZMANN, KELVIN, LOG_DISTANCE, Lab, Node, loss_db

from ns3_scenarios.numerology import BLOCK_HZ

_LONG_S = 3.0  # what a link can't carry is sent again for ever

NAKAGAMI = ("ns3::NakagamiPropagationLossModel", {"m0": 1.0, "m1": 1.0, "m2": 1.0})


@dataclass(frozen=True)
class Situation:
    """A random network, its traffic, and changes of its powers and grants."""

    nodes: list[Node]
    links: list[tuple[int, int, int, int]]
    sizes: list[int]
    changes: list[tuple[int, float, float]]  # link, watts, blocks
    acknowledged: bool
    fading: bool
    every_tti: bool
    multipath: tuple[str, float] | None  # profile, Doppler in Hz

    def simulate(self, engine: str) -> tuple[Any, ...]:
        """All results of the simulation."""
        lab = Lab(
            self.nodes,
            self.links,
            bands=(12, 30),
            engine=engine,
            acknowledged=self.acknowledged,
            attributes={"GainUpdatePeriod": "0ns" if self.every_tti else "7ms"},
            fading=NAKAGAMI if self.fading else None,
            multipath=self.multipath
            and {
                "Profile": self.multipath[0],
                "DelaySpread": 100e-9,
                "Doppler": self.multipath[1],
            },
        )
        with closing(lab):
            for link, size in zip(range(len(self.links)), self.sizes, strict=False):
                lab.send(link, size, link)
            lab.radio.Sound(lab.of[0], 99)
            for link, watts, blocks in self.changes:
                lab.run(0.011)
                lab.of[link % len(lab.of)].watts = watts
                lab.of[link % len(lab.of)].granted = blocks
            end = lab.run(_LONG_S)
            measured = [
                (m.known, m.gain, m.interference, m.sinr, m.watts)
                for m in (link.Measured() for link in lab.of)
            ]
            return (
                end,
                lab.sinr.tobytes(),
                lab.blocks,
                lab.items,
                [lab.lost(n) for n in range(len(lab.items))],
                lab.allocated.tobytes(),
                lab.states.tobytes(),
                lab.soundings.tobytes(),
                measured,
            )


NODES = st.lists(
    st.builds(
        Node,
        x=st.floats(-150, 150),
        y=st.floats(-150, 150),
        vx=st.sampled_from([0.0, 0.0, 3.0, 40.0]),
        vy=st.sampled_from([0.0, -15.0]),
        watts=st.floats(1e-4, 0.3),
        antenna_db=st.sampled_from([0.0, 6.0]),
    ),
    min_size=7,
    max_size=7,
    unique_by=lambda node: (round(node.x), round(node.y)),
)
LINKS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 6), st.integers(0, 6)).filter(
        lambda link: link[2] != link[3]
    ),
    min_size=4,
    max_size=10,
    unique=True,
)
SITUATIONS = st.builds(
    Situation,
    nodes=NODES,
    links=LINKS,
    sizes=st.lists(st.sampled_from([1, 700, 20_000, 60_000]), min_size=10, max_size=10),
    changes=st.lists(
        st.tuples(st.integers(0, 9), st.floats(1e-4, 0.3), st.floats(0.5, 4.0)), max_size=4
    ),
    acknowledged=st.booleans(),
    fading=st.booleans(),
    every_tti=st.booleans(),
    multipath=st.none() | st.sampled_from([("clarke", 0.0), ("tdl-a", 20.0), ("tdl-c", 0.0)]),
)


@settings(max_examples=60)
@given(situation=SITUATIONS)
def test_both_engines_see_and_do_exactly_the_same(situation: Situation) -> None:
    fast, reference = situation.simulate("Tti"), situation.simulate("Spectrum")
    for ours, theirs in zip(fast, reference, strict=True):
        assert ours == theirs


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_a_node_that_sends_hears_nothing(engine: str) -> None:
    """The scheduler never allocates this; the PHY enforces it nevertheless."""
    with closing(Lab([Node(0.0), Node(20.0)], [(0, 0, 0, 1), (0, 0, 1, 0)], engine=engine)) as lab:
        lab.send(0, 1)
        lab.run()  # gains are evaluated
        there, back = (0, 1, 0, 10, 1e-8), (1, 0, 30, 10, 1e-8)
        alone, _ = lab.hear([there], there)
        both, _ = lab.hear([there, back], there)
    assert (alone > 0).all()
    assert (both == 0).all()


def test_a_waveform_generator_interferes_for_as_long_as_it_is_on() -> None:
    """ns-3's own device shares the channel; half a duty cycle is half the interference."""
    jammer_w_hz, duty = 1e-12, 0.5
    for distance in (40.0, 80.0):
        with closing(Lab([Node(0.0), Node(20.0)], [(0, 0, 0, 1)], engine="Spectrum")) as lab:
            ns = lab.ns
            channel = lab.medium.GetSpectrumChannel()
            density = ns.SpectrumValue(lab.medium.GetSpectrumModel(0))
            density += jammer_w_hz
            generator = ns.CreateObject[ns.WaveformGenerator]()
            place = ns.CreateObject[ns.ConstantPositionMobilityModel]()
            place.SetPosition(ns.Vector(20.0 + distance, 0.0, 1.5))
            generator.SetMobility(place)
            generator.SetChannel(channel)
            generator.SetPeriod(ns.MicroSeconds(100))
            generator.SetDutyCycle(duty)
            generator.SetTxPowerSpectralDensity(density.Copy())
            generator.Start()
            lab.send(0, 300_000)
            lab.run(0.05)
            measured = lab.of[0].Measured()
            noise = BOLTZMANN * KELVIN * 10**0.5
            expected = noise + duty * jammer_w_hz * 10 ** (-loss_db(distance) / 10)
            assert 10 * np.log10(measured.interference / expected) == pytest.approx(0, abs=0.1)


def test_random_losses_are_drawn_in_the_same_order_whichever_engine_asks() -> None:
    results = []
    for engine in ("Tti", "Spectrum"):
        lab = Lab(
            [Node(float(20 * n), vx=2.0) for n in range(4)],
            [(0, 0, 0, 1), (0, 1, 2, 3), (1, 0, 1, 2)],
            bands=(25, 25),
            engine=engine,
            loss=(LOG_DISTANCE, NAKAGAMI),
        )
        with closing(lab):
            for link in range(3):
                lab.send(link, 30_000)
            lab.run()
            results.append((lab.sinr.tobytes(), lab.items))
    assert results[0] == results[1]


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_noise_that_is_added_during_the_simulation_is_heard_at_once(engine: str) -> None:
    """Although gains of nodes that don't move are evaluated once in a second."""
    density = 0.1 / (50 * BLOCK_HZ)
    nodes = [Node(0.0), Node(20.0), Node(60.0)]
    period = {"GainUpdatePeriod": "1s", "EwmaWeight": 1.0}
    with closing(Lab(nodes, [(0, 0, 0, 1)], engine=engine, attributes=period)) as lab:
        lab.send(0, 300_000)
        lab.run(0.01)

        def share(_: Any) -> float:
            return 1.0

        lab.radio.AddNoise(0, 2, share)
        lab.run(0.01)
        heard = lab.of[0].Measured().interference - BOLTZMANN * KELVIN * 10**0.5
    assert heard == pytest.approx(density * 10 ** (-loss_db(40.0) / 10))
