"""Links as arrays: what was measured, what is guessed, and nothing that only a simulator knows."""

from __future__ import annotations

import dataclasses
from typing import Any

import fleets
import numpy as np
import pytest

from collapipe_ns3.dssra.planning_problem import unmeasured
from collapipe_ns3.observed import MeasuredLink, Observation
from collapipe_ns3.prediction.directions import Direction
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.links import LinkSetting
from collapipe_ns3.prediction.transfer_services import Service


def seen(radio: str = "own", clusters: int = 2, **how: Any) -> Observation:
    return fleets.observation(np.random.default_rng(0), clusters, 3, radio=radio, **how)


def test_at_the_measured_point_a_link_has_its_measured_goodput() -> None:
    observation = seen()
    fleet = Fleet.of(observation, Knowledge())
    links = fleet.links.sidelink
    power_w = np.broadcast_to(fleet.max_power_w[:, :, None], links.snr.shape)
    per_byte = links.seconds_per_byte(LinkSetting(power_w, links.natural_hz))
    at = {name: (n, k) for n, row in enumerate(observation.devices) for k, name in
          enumerate([f"c{n}.cu", *row])}  # fmt: skip
    for link in observation.links:
        if "bs" not in (link.src, link.dst):
            (n, i), (_, j) = at[link.src], at[link.dst]
            assert 8 / per_byte[n, i, j] == pytest.approx(link.goodput_bps)
            assert fleet.links.sidelink.measured[n, i, j]


def test_half_the_power_costs_three_decibels() -> None:
    links = Fleet.of(seen(), Knowledge()).links.uplink
    settings = (LinkSetting(np.full(2, power_w), links.natural_hz) for power_w in (0.2, 0.1))
    full, half = (links.natural_hz / (8 / links.seconds_per_byte(each)) for each in settings)
    sinr = 0.2 * links.snr / links.natural_hz
    assert half / full == pytest.approx(np.log2(1 + sinr) / np.log2(1 + sinr / 2))


def test_an_efficiency_learned_from_airtime_is_preferred_to_goodput() -> None:
    observation = seen("shared")
    pair = ("c0.cu", "c0.d1")
    knowledge = Knowledge(efficiencies={pair: 0.6}, services={"channel": Service(0.002, 1.5, 1.5)})
    d2d = Fleet.of(observation, knowledge).links.sidelink
    assert d2d.efficiency[0, 0, 2] == pytest.approx(0.4)
    assert d2d.duty[0, 0, 2] == pytest.approx(1 / 1.5)
    assert (d2d.latency == 0.002).all()


def test_learned_speeds_are_preferred_to_profiles() -> None:
    fleet = Fleet.of(seen(), Knowledge(speeds={"c1.d2": 7e9}))
    assert fleet.flops_per_s[1, 3] == 7e9


def without(observation: Observation, *pairs: tuple[str, str]) -> Observation:
    links = tuple(link for link in observation.links if (link.src, link.dst) not in pairs)
    return dataclasses.replace(observation, links=links)


def test_a_link_not_measured_has_the_gain_of_its_other_direction() -> None:
    observation = without(seen(), ("c0.d0", "c0.d1"))
    d2d = Fleet.of(observation, Knowledge()).links.sidelink
    assert d2d.snr[0, 1, 2] == d2d.snr[0, 2, 1]
    assert not d2d.measured[0, 1, 2]


def test_a_link_not_measured_in_either_direction_is_as_bad_as_the_worst() -> None:
    observation = without(seen(), ("c0.d0", "c0.d1"), ("c0.d1", "c0.d0"), ("c1.cu", "bs"))
    fleet = Fleet.of(observation, Knowledge())
    links = fleet.links.sidelink
    assert links.snr[0, 1, 2] == links.snr[0][links.measured[0]].min()
    assert fleet.links.uplink.snr[1] == fleet.links.uplink.snr[0]


