"""Power and bandwidth of every link, the decision about the radio, and the speeds that follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.directions import PerDirection
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import LinkSetting


@dataclass(frozen=True)
class RadioSetting(PerDirection[LinkSetting]):
    """Power and bandwidth of every link."""

    def copy(self) -> RadioSetting:
        """The same in arrays of its own."""
        return RadioSetting(self.sidelink.copy(), self.uplink.copy(), self.downlink.copy())

    def take(self, rows: Ints) -> RadioSetting:
        """The setting of these clusters."""
        return RadioSetting(
            self.sidelink.take(rows), self.uplink.take(rows), self.downlink.take(rows)
        )

    def put(self, rows: Mask, other: RadioSetting) -> RadioSetting:
        """This setting, with the marked clusters' replaced by that of `other`."""
        return RadioSetting(
            self.sidelink.put(rows, other.sidelink),
            self.uplink.put(rows, other.uplink),
            self.downlink.put(rows, other.downlink),
        )

    def with_power_w(
        self,
        *,
        sidelink: Array | None = None,
        uplink: Array | None = None,
        downlink: Array | None = None,
    ) -> RadioSetting:
        """This setting with other powers where they are given."""
        return RadioSetting(
            _with_power_w(self.sidelink, sidelink),
            _with_power_w(self.uplink, uplink),
            _with_power_w(self.downlink, downlink),
        )

    def with_bandwidth_hz(
        self,
        *,
        sidelink: Array | None = None,
        uplink: Array | None = None,
        downlink: Array | None = None,
    ) -> RadioSetting:
        """This setting with other bandwidths where they are given."""
        return RadioSetting(
            _with_bandwidth_hz(self.sidelink, sidelink),
            _with_bandwidth_hz(self.uplink, uplink),
            _with_bandwidth_hz(self.downlink, downlink),
        )


def _with_power_w(setting: LinkSetting, power_w: Array | None) -> LinkSetting:
    return setting if power_w is None else replace(setting, power_w=power_w)


def _with_bandwidth_hz(setting: LinkSetting, bandwidth_hz: Array | None) -> LinkSetting:
    return setting if bandwidth_hz is None else replace(setting, bandwidth_hz=bandwidth_hz)


@dataclass(frozen=True)
class SecondsPerByte(PerDirection[Array]):
    """How long each byte holds each link, in seconds; infinite where a link carries nothing."""

    @staticmethod
    def of(fleet: Fleet, radio: RadioSetting) -> SecondsPerByte:
        """The seconds per byte of the fleet's links under this setting."""
        links = fleet.links
        return SecondsPerByte(
            links.sidelink.seconds_per_byte(radio.sidelink),
            links.uplink.seconds_per_byte(radio.uplink),
            links.downlink.seconds_per_byte(radio.downlink),
        )
