"""Device profiles: computing speed, memory and power of the nodes.

`flops_per_s` is the sustained single-precision throughput in training: the published peak times an
efficiency, which is low for small matrices on small devices. Without a published measurement of
training, the efficiency is this project's estimate, and the profile's `source` says so. A study may
override any value of a profile by its name.

Powers are absolute, and each has its source: the full-load power of a board includes its idle
power. How they add up to energy is in `collapipe_ns3.costs.power`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from collapipe_ns3.costs.power import RADIATED, EnergyModel, NodePower, RadioPower
from collapipe_ns3.names import did_you_mean

GIB = 2**30

#: A radio that takes nothing but what it radiates.
_LOSSLESS = RadioPower(sleep_w=0.0, idle_w=0.0, rx_w=0.0, tx_static_w=0.0, pa_efficiency=1.0)


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A kind of device. Powers are in watts; every computation takes `overhead_s` more.

    `memory_bytes` is available for training: the device's memory minus what its system needs.
    `active_power_w` is the board's power under full load and `idle_power_w` at idle, both without
    radios. `radio` has the powers of each of its `radios`, which are always on. `rx_power_w` is
    what receiving takes by the energy model `radiated`. `energy` is the model in use.
    `flops_per_s_bf16` is the throughput where matrix products are computed in bfloat16, None where
    it is not known or the same.
    """

    name: str
    flops_per_s: float
    overhead_s: float
    memory_bytes: int
    active_power_w: float
    max_tx_power_w: float
    rx_power_w: float
    source: str
    flops_per_s_bf16: float | None = None
    idle_power_w: float = 0.0
    radio: RadioPower = _LOSSLESS
    radios: int = 1
    energy: EnergyModel = RADIATED

    @property
    def power(self) -> NodePower:
        """What the node takes at idle and above it, by its energy model."""
        if self.energy.model == "radiated":
            return NodePower(0.0, self.active_power_w, self.rx_power_w, 0.0, 1.0)
        rest_w = self.radio.resting_w(self.energy.radio_rest)
        return NodePower(
            idle_w=self.idle_power_w + self.radios * rest_w,
            computing_w=self.active_power_w - self.idle_power_w,
            rx_w=self.radio.rx_w - rest_w,
            tx_static_w=self.radio.tx_static_w - rest_w,
            tx_per_w=1 / self.radio.pa_efficiency,
            radio_rest_w=rest_w,
        )

    def computing_in(self, precision: str) -> Self:
        """The profile with the throughput in this precision, where it has one of its own."""
        if precision != "bfloat16" or self.flops_per_s_bf16 is None:
            return self
        return replace(self, flops_per_s=self.flops_per_s_bf16)


#: A Wi-Fi card with one antenna. 1.14 W are measured at 0 dBm, so its static part is that less
#: 1 mW / η. η = 0.1 is the default of ns-3's `LinearWifiTxCurrentModel`.
_WIFI_CARD = RadioPower(sleep_w=0.10, idle_w=0.82, rx_w=0.94, tx_static_w=1.13, pa_efficiency=0.1)
_WIFI_SOURCE = (
    "Radio: Intel 5300 Wi-Fi card with one antenna, measured: 0.10 W asleep, 0.82 W listening, "
    "0.94 W receiving, 1.14 W sending at 0 dBm (Halperin et al., Demystifying 802.11n power "
    "consumption, HotPower 2010; also the defaults of ns-3's WifiRadioEnergyModel); efficiency of "
    "the power amplifier 10 % (the default of ns-3's LinearWifiTxCurrentModel)."
)


def _modem(units: float) -> float:
    """The watts of a cellular modem in a state of so many relative units of TR 38.840.

    The scale is measured: a Snapdragon X55 at 4.2 V takes 40 mA in deep sleep, which is 1 unit, and
    182 mA in slots with PDCCH only at 90 MHz, which are 92.5 units.
    """
    milliamperes = 40 + (182 - 40) / (92.5 - 1) * (units - 1)
    return 4.2e-3 * milliamperes


#: A cellular modem on a carrier of 20 MHz: micro sleep, PDCCH only, PDCCH and PDSCH. Sending takes
#: 250 units at 0 dBm and 700 at 23 dBm, between them in proportion to the radiated power.
_MODEM_PER_W = (_modem(700) - _modem(250)) / (10**-0.7 - 1e-3)
_MODEM = RadioPower(
    sleep_w=_modem(45),
    idle_w=_modem(50),
    rx_w=_modem(120),
    tx_static_w=_modem(250) - 1e-3 * _MODEM_PER_W,
    pa_efficiency=1 / _MODEM_PER_W,
)
_MODEM_SOURCE = (
    "Radio: relative power of 3GPP TR 38.840, section 8.1, for a carrier of 20 MHz: micro sleep "
    "45, PDCCH only 50, PDCCH and PDSCH 120, sending 250 at 0 dBm and 700 at 23 dBm. Scale "
    "6.5 mW a unit, measured on a Snapdragon X55 modem at 4.2 V: 40 mA in deep sleep, 182 mA with "
    "PDCCH only at 90 MHz (thesis on 5G handover optimization, github.com/bjoluc/"
    "5g-handover-optimization, section 3.3)."
)
_PHONE_IDLE = (
    "awake with the display off, 0.33 W measured on a Nexus One with its radio on (Carroll and "
    "Heiser, An analysis of power consumption in a smartphone, USENIX ATC 2010), rounded down. "
)

