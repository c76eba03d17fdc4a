"""The energy of nodes: by closed forms, by prices of links, and by event graphs."""

from __future__ import annotations

from dataclasses import replace

import fleets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapipe_ns3.dssra.decide import decide, expected_energy
from collapipe_ns3.dssra.objective import value
from collapipe_ns3.dssra.planning_problem import Memory, PlanningProblem
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.observed import Observation
from collapipe_ns3.outcome import DeviceUse
from collapipe_ns3.prediction.energy import (
    Transfers,
    airtime_price,
    overhearing_price,
    round_energy,
)
from collapipe_ns3.prediction.energy_ratios import radio_energy_ratios
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.timeline_energy import NodeEnergy, energy_of_timeline

SEEDS = st.integers(0, 2**32 - 1)


def seen(radio: str, clusters: int = 2, model: str = "radiated") -> Observation:
    rng = np.random.default_rng(5)
    made = fleets.observation(rng, clusters, 3, radio=radio, local_steps=2)
    return fleets.at_socket(made) if model == "socket" else made


@pytest.mark.parametrize("model", ["socket", "radiated"])
@pytest.mark.parametrize("radio", ["own", "ofdma", "shared", "overheard"])
def test_closed_forms_and_the_event_graph_have_the_same_joules(radio: str, model: str) -> None:
    """The closed forms add arrays of whole plans, the event graph adds transfer by transfer."""
    observation = seen(radio, model=model)
    how = {"bands": "divided"} if radio == "ofdma" else {}
    decision = decide(0, "collapipe", observation, Memory(), Settings(**how))  # type: ignore[arg-type]
    assert decision.timeline is not None
    problem = PlanningProblem.of(observation, Memory(), Settings())
    closed = value(problem.objective, decision.state).costs.spent
    found = energy_of_timeline(
        decision.timeline, problem.places, problem.fleet, decision.state.radio
    )
    for node, at in problem.places.items():
        for part in ("compute", "tx", "rx", "least"):
            joules = getattr(found[node], f"{part}_j")
            assert joules == pytest.approx(getattr(closed, part)[at], rel=1e-4, abs=1e-9), node
    lasting_s = decision.timeline.total_ns / 1e9
    for node, joules in decision.prediction.joules.items():
        idle_j = observation.profiles[node].power.idle_w * lasting_s
        assert joules.idle_j == pytest.approx(idle_j, rel=1e-12)
        assert replace(joules, idle_j=0.0) == found[node]
        assert joules.total_j == pytest.approx(found[node].total_j + idle_j)


def test_on_an_overheard_medium_idle_nodes_receive_what_all_others_send() -> None:
    observation = seen("overheard")
    decision = decide(0, "collapipe", observation, Memory(), Settings(memory="all"))
    joules = decision.prediction.joules
    used = {s.device for c in decision.plan.clusters for s in c.pipelines[0].stages}
    idle = [name for row in observation.devices for name in row if name not in used]
    assert idle
    for name in idle:
        assert joules[name].compute_j == joules[name].tx_j == 0
        assert joules[name].rx_j == joules[name].least_j > 0
    # Each node of the channel sends or receives all the time, so all for the same total time.
    fleet, sent_w = Fleet.of(observation, Knowledge()), decision.state.radio.sidelink.power_w
    seconds = {
        name: joules[name].rx_j / fleet.rx_power_w[at] + joules[name].tx_j / sent_w[at].max()
        for name, at in PlanningProblem.of(observation, Memory(), Settings()).places.items()
        if at[1]
    }
    assert list(seconds.values()) == pytest.approx([max(seconds.values())] * len(seconds))


