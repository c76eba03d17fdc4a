"""A link that carries nothing keeps a device or a cluster out of every plan, with the reason."""

from __future__ import annotations

import itertools
from dataclasses import replace

import fleets
import numpy as np
import pytest
import wild

from collapipe_ns3.observed import Observation
from collapipe_ns3.plan import PlanError, RoundPlan, validate
from collapipe_ns3.prediction.reach import reach, silent_links
from collapipe_ns3.schedule import SCHEDULES
from collapipe_ns3.schemes import Scheme, Sounding
from collapipe_ns3.schemes.collapipe import CollaPipe
from collapipe_ns3.schemes.local import Local
from collapipe_ns3.schemes.oracle import Oracle
from collapipe_ns3.schemes.pipeline import PipeLine
from collapipe_ns3.schemes.titanic import TITANIC
from collapipe_ns3.schemes.vanilla_fl import VanillaFL
from ns3_scenarios.numerology import BLOCK_HZ

SCHEMES = [CollaPipe, Oracle, PipeLine, TITANIC, VanillaFL]


def seen(devices: int = 2, radio: str = "slotted") -> Observation:
    rng = np.random.default_rng(3)
    kind = "own" if radio == "slotted" else radio
    made = fleets.observation(rng, 2, devices, radio=kind, blocks=2, batch_size=2, memory=9.0)
    return replace(made, media=wild.slotted(made.devices)) if radio == "slotted" else made


def used(plan: RoundPlan) -> list[set[str]]:
    return [
        {stage.device for pipe in cluster.pipelines for stage in pipe.stages}
        for cluster in plan.clusters
    ]


@pytest.mark.parametrize("make", SCHEMES)
@pytest.mark.parametrize("pair", [("c1.cu", "bs"), ("bs", "c1.cu")])
def test_a_cluster_without_a_link_to_or_from_the_base_station_sits_out(
    make: type[Scheme], pair: tuple[str, str]
) -> None:
    plan = make().plan(0, wild.silenced(seen(), pair))
    assert plan.clusters[0].pipelines
    assert plan.clusters[1].pipelines == ()
    assert [each.device for each in plan.absences] == ["c1.d0", "c1.d1"]
    assert all(f"{pair[0]} → {pair[1]} carries nothing" in each.reason for each in plan.absences)
    assert not [link for link in plan.links if "c1.cu" in (link.src, link.dst)]


@pytest.mark.parametrize("make", SCHEMES)
@pytest.mark.parametrize("pair", [("c1.cu", "c1.d0"), ("c1.d0", "c1.cu")])
def test_a_device_without_a_link_to_or_from_its_control_unit_sits_out(
    make: type[Scheme], pair: tuple[str, str]
) -> None:
    plan = make().plan(0, wild.silenced(seen(), pair))
    assert used(plan)[1] == {"c1.d1"}
    assert [each.device for each in plan.absences] == ["c1.d0"]


@pytest.mark.parametrize("make", SCHEMES)
def test_devices_need_links_to_each_other_only_where_they_exchange_tensors(
    make: type[Scheme],
) -> None:
    silent = [("c0.d0", "c0.d1"), ("c0.d2", "c0.d1")]
    plan = make().plan(0, wild.silenced(seen(3), *silent))
    absent = [each.device for each in plan.absences]
    # One device lacks links to two others.
    assert absent == ([] if make is VanillaFL else ["c0.d1"])


@pytest.mark.parametrize("make", SCHEMES)
def test_where_no_device_is_left_the_error_has_the_reason_of_each(make: type[Scheme]) -> None:
    alone = wild.silenced(seen(), ("c0.cu", "bs"), ("c1.cu", "c1.d0"), ("c1.cu", "c1.d1"))
    plan = make().plan(0, alone)
    with pytest.raises(PlanError, match="every cluster: sits out") as caught:
        validate(
            plan,
            devices=alone.devices,
            blocks=2,
            batch_size=2,
            schedules=tuple(SCHEDULES),
        )
    for reason in ("c0.cu → bs carries", "c1.cu → c1.d0 carries", "c1.cu → c1.d1 carries"):
        assert reason in str(caught.value)


def test_without_a_network_every_device_takes_part() -> None:
    everything = [(link.src, link.dst) for link in seen().links]
    plan = Local().plan(0, wild.silenced(seen(), *everything))
    assert all(cluster.pipelines for cluster in plan.clusters)


@pytest.mark.parametrize("radio", wild.RADIOS)
def test_on_good_links_every_device_takes_part(radio: str) -> None:
    observation = seen(3, radio)
    for full_power, among_devices in itertools.product((False, True), repeat=2):
        found = reach(observation, full_power=full_power, among_devices=among_devices)
        assert found.devices == observation.devices
        assert found.absences == ()
    assert silent_links(observation) == []


def test_the_narrowest_band_and_retransmissions_make_up_for_thirty_decibels() -> None:
    """All power in a block of 180 kHz of 18 MHz gains 20 dB, combined retransmissions 10 dB."""
    needed = wild.CODES[0][0] * BLOCK_HZ / 18e6 * 0.1

    def up(sinr: float) -> Observation:
        made = seen()
        links = [
            replace(link, gain=sinr * 18e6 * link.interference_w_hz / link.tx_power_w, sinr=sinr)
            if (link.src, link.dst) == ("c0.cu", "bs")
            else link
            for link in made.links
        ]
        return replace(made, links=tuple(links))

    assert reach(up(1.01 * needed)).devices[0]
    assert not reach(up(0.99 * needed)).devices[0]


def test_at_full_power_links_are_judged_by_the_greatest_power_of_their_senders() -> None:
    made = seen()
    quiet = replace(
        made,
        links=tuple(
            replace(link, tx_power_w=link.tx_power_w * 1e-9, sinr=link.sinr * 1e-9)
            for link in made.links
        ),
    )
    assert not any(reach(quiet).devices)
    assert reach(quiet, full_power=True).devices == made.devices


def test_a_lost_sounding_is_a_measurement_and_an_impossible_figure_is_not() -> None:
    made = seen()
    (first, *others) = [link for link in made.links if (link.src, link.dst) != ("c0.cu", "bs")]
    up = next(link for link in made.links if (link.src, link.dst) == ("c0.cu", "bs"))
    rest = (first, *others)
    lost = replace(up, gain=0.0, interference_w_hz=0.0, sinr=0.0, loss=1.0, tx_power_w=0.0)
    assert not reach(replace(made, links=(lost, *rest))).devices[0]
    for odd in wild.ODD:
        for key in ("interference_w_hz", "sinr", "tx_power_w"):
            unknown = replace(made, links=(replace(up, **{key: odd}), *rest))
            assert reach(unknown).devices == made.devices, (key, odd)


@pytest.mark.parametrize("make", [PipeLine, TITANIC, VanillaFL])
def test_baselines_sound_the_links_that_carry_nothing_and_no_others(make: type[Scheme]) -> None:
    scheme = make()
    assert isinstance(scheme, Sounding)
    assert list(scheme.sounding(seen())) == []
    silent = wild.silenced(seen(), ("c1.cu", "bs"))
    assert list(scheme.sounding(silent)) == [("c1.cu", "bs")]
