"""Device profiles: computing speed, memory and power of the nodes.

`flops_per_s` is the sustained single-precision throughput in training: the published peak times an
efficiency, which is low for small matrices on small devices. Without a published measurement of
training, the efficiency is this project's estimate, and the profile's `source` says so. A study may
override any value of a profile by its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from collapipe_ns3.names import did_you_mean

GIB = 2**30


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A kind of device. Powers are in watts; every computation takes `overhead_s` more.

    `memory_bytes` is available for training: the device's memory minus what its system needs.
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

    def computing_in(self, precision: str) -> Self:
        """The profile with the throughput in this precision, where it has one of its own."""
        if precision != "bfloat16" or self.flops_per_s_bf16 is None:
            return self
        return replace(self, flops_per_s=self.flops_per_s_bf16)


_PROFILES = [
    DeviceProfile(
        name="raspberry-pi-4",
        flops_per_s=12e9,
        overhead_s=2e-3,
        memory_bytes=3 * GIB,
        active_power_w=6.4,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        source="Cortex-A72, 4 cores × 1.5 GHz × 8 FLOP a cycle = 48 GFLOP/s peak; 25 % of it "
        "(estimate). 6.4 W under full load on all cores (Raspberry Pi's product documentation). "
        "4 GiB model.",
    ),
    DeviceProfile(
        name="jetson-nano",
        flops_per_s=71e9,
        overhead_s=1e-3,
        memory_bytes=3 * GIB,
        active_power_w=10.0,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        source="128 Maxwell cores at 921 MHz: 236 GFLOP/s peak fp32, half of the 472 GFLOP/s fp16 "
        "of NVIDIA's data sheet; 30 % of it (estimate). 10 W mode, 4 GiB shared.",
    ),
    DeviceProfile(
        name="jetson-xavier-nx",
        flops_per_s=253e9,
        overhead_s=0.8e-3,
        memory_bytes=6 * GIB,
        active_power_w=15.0,
        max_tx_power_w=0.1,
        rx_power_w=0.9,
        source="384 Volta cores × 1.1 GHz × 2 = 845 GFLOP/s peak fp32 (NVIDIA's data sheet); 30 % "
        "of it (estimate). 15 W mode, 8 GiB shared.",
    ),
    DeviceProfile(
        name="phone-midrange",
        flops_per_s=20e9,
        overhead_s=1.5e-3,
        memory_bytes=2 * GIB,
        active_power_w=3.5,
        max_tx_power_w=0.1,
        rx_power_w=0.8,
        source="Two Cortex-A76 at 2.2 GHz × 16 FLOP a cycle and six Cortex-A55 at 1.8 GHz × 8 = "
        "157 GFLOP/s peak; 13 % of it sustained under a phone's thermal limit (estimate, as is "
        "3.5 W). 6 GiB, of which an app gets 2.",
    ),
    DeviceProfile(
        name="phone-flagship",
        flops_per_s=60e9,
        overhead_s=1e-3,
        memory_bytes=4 * GIB,
        active_power_w=5.0,
        max_tx_power_w=0.1,
        rx_power_w=0.8,
        source="One Cortex-X2 at 3.0 GHz × 32 FLOP a cycle, three A710 at 2.5 GHz × 16, four A510 "
        "at 1.8 GHz × 8 = 274 GFLOP/s peak; 22 % of it sustained (estimate, as is 5 W). 12 GiB, "
        "of which an app gets 4.",
    ),
    DeviceProfile(
        name="edge-server",
        flops_per_s=3.2e12,
        overhead_s=0.2e-3,
        memory_bytes=15 * GIB,
        active_power_w=70.0,
        max_tx_power_w=20.0,
        rx_power_w=10.0,
        source="NVIDIA T4: 8.1 TFLOP/s peak fp32, 16 GiB, 70 W (NVIDIA's data sheet); 40 % of "
        "the peak (estimate). 43 dBm of transmit power: macro base station of 3GPP TR 36.814, "
        "table A.2.1.1-2, for 10 MHz less 3 dB. Receive power 10 W (estimate).",
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