@given(SEEDS, st.sampled_from(["ofdma", "shared", "overheard"]), st.booleans())
def test_prices_of_links_add_up_to_the_prices_of_the_nodes_energy(
    seed: int, radio: str, socket: bool
) -> None:
    """Σ over nodes of price × joules is Σ over links of seconds × price of a second."""
    rng = np.random.default_rng(seed)
    spending = {node: tuple(rng.uniform(0.5, 2, 2)) for node in ("c0.cu", "c0.d1", "c1.d2")}
    observation = seen(radio, model="socket" if socket else "radiated")
    fleet = Fleet.of(observation, Knowledge(spending=spending))
    shape = (fleet.clusters, 5)
    src = rng.integers(0, fleet.nodes, shape)
    dst = (src + rng.integers(1, fleet.nodes, shape)) % fleet.nodes
    rows = np.arange(fleet.clusters)[:, None]
    power_w = rng.uniform(0.01, 0.1, (fleet.clusters, fleet.nodes, fleet.nodes))
    air_s = rng.uniform(0, 1, shape)
    joule = rng.uniform(0, 3, (fleet.clusters, fleet.nodes))
    moved = Transfers(src, dst, air_s, power_w[rows, src, dst], power_w[rows, dst, src])
    none = np.zeros(fleet.clusters)
    by_node = round_energy(fleet, np.zeros_like(joule), [moved], none, none, none)
    drawn_w = fleet.tx_static_w[:, :, None] + power_w * fleet.tx_per_w[:, :, None]
    sent = (joule * fleet.tx_ratio)[:, :, None] * drawn_w
    second = sent + airtime_price(fleet, joule, overhearing_price(fleet, joule), power_w)
    by_link = float((air_s * second[rows, src, dst]).sum())
    assert by_link == pytest.approx(float((joule * by_node.total).sum()))


def test_energy_beyond_the_prediction_is_expected_of_radios_from_then_on() -> None:
    observation = seen("overheard")
    decision = decide(0, "collapipe", observation, Memory(), Settings())
    plain = decision.prediction.joules
    sounding = {"c0.d0": (0.5, 0.25)}
    measured = [
        DeviceUse(node, 0, 0, 0, j.compute_j, 1.5 * j.tx_j, 0.8 * j.rx_j)
        for node, j in plain.items()
    ]
    measured[1] = replace(
        measured[1],
        tx_energy_j=measured[1].tx_energy_j + 0.5,
        rx_energy_j=measured[1].rx_energy_j + 0.25,
    )
    assert measured[1].device == "c0.d0"
    spending = radio_energy_ratios({}, plain, measured, sounding, 0.5)
    problem = PlanningProblem.of(observation, Memory(Knowledge(spending=spending)), Settings())
    again = expected_energy(decision, problem)
    for node, joules in plain.items():
        assert again[node].compute_j == joules.compute_j
        assert again[node].tx_j == pytest.approx(1.5 * joules.tx_j)
        assert again[node].rx_j == pytest.approx(0.8 * joules.rx_j)
    # The new prediction is right, so that the ratios stay as they are.
    known = radio_energy_ratios(spending, again, measured, sounding, 0.5)
    assert known["c0.cu"] == pytest.approx((1.5, 0.8))


def test_the_ratios_of_a_node_without_predicted_energy_stay_as_they_are() -> None:
    none = {"c0.d0": NodeEnergy(0.0, 0.0, 0.0, 0.0)}
    use = DeviceUse("c0.d0", 0, 0, 0, 0.0, 0.1, 0.2)
    known = {"c0.d0": (1.2, 0.9)}
    assert radio_energy_ratios(known, none, [use], {}, 0.5) == known
    little = {"c0.d0": NodeEnergy(0.0, 1e-6, 1.0, 0.0)}
    assert radio_energy_ratios({}, little, [use], {}, 0.5) == {"c0.d0": (4.0, 0.25)}


def test_the_prediction_includes_the_energy_of_soundings() -> None:
    observation = seen("shared")
    plain = decide(0, "collapipe", observation, Memory(), Settings()).prediction.joules
    sounded = replace(observation, sounding_j={"c0.d2": (0.25, 0.5), SERVER: (3.0, 4.0)})
    joules = decide(0, "collapipe", sounded, Memory(), Settings()).prediction.joules
    assert joules["c0.d2"].tx_j == pytest.approx(plain["c0.d2"].tx_j + 0.25)
    assert joules["c0.d2"].rx_j == pytest.approx(plain["c0.d2"].rx_j + 0.5)
    assert joules["c0.d2"].least_j == pytest.approx(plain["c0.d2"].least_j + 0.75)
    assert joules[SERVER].total_j == pytest.approx(plain[SERVER].total_j + 7.0)
    assert joules["c0.d1"] == plain["c0.d1"]


def test_the_prediction_includes_the_energy_at_idle_during_soundings() -> None:
    observation = seen("shared", model="socket")
    plain = decide(0, "collapipe", observation, Memory(), Settings()).prediction.joules
    sounded = replace(observation, sounding_s=0.5)
    joules = decide(0, "collapipe", sounded, Memory(), Settings()).prediction.joules
    for node, each in joules.items():
        idle_w = observation.profiles[node].power.idle_w
        assert each.idle_j == pytest.approx(plain[node].idle_j + 0.5 * idle_w)
