"""Links of one direction as arrays: their model, what they share, their setting.

A link's model at power p and bandwidth b is r(b, p) = η·b·log2(1 + p·g/(b·n)), from measured gain
g, noise and interference n, and η. `collapipe_ns3.prediction.measured_links` makes them from an
observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Ints, Mask

#: Slots that a transfer loses on average: half of one until the next begins, half in its last one,
#: which is filled in part.
SLOTS_LOST = 1.0


@dataclass(frozen=True)
class LinkSetting:
    """Power and bandwidth of all links of one direction: (P, n, n) for sidelinks, else (P,)."""

    power_w: Array
    bandwidth_hz: Array

    def copy(self) -> LinkSetting:
        """The same in arrays of its own."""
        return LinkSetting(self.power_w.copy(), self.bandwidth_hz.copy())

    def take(self, rows: Ints) -> LinkSetting:
        """The setting of these clusters."""
        return LinkSetting(self.power_w[rows], self.bandwidth_hz[rows])

    def put(self, rows: Mask, other: LinkSetting) -> LinkSetting:
        """This setting, with the marked clusters' replaced by that of `other`."""
        marked = rows.reshape(-1, *(1,) * (self.power_w.ndim - 1))
        return LinkSetting(
            np.where(marked, other.power_w, self.power_w),
            np.where(marked, other.bandwidth_hz, self.bandwidth_hz),
        )


@dataclass(frozen=True)
class Links:
    """All links of one direction: (P, n, n) for sidelinks, (P,) for uplinks or downlinks.

    Of the model: `snr` is g/n in Hz/W, `efficiency` is η near a fair part of the band, and
    `whole_efficiency` is η where all of the band is used. `latency` is in seconds and includes what
    slots cost on average. `epsilon` is the relative distortion, `duty` the part of a hold that is
    on the air. `measured` marks links that were not guessed.

    Without grants a link uses `natural_hz`, as the radio has it. With `grants` the sidelinks of a
    cluster, or all uplinks or all downlinks, share `band_hz` (P,). Without a grant, part x of the
    band carries x^(1 − `spread`) of what all of it would, as the power is then spread over less of
    it; `spread` (P,) is 0 where power is bound to the band. `bulk` (P,) is how many times as long
    bytes take that are sent in bulk. The rest is as in `collapipe_ns3.observed.Medium`.
    """

    snr: Array
    efficiency: Array
    whole_efficiency: Array
    latency: Array
    epsilon: Array
    duty: Array
    natural_hz: Array
    band_hz: Array
    bulk: Array
    grants: bool
    shared: bool
    half_duplex: bool
    measured: Mask
    spread: Array
    slot_s: float = 0.0
    at_once: bool = False
    replies: float = 0.0

    @property
    def own_latency(self) -> Array:
        """The latency without what slots cost."""
        return np.maximum(self.latency - SLOTS_LOST * self.slot_s, 0.0)

    @property
    def crowded_hold(self) -> Array:
        """The factor on a link's hold of the band while all other links share it, (P,)."""
        return len(self.spread) ** -self.spread if self.shared else np.ones_like(self.spread)

    @property
    def crowded_airtime(self) -> Array:
        """How many times as long a link is on the air while all others share its band, (P,)."""
        if self.shared and (self.at_once or self.slot_s):
            return len(self.spread) * self.crowded_hold
        return np.ones_like(self.spread)

    def seconds_per_byte(self, setting: LinkSetting) -> Array:
        """8/r(b, p) of every link; infinite where there is no power or bandwidth."""
        hz = setting.bandwidth_hz
        with np.errstate(divide="ignore", invalid="ignore"):
            sinr = setting.power_w * self.snr / hz
            rate = self.efficiency * hz * np.log2(1 + sinr)
            return np.where(rate > 0, 8 / rate, np.inf)

    def seconds_per_byte_in(
        self, at: tuple[int, ...], power_w: float, hz: float, whole: bool
    ) -> float:
        """8/r(b, p) of one link in `hz` of the band; `whole` if that is all of it."""
        efficiency = float((self.whole_efficiency if whole else self.efficiency)[at])
        rate = efficiency * hz * math.log2(1 + power_w * float(self.snr[at]) / hz)
        return 8 / rate if rate > 0 else math.inf

    def opened(self) -> Links:
        """These links without grants: they take turns at their whole band."""
        if not self.grants:
            return self
        whole = self.band_hz.reshape(-1, *(1,) * (self.snr.ndim - 1))
        natural_hz = np.broadcast_to(whole, self.snr.shape)
        efficiency = self.whole_efficiency
        return replace(
            self, efficiency=efficiency, natural_hz=natural_hz, grants=False, shared=True
        )

    def take(self, rows: Ints) -> Links:
        """The links of these clusters."""
        return replace(
            self,
            snr=self.snr[rows],
            efficiency=self.efficiency[rows],
            whole_efficiency=self.whole_efficiency[rows],
            latency=self.latency[rows],
            epsilon=self.epsilon[rows],
            duty=self.duty[rows],
            natural_hz=self.natural_hz[rows],
            band_hz=self.band_hz[rows],
            bulk=self.bulk[rows],
            measured=self.measured[rows],
            spread=self.spread[rows],
        )

    def pick(self, nodes: Ints) -> Links:
        """Sidelinks between these nodes of each cluster in place of all, (P, n)."""
        rows = np.arange(len(nodes))[:, None, None]
        a, b = nodes[:, :, None], nodes[:, None, :]
        return replace(
            self,
            snr=self.snr[rows, a, b],
            efficiency=self.efficiency[rows, a, b],
            whole_efficiency=self.whole_efficiency[rows, a, b],
            latency=self.latency[rows, a, b],
            epsilon=self.epsilon[rows, a, b],
            duty=self.duty[rows, a, b],
            natural_hz=self.natural_hz[rows, a, b],
            measured=self.measured[rows, a, b],
        )
