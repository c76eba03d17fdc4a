"""What a node takes from its supply: at rest, and above that while it computes, sends or receives.

  energy = rest × time up + (active - idle) × computing
           + Σ over transmissions (static + radiated / η - rest of the radio) × airtime
           + (receiving - rest of the radio) × time of reception

All powers are watts. A board's full-load power includes what it takes at idle, and a radio that
sends or receives takes the power of that state instead of its power at rest, so only the
differences are added to the node's rest, which is that of its board and of its radios together.
The power amplifier's efficiency η relates what a radio radiates to what that takes of the supply
(EARTH's 1/Δp: Auer et al., How much energy is needed to run a wireless network?, IEEE Wireless
Communications 18(5), 2011).

By the model `radiated` only the radiated power counts for sending, there is nothing at rest, and
computing takes the full-load power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

#: How a radio rests between transmissions and receptions.
Rest = Literal["idle", "sleep"]


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """How energy is counted: at the socket, or as computing, receiving and radiated energy only."""

    model: Literal["socket", "radiated"] = "radiated"
    radio_rest: Rest = "idle"


#: Only what is radiated counts for sending, and nothing at rest.
RADIATED = EnergyModel("radiated")


@dataclass(frozen=True, slots=True)
class RadioPower:
    """What a radio takes in each of its states, in watts of its supply.

    `idle_w` is while it listens, and `sleep_w` while it can neither send nor receive. Sending takes
    `tx_static_w` and the radiated power divided by `pa_efficiency`.
    """

    sleep_w: float
    idle_w: float
    rx_w: float
    tx_static_w: float
    pa_efficiency: float

    def sending_w(self, radiated_w: float) -> float:
        """What it takes while it radiates so many watts."""
        return self.tx_static_w + radiated_w / self.pa_efficiency

    def resting_w(self, rest: Rest) -> float:
        """What it takes while it neither sends nor receives."""
        return self.sleep_w if rest == "sleep" else self.idle_w


@dataclass(frozen=True, slots=True)
class NodePower:
    """What a node takes, in watts: `idle_w` whenever it is up, and all others on top of that.

    `computing_w` is while it computes, `rx_w` while a radio receives. A radio that sends takes
    `tx_static_w` and `tx_per_w` for each radiated watt. `radio_rest_w` is the part of `idle_w` that
    one of its radios takes.
    """

    idle_w: float
    computing_w: float
    rx_w: float
    tx_static_w: float
    tx_per_w: float
    radio_rest_w: float = 0.0

    def sending_j(self, airtime_s: float, radiated_j: float) -> float:
        """The energy above idle for sending so long, with so much radiated energy."""
        return self.tx_static_w * airtime_s + self.tx_per_w * radiated_j


class RadioUse(Protocol):
    """How much a node's radios were used: the part of `bridge.network.NodeUsage` that counts.

    `tx_energy_j` is the radiated energy.
    """

    @property
    def tx_airtime_s(self) -> float: ...
    @property
    def rx_airtime_s(self) -> float: ...
    @property
    def tx_energy_j(self) -> float: ...
    @property
    def rx_energy_j(self) -> float: ...


class WithPower(Protocol):
    """A node's profile: the part of `DeviceProfile` that counts."""

    @property
    def power(self) -> NodePower: ...


def radio_joules(
    usage: Mapping[str, RadioUse], profiles: Mapping[str, WithPower]
) -> dict[str, tuple[float, float]]:
    """The joules above idle that each node's radios took for sending and for receiving.

    Networks know each node's power while it receives, and count that energy themselves. Nodes
    without a profile, such as the sources of background traffic, are left out.
    """
    return {
        node: (
            profiles[node].power.sending_j(use.tx_airtime_s, use.tx_energy_j),
            use.rx_energy_j,
        )
        for node, use in usage.items()
        if node in profiles
    }
