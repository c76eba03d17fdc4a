"""What nodes take from their supply, against sums by hand and the figures of the sources."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest

from collapipe_ns3.costs.devices import DeviceProfile, profile, profiles
from collapipe_ns3.costs.power import EnergyModel, RadioPower, radio_joules

SOCKET = EnergyModel("socket")
ASLEEP = EnergyModel("socket", "sleep")
RADIO = RadioPower(sleep_w=0.1, idle_w=0.4, rx_w=0.7, tx_static_w=1.0, pa_efficiency=0.25)
NODE = DeviceProfile(
    "made up", 1e9, 0.0, 2**30, 6.0, 0.1, 0.9, "", idle_power_w=2.0, radio=RADIO, radios=2
)


@dataclass(frozen=True)
class Used:
    tx_airtime_s: float = 4.0
    rx_airtime_s: float = 5.0
    tx_energy_j: float = 4 * 0.1
    rx_energy_j: float = 0.0


@pytest.mark.parametrize("energy", [SOCKET, ASLEEP])
def test_the_parts_add_up_to_the_power_of_each_state_times_its_time(energy: EnergyModel) -> None:
    """In 20 s a node computes for 3 s, one radio sends for 4 s, another one receives for 5 s."""
    power = replace(NODE, energy=energy).power
    parts = power.idle_w * 20 + power.computing_w * 3 + power.rx_w * 5 + power.sending_j(4, 0.4)
    rest_w = 0.4 if energy == SOCKET else 0.1
    board = 2.0 * 17 + 6.0 * 3
    sender = (1.0 + 0.1 / 0.25) * 4 + rest_w * 16
    receiver = 0.7 * 5 + rest_w * 15
    assert parts == pytest.approx(board + sender + receiver)


def test_the_radiated_model_counts_computing_receiving_and_radiated_energy() -> None:
    power = NODE.power
    assert power.idle_w == 0.0
    assert (power.computing_w, power.rx_w) == (6.0, 0.9)
    for radiated_j in (0.1, 1 / 3, 12.345678901234567):
        assert power.sending_j(math.pi, radiated_j) == radiated_j
    assert radio_joules({"a": Used(rx_energy_j=4.5)}, {"a": NODE}) == {"a": (0.4, 4.5)}


def test_nodes_without_a_profile_have_no_energy() -> None:
    used = {"a": Used(rx_energy_j=1.5), "jammer": Used()}
    sent_j = (1.0 - 0.4 + 0.1 / 0.25) * 4
    found = radio_joules(used, {"a": replace(NODE, energy=SOCKET)})
    assert found == {"a": (pytest.approx(sent_j), 1.5)}


@pytest.mark.parametrize("name", profiles())
def test_no_state_of_a_bundled_profile_takes_less_than_a_lower_one(name: str) -> None:
    known = profile(name)
    radio = known.radio
    assert 0 < radio.sleep_w < radio.idle_w <= radio.rx_w <= radio.tx_static_w
    assert 0 < radio.pa_efficiency < 1
    assert 0 < known.idle_power_w < known.active_power_w


def test_a_base_station_takes_what_earth_says() -> None:
    """Auer et al. 2011: P0 + Δp·Pmax = 130 W + 4.7 · 20 W at full load, and 75 W asleep."""
    server = profile("edge-server")
    assert server.max_tx_power_w == 20.0
    assert server.radio.sending_w(20.0) == pytest.approx(224.0)
    assert server.radio.sending_w(0.0) == server.radio.rx_w == server.radio.idle_w == 130.0
    assert server.radio.sleep_w == 75.0
    two = replace(server, energy=SOCKET, radios=2)
    assert two.power.idle_w == 9.0 + 2 * 130.0
    assert two.power.rx_w == 0.0


def test_a_modem_takes_what_tr_38_840_says_at_the_measured_scale() -> None:
    """Both ends of its line for sending, 250 units at 0 dBm and 700 at 23 dBm."""
    radio = profile("phone-flagship").radio
    unit_w = 4.2 * (0.182 - 0.040) / (92.5 - 1)
    assert radio.sending_w(1e-3) == pytest.approx(4.2 * 0.040 + 249 * unit_w)
    assert radio.sending_w(10**-0.7) == pytest.approx(4.2 * 0.040 + 699 * unit_w)
    assert radio.rx_w - radio.idle_w == pytest.approx(70 * unit_w)


def test_a_wifi_card_takes_what_was_measured() -> None:
    """Halperin et al. 2010, one antenna: 1.14 W at 0 dBm."""
    radio = profile("raspberry-pi-4").radio
    assert radio.sending_w(1e-3) == pytest.approx(1.14)
    assert (radio.sleep_w, radio.idle_w, radio.rx_w) == (0.10, 0.82, 0.94)