def test_before_anything_was_measured_every_link_is_a_poor_one() -> None:
    for radio in ("own", "ofdma", "shared"):
        fleet = Fleet.of(dataclasses.replace(seen(radio), links=()), Knowledge())
        for links in (fleet.links.sidelink, fleet.links.uplink, fleet.links.downlink):
            assert not links.measured.any()
            assert np.isfinite(links.snr).all()
            assert (links.snr > 0).all()
        power = fleet.max_power_w[:, 0]
        sinr = power * fleet.links.uplink.snr / fleet.links.uplink.natural_hz
        assert sinr == pytest.approx(np.ones(2))


def test_smaller_clusters_are_filled_up_with_devices_without_memory() -> None:
    observation = seen()
    devices = (observation.devices[0], observation.devices[1][:1])
    fleet = Fleet.of(dataclasses.replace(observation, devices=devices), Knowledge())
    assert fleet.size.tolist() == [3, 1]
    assert (fleet.memory_bytes[1, 2:] == 0).all()


def test_a_band_of_several_clusters_is_shared_among_them() -> None:
    observation = seen("ofdma")
    both = frozenset(pair for medium in observation.media[:2] for pair in medium.links)
    media = (dataclasses.replace(observation.media[0], links=both), *observation.media[2:])
    fleet = Fleet.of(dataclasses.replace(observation, media=media), Knowledge())
    assert fleet.links.sidelink.band_hz.tolist() == [1e7, 1e7]


def test_links_that_are_unknown_or_stale_are_to_be_sounded() -> None:
    observation = seen(clusters=1)
    assert unmeasured(observation, (), 60) == []
    old = dataclasses.replace(observation.links[0], age_s=100.0)
    links = (old, *observation.links[2:])
    missing = dataclasses.replace(observation, links=links)
    gone = [(link.src, link.dst) for link in observation.links[:2]]
    assert sorted(unmeasured(missing, (), 60)) == sorted(gone)
    assert len(unmeasured(dataclasses.replace(observation, links=()), (), 60)) == 4 * 3 + 2


def test_an_observation_has_no_place_for_a_position() -> None:
    """A scheme is shown names, profiles, sizes, and figures measured on links."""
    measured = {"gain", "interference_w_hz", "sinr", "goodput_bps", "loss", "age_s", "tx_power_w"}
    fields = {field.name for field in dataclasses.fields(MeasuredLink)} - {"src", "dst"}
    assert fields == measured
    assert {field.name for field in dataclasses.fields(Observation)} == {
        "devices", "profiles", "model", "batch_size", "local_steps", "optimizer", "links",
        "shares", "source_length", "target_length", "media", "wire", "sounding_j", "sounding_s",
        "exchange", "most_local_steps", "references", "absent", "hazards", "repair_s", "recovery",
        "deadline", "late", "aggregation",
    }  # fmt: skip


def arrays(figures: object) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays among the fields of a dataclass."""
    assert dataclasses.is_dataclass(figures)
    values = {field.name: getattr(figures, field.name) for field in dataclasses.fields(figures)}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("radio", ["own", "ofdma", "overheard"])
def test_clusters_are_taken_with_all_their_figures(radio: str) -> None:
    fleet, rows = Fleet.of(seen(radio), Knowledge()), np.array([1, 0, 1])
    taken = fleet.take(rows)
    pairs = [(fleet, taken), *((fleet.links[d], taken.links[d]) for d in Direction)]
    for whole, part in pairs:
        for name, values in arrays(whole).items():
            assert np.array_equal(arrays(part)[name], values[rows]), name


@pytest.mark.parametrize("radio", ["own", "ofdma", "overheard"])
def test_nodes_are_picked_with_all_their_figures(radio: str) -> None:
    fleet = Fleet.of(seen(radio), Knowledge())
    nodes = np.array([[0, 3, 1], [0, 2, 3]])
    picked, clusters = fleet.pick(nodes), np.arange(2)[:, None]
    for name, values in arrays(fleet).items():
        expected = values[clusters, nodes] if values.ndim == 2 else values
        assert np.array_equal(arrays(picked)[name], expected), name
    for name, values in arrays(fleet.links.sidelink).items():
        expected = values
        if values.ndim == 3:
            expected = values[clusters[..., None], nodes[:, :, None], nodes[:, None, :]]
        assert np.array_equal(arrays(picked.links.sidelink)[name], expected), name
    assert picked.links.uplink is fleet.links.uplink
