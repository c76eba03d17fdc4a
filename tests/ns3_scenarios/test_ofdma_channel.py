"""Measurements and interference of links, against the gains that were set."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Any

import pytest
from ofdma_lab import BOLTZMANN, KELVIN, Lab, Node, loss_db

from ns3_scenarios.numerology import BLOCK_HZ

BLOCKS = 50
MUCH = 10**8


def gain_between(a: Node, b: Node) -> float:
    """The lab's usual gain."""
    distance_m = math.hypot(a.x - b.x, a.y - b.y)
    return 10 ** ((a.antenna_db + b.antenna_db - loss_db(distance_m)) / 10)


def near(value: float, rel: float = 1e-6) -> Any:
    """Equal up to rounding; `pytest.approx` alone takes everything below 1e-12 for zero."""
    return pytest.approx(value, rel=rel, abs=0.0)


def noise_w_hz(node: Node) -> float:
    return BOLTZMANN * KELVIN * 10 ** (node.noise_figure_db / 10)


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_gain_noise_and_power_are_measured_as_they_are(engine: str) -> None:
    nodes = [
        Node(0.0, noise_figure_db=4.0, antenna_db=8.0),
        Node(90.0, watts=0.05, antenna_db=-2.0),
    ]
    with closing(Lab(nodes, [(0, 0, 1, 0)], bands=(BLOCKS,), engine=engine)) as lab:
        lab.send(0, 100_000)
        lab.run()
        measured = lab.of[0].Measured()
    gain, noise = gain_between(*nodes), noise_w_hz(nodes[0])
    assert measured.gain == near(gain)
    assert measured.interference == near(noise)
    assert measured.watts == pytest.approx(0.05)


UNDERLAY = [
    Node(0.0),  # the base station
    Node(80.0, 0.0, watts=0.1),  # a control unit, which sends to it
    Node(60.0, 60.0, watts=0.02),  # a device that sends to another
    Node(60.0, 72.0),
]


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_an_underlay_and_the_uplink_interfere_by_what_the_gains_say(engine: str) -> None:
    links = [(0, 0, 1, 0), (0, 1, 2, 3)]
    with closing(Lab(UNDERLAY, links, bands=(BLOCKS,), engine=engine)) as lab:
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(0.1)
        measured = [link.Measured() for link in lab.of]
    for (_, _, src, dst), (_, _, other, _), got in zip(links, links[::-1], measured, strict=True):
        per_hz = UNDERLAY[other].watts / (BLOCKS * BLOCK_HZ)
        expected = per_hz * gain_between(UNDERLAY[other], UNDERLAY[dst]) + noise_w_hz(UNDERLAY[dst])
        assert 10 * math.log10(got.interference / expected) == pytest.approx(0.0, abs=0.1)
        sent = UNDERLAY[src].watts / (BLOCKS * BLOCK_HZ)
        sinr = sent * gain_between(UNDERLAY[src], UNDERLAY[dst]) / expected
        assert 10 * math.log10(got.sinr / sinr) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_interferers_add_up(engine: str) -> None:
    nodes = [Node(0.0), Node(60.0), *(Node(100.0 + 20.0 * n, 10.0) for n in range(6))]
    links = [(0, 0, 1, 0), *((0, n + 1, 2 * n + 2, 2 * n + 3) for n in range(3))]
    with closing(Lab(nodes, links, bands=(BLOCKS,), engine=engine)) as lab:
        for link in range(4):
            lab.send(link, MUCH)
        lab.run(0.05)
        measured = lab.of[0].Measured()
    per_hz = 0.1 / (BLOCKS * BLOCK_HZ)
    foreign = per_hz * sum(gain_between(nodes[n], nodes[0]) for n in (2, 4, 6))
    assert measured.interference == near(foreign + noise_w_hz(nodes[0]))


def test_interference_covers_the_share_of_the_band_that_the_other_cell_fills() -> None:
    """A cell that fills a third of the band hits each block of another's in a third of TTIs."""
    links = [(0, 0, 1, 0), (0, 1, 2, 3)]
    with closing(Lab(UNDERLAY, links, bands=(30,), attributes={"EwmaWeight": 0.002})) as lab:
        lab.of[1].granted = 10.0
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(4.0)
        measured = lab.of[0].Measured()
    whole = UNDERLAY[2].watts / (10 * BLOCK_HZ) * gain_between(UNDERLAY[2], UNDERLAY[0])
    expected = whole / 3 + noise_w_hz(UNDERLAY[0])
    assert measured.interference == near(expected, rel=0.05)