_PROFILES = [
    DeviceProfile(
        name="raspberry-pi-4",
        flops_per_s=12e9,
        overhead_s=2e-3,
        memory_bytes=3 * GIB,
        active_power_w=6.4,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        idle_power_w=2.7,
        radio=_WIFI_CARD,
        source="Cortex-A72, 4 cores × 1.5 GHz × 8 FLOP a cycle = 48 GFLOP/s peak; 25 % of it "
        "(estimate). 4 GiB model. At 5 V, measured: 540 mA at idle, 1280 mA with all cores busy "
        "(Raspberry Pi Dramble, power consumption benchmarks). " + _WIFI_SOURCE,
    ),
    DeviceProfile(
        name="jetson-nano",
        flops_per_s=71e9,
        overhead_s=1e-3,
        memory_bytes=3 * GIB,
        active_power_w=10.0,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        idle_power_w=1.4,
        radio=_WIFI_CARD,
        source="128 Maxwell cores at 921 MHz: 236 GFLOP/s peak fp32, half of the 472 GFLOP/s fp16 "
        "of NVIDIA's data sheet; 30 % of it (estimate). 4 GiB shared. 10 W mode; idle as its power "
        "monitor has it (tegrastats, POM_5V_IN 1.39 W with all cores at 102 MHz). " + _WIFI_SOURCE,
    ),
    DeviceProfile(
        name="jetson-xavier-nx",
        flops_per_s=253e9,
        overhead_s=0.8e-3,
        memory_bytes=6 * GIB,
        active_power_w=15.0,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        idle_power_w=3.8,
        radio=_WIFI_CARD,
        source="384 Volta cores × 1.1 GHz × 2 = 845 GFLOP/s peak fp32 (NVIDIA's data sheet); 30 % "
        "of it (estimate). 8 GiB shared. 15 W mode; idle as its power monitor has it (tegrastats, "
        "VDD_IN 3.76 W with two cores at 1.19 GHz). " + _WIFI_SOURCE,
    ),
    DeviceProfile(
        name="phone-midrange",
        flops_per_s=20e9,
        overhead_s=1.5e-3,
        memory_bytes=2 * GIB,
        active_power_w=3.5,
        max_tx_power_w=0.1,
        rx_power_w=0.8,
        idle_power_w=0.3,
        radio=_MODEM,
        source="Two Cortex-A76 at 2.2 GHz × 16 FLOP a cycle and six Cortex-A55 at 1.8 GHz × 8 = "
        "157 GFLOP/s peak; 13 % of it sustained under a phone's thermal limit (estimate, as is "
        "3.5 W). 6 GiB, of which an app gets 2. Idle: " + _PHONE_IDLE + _MODEM_SOURCE,
    ),
    DeviceProfile(
        name="phone-flagship",
        flops_per_s=60e9,
        overhead_s=1e-3,
        memory_bytes=4 * GIB,
        active_power_w=5.0,
        max_tx_power_w=0.1,
        rx_power_w=0.8,
        idle_power_w=0.3,
        radio=_MODEM,
        source="One Cortex-X2 at 3.0 GHz × 32 FLOP a cycle, three A710 at 2.5 GHz × 16, four A510 "
        "at 1.8 GHz × 8 = 274 GFLOP/s peak; 22 % of it sustained (estimate, as is 5 W). 12 GiB, "
        "of which an app gets 4. Idle: " + _PHONE_IDLE + _MODEM_SOURCE,
    ),
    DeviceProfile(
        name="edge-server",
        flops_per_s=3.2e12,
        overhead_s=0.2e-3,
        memory_bytes=15 * GIB,
        active_power_w=70.0,
        max_tx_power_w=20.0,
        rx_power_w=10.0,
        idle_power_w=9.0,
        radio=RadioPower(
            sleep_w=75.0, idle_w=130.0, rx_w=130.0, tx_static_w=130.0, pa_efficiency=1 / 4.7
        ),
        source="NVIDIA T4: 8.1 TFLOP/s peak fp32, 16 GiB, 70 W (NVIDIA's data sheet); 40 % of "
        "the peak (estimate); 9 W at idle (nvidia-smi, state P8). Its host is not counted. 43 dBm "
        "of transmit power: macro base station of 3GPP TR 36.814, table A.2.1.1-2, for 10 MHz "
        "less 3 dB. Radio: one transceiver of EARTH's macro base station, 130 W without load, "
        "75 W asleep, 4.7 W more for each radiated watt (Auer et al., How much energy is needed "
        "to run a wireless network?, IEEE Wireless Communications 18(5), 2011, table 2); "
        "receiving is part of the 130 W. Receive power of the model `radiated` 10 W (estimate).",
    ),
]


class UnknownProfile(ValueError):
    """There is no bundled profile of this name; the message suggests the nearest."""


def profiles() -> dict[str, DeviceProfile]:
    """The bundled profiles by name."""
    return {profile.name: profile for profile in _PROFILES}


def profile(name: str) -> DeviceProfile:
    """A bundled profile; raises `UnknownProfile`."""
    known = profiles()
    if name not in known:
        raise UnknownProfile(f"no device profile {name!r}; {did_you_mean(name, known)}")
    return known[name]