def test_cells_that_do_not_fill_the_band_meet_as_often_as_chance_has_it() -> None:
    links = [(0, 0, 1, 0), (0, 1, 2, 3)]
    with closing(Lab(UNDERLAY, links, bands=(30,), attributes={"EwmaWeight": 0.002})) as lab:
        for link in (0, 1):
            lab.of[link].granted = 10.0
            lab.send(link, MUCH)
        lab.run(4.0)
        measured = lab.of[0].Measured()
    starts = range(30 - 10 + 1)
    overlap = sum(max(10 - abs(a - b), 0) for a in starts for b in starts) / 10 / len(starts) ** 2
    whole = UNDERLAY[2].watts / (10 * BLOCK_HZ) * gain_between(UNDERLAY[2], UNDERLAY[0])
    expected = overlap * whole + noise_w_hz(UNDERLAY[0])
    assert measured.interference == near(expected, rel=0.07)


def test_cells_in_bands_of_their_own_do_not_interfere() -> None:
    nodes = UNDERLAY
    with closing(Lab(nodes, [(0, 0, 1, 0), (1, 0, 2, 3)], bands=(25, 25))) as lab:
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(0.05)
        measured = lab.of[0].Measured()
    assert measured.interference == near(noise_w_hz(nodes[0]))


def test_two_stations_on_one_band_disturb_each_other() -> None:
    """Two cells: each station receives the other's terminal as interference."""
    nodes = [Node(0.0), Node(400.0), Node(60.0, watts=0.1), Node(330.0, watts=0.1)]
    with closing(Lab(nodes, [(0, 0, 2, 0), (0, 1, 3, 1)], bands=(BLOCKS,))) as lab:
        for link in (0, 1):
            lab.send(link, MUCH)
        lab.run(0.1)
        for link, station, foreign in ((0, 0, 3), (1, 1, 2)):
            per_hz = 0.1 / (BLOCKS * BLOCK_HZ)
            expected = per_hz * gain_between(nodes[foreign], nodes[station])
            got = lab.of[link].Measured().interference - noise_w_hz(nodes[station])
            assert got == near(expected, rel=0.01)


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_a_node_that_moves_is_heard_from_where_it_is(engine: str) -> None:
    lab = Lab(
        [Node(0.0), Node(50.0, vx=30.0)],
        [(0, 0, 1, 0)],
        engine=engine,
        attributes={"GainUpdatePeriod": "0ns", "EwmaWeight": 1.0},
    )
    with closing(lab):
        lab.send(0, MUCH)
        for second in range(1, 4):
            lab.run(1.0)
            # The latest block to have been received began two TTIs ago.
            expected_db = -loss_db(50.0 + 30.0 * (second - 0.0015))
            got_db = 10 * math.log10(lab.of[0].Measured().gain)
            assert got_db == pytest.approx(expected_db, abs=0.01)


def test_gains_are_looked_at_as_often_as_asked() -> None:
    lab = Lab(
        [Node(0.0), Node(50.0, vx=30.0)],
        [(0, 0, 1, 0)],
        attributes={"GainUpdatePeriod": "20ms"},
    )
    with closing(lab):
        lab.send(0, MUCH)
        lab.run(0.2)
        sinrs = [round(10 * math.log10(b.sinr), 9) for b in lab.blocks]
    assert 9 <= len(set(sinrs)) <= 11


def test_3gpp_losses_settle_before_they_are_used() -> None:
    """Their shadowing at the first call differs from that at all later calls."""
    with closing(Lab([Node(0.0), Node(60.0)], [(0, 0, 1, 0)])) as lab:
        ns = lab.ns
        conditions = ns.CreateObject[ns.ThreeGppUmiStreetCanyonChannelConditionModel]()
        model = ns.CreateObject[ns.ThreeGppUmiStreetCanyonPropagationLossModel]()
        model.SetAttribute("Frequency", ns.DoubleValue(2e9))
        model.SetChannelConditionModel(conditions)
        lab.gain.SetAttribute("Loss", ns.PointerValue(model))
        lab.send(0, 5_000)
        lab.run()
        again_db = model.CalcRxPower(0.0, lab.places[1], lab.places[0])
        got_db = 10 * math.log10(lab.of[0].Measured().gain)
    assert got_db == pytest.approx(again_db, abs=1e-9)


def test_block_fading_is_drawn_once_a_pair_and_is_reciprocal() -> None:
    rayleigh = ("ns3::NakagamiPropagationLossModel", {"m0": 1.0, "m1": 1.0, "m2": 1.0})
    gains = {}
    for seed in (1, 2):
        lab = Lab(
            [Node(0.0), Node(50.0, vx=0.5)],
            [(0, 0, 1, 0), (1, 0, 0, 1)],
            bands=(25, 25),
            attributes={"GainUpdatePeriod": "0ns"},
            fading=rayleigh,
            seed=seed,
        )
        with closing(lab):
            for link in (0, 1):
                lab.send(link, 50_000)
            lab.run()
            gains[seed] = [10 * math.log10(link.Measured().gain) for link in lab.of]
            full = [b for b in lab.blocks if b.link == 0 and b.ns < lab.items[0].ns - 1_000_000]
            assert len({round(10 * math.log10(b.sinr), 1) for b in full}) == 1
    for up, down in gains.values():
        assert up == pytest.approx(down, abs=0.01)
    assert abs(gains[1][0] - gains[2][0]) > 0.5


def test_pairs_without_a_station_have_a_loss_of_their_own() -> None:
    with closing(Lab(UNDERLAY, [(0, 0, 1, 0), (0, 1, 2, 3)], bands=(BLOCKS,))) as lab:
        other = lab.model("ns3::LogDistancePropagationLossModel", Exponent=2.0, ReferenceLoss=30.0)
        lab.gain.SetAttribute("DeviceLoss", lab.ns.PointerValue(other))
        lab.gain.AddStation(lab.places[0])
        for link in (0, 1):
            lab.send(link, 50_000)
        lab.run()
        up, side = (10 * math.log10(link.Measured().gain) for link in lab.of)
    assert up == pytest.approx(-loss_db(80.0), abs=1e-6)
    assert side == pytest.approx(-30.0 - 20 * math.log10(12.0), abs=1e-6)


@pytest.mark.parametrize("engine", ["Tti", "Spectrum"])
def test_sounding_measures_in_one_tti_what_data_would(engine: str) -> None:
    """Links to one receiver at once, those that exclude each other one TTI after the other."""
    nodes = [Node(0.0), Node(40.0), Node(70.0, 5.0), Node(90.0, 10.0)]
    links = [(0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 3, 0), (1, 0, 0, 1), (1, 0, 1, 0), (1, 0, 0, 2)]
    with closing(Lab(nodes, links, bands=(BLOCKS, BLOCKS), engine=engine)) as lab:
        for number in range(len(links)):
            lab.radio.Sound(lab.of[number], number)
        end = lab.run()
        rows = lab.soundings
        energy_j = (lab.states[:, 1] * lab.states[:, 3] * lab.states[:, 4]).sum()
        assert not lab.blocks
        for (_, _, src, dst), link in zip(links, lab.of, strict=True):
            measured = link.Measured()
            assert measured.gain == near(gain_between(nodes[src], nodes[dst]))
            assert measured.interference == near(noise_w_hz(nodes[dst]))
    assert {int(row[1]): row[2] for row in rows} == {0: 1e6, 1: 1e6, 2: 1e6, 3: 1e6, 5: 1e6, 4: 2e6}
    assert end == pytest.approx(2e-3)
    assert rows[:, 4].sum() == pytest.approx(energy_j)
    assert rows[:, 3].sum() == pytest.approx(5e-3)  # four senders at first, then one


def test_data_waits_while_its_cell_is_sounded_and_starts_at_the_right_mcs() -> None:
    with closing(Lab([Node(0.0), Node(40.0), Node(45.0)], [(0, 0, 1, 0), (0, 0, 2, 0)])) as lab:
        lab.radio.Sound(lab.of[0], 1)
        for link in (0, 1):
            lab.send(link, 20_000)
        lab.run()
        first = {link: next(b for b in lab.blocks if b.link == link) for link in (0, 1)}
    assert first[0].ns == 2_000_000
    assert first[0].mcs > 15
    assert first[1].mcs == 0  # of which nothing is known yet
