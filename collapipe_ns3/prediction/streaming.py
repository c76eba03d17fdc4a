"""When the phases of a streamed round end, in closed form.

Bytes are taken to arrive evenly, in the order of the units: a cluster's download from `begin` to
`down`, a device's segment of it from the instant at which its first byte reaches the control unit.
A chunk of c bytes is forwarded when all of it has arrived, so that two links of y₁ and y₂ seconds
per byte are a line: the second ends c·y₂ after the first, or, where it is slower, takes as long as
it would alone and c·y₁ more (`docs/exchange.md`). What a device has trained goes the same way back
after its own last step, that of the last device first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.round_costs import RoundCosts, SegmentTimes


@dataclass(frozen=True)
class Stream:
    """The part of a round that streaming changes; arrays have a row for each cluster.

    A chunk carries what takes `down_bytes` in fp32 on the way down, and `up_bytes` (P, 1), or
    (1, 1) if they are all alike, on the way up.
    """

    fleet: Fleet
    work: Workload
    costs: RoundCosts
    down_bytes: float
    up_bytes: Array

    @property
    def _segments(self) -> SegmentTimes:
        return self.costs.segments

    def _chunk(self, chunk_bytes: float | Array) -> Array:
        """The part of each segment that a chunk is at most, (P, K)."""
        size = self._segments.size
        return np.minimum(chunk_bytes / np.maximum(size, 1.0), 1.0) * (size > 0)

    def _crowded(self, holds: Array, begin: Array) -> Array:
        """Holds (P, K) of sidelinks, which last longer where others share the medium.

        Those are clusters with the same `begin`, (P,).
        """
        if not self.fleet.links.sidelink.shared:
            return holds
        own = holds.sum(-1)
        medium = self.fleet.medium
        together = (medium[:, None] == medium) & (begin[:, None] == begin)
        on_air: Array = together @ own
        factor = on_air / np.where(own > 0, own, 1.0)
        crowded: Array = holds * factor[:, None]
        return crowded

    def placed(self, begin: Array, down: Array) -> tuple[Array, Array]:
        """When the first stage and each device have their units, (P,) and (P, K).

        The model reaches the control units from `begin` to `down`, (P,).
        """
        parts, total = self._segments, self.work.upload_bytes
        latency_s, span = self.fleet.links.downlink.latency, down - begin
        after = total - parts.size.sum(-1)[:, None] + parts.size.cumsum(-1)
        coming = (begin + latency_s)[:, None] + span[:, None] * (after - parts.size) / total
        come = (begin + latency_s)[:, None] + span[:, None] * after / total
        ahead = np.minimum(
            np.ceil((total - parts.size.sum(-1)) / self.down_bytes) * self.down_bytes, total
        )
        first = begin + latency_s + span * ahead / total
        filled = span[:, None] * np.minimum(self.down_bytes, parts.size) / total
        chunk = self._chunk(self.down_bytes)
        out, ended = self._crowded(parts.out, begin), np.zeros_like(come)
        busy = np.zeros(len(down))
        for place in range(out.shape[1]):
            free = np.maximum(busy, coming[:, place] + filled[:, place])
            last = come[:, place] + (out * chunk)[:, place]
            ended[:, place] = np.maximum(last, free + out[:, place])
            if self.fleet.links.sidelink.shared:
                busy = np.where(out[:, place] > 0, ended[:, place], busy)
        return first, np.where(parts.size > 0, ended + parts.out_latency, 0.0)

    def trained(self, first: Array, placed: Array) -> Array:
        """When the local steps end, (P,), given `placed`.

        The devices ahead of one that waits for its segment have begun their first step.
        """
        begun = np.maximum(first, (placed - self._segments.head).max(-1))
        ended: Array = begun + self.work.local_steps * self.costs.step
        return ended

    @property
    def _back_s(self) -> Array:
        """How long segments hold the medium on their way back, (P, K)."""
        return self._crowded(self._segments.back, np.zeros(len(self.costs.step)))

    def gathered(self, trained: Array) -> Array:
        """When the control unit has each device's segment again, (P, K), the last device first."""
        parts = self._segments
        back, ended = self._back_s, np.zeros_like(parts.back)
        busy = np.zeros(len(trained))
        for place in reversed(range(back.shape[1])):
            ready = np.maximum(trained - parts.tail[:, place], busy)
            ended[:, place] = ready + back[:, place]
            if self.fleet.links.sidelink.shared:
                busy = np.where(back[:, place] > 0, ended[:, place], busy)
        return np.where(parts.size > 0, ended + parts.back_latency, 0.0)

    def uploads(self, trained: Array, gathered: Array) -> tuple[Array, Array]:
        """When each cluster's upload can begin, and when it ends at best, both (P,).

        The latter is its end if no other cluster uploads at the same time.
        """
        parts, total = self._segments, self.work.upload_bytes
        chunk = self._chunk(self.up_bytes)
        # Devices whose steps end at about the same time share a medium for their first chunks.
        sharing = (parts.size > 0).sum(-1)[:, None] if self.fleet.links.sidelink.shared else 1
        waits = self._back_s * (1 - np.minimum(sharing * chunk, 1.0))
        ready = np.where(parts.size > 0, gathered - waits, np.inf)
        rest = self.costs.upload * (1 - parts.size.sum(-1) / total)  # of the control unit's own
        begin = ready.min(-1)
        begin = np.minimum(begin, np.maximum(trained, begin - rest))
        hold = self.costs.upload[:, None] * parts.size / total
        end = (gathered + hold * chunk).max(-1)
        order = np.argsort(ready, -1)
        come, holds = np.take_along_axis(ready, order, -1), np.take_along_axis(hold, order, -1)
        busy = begin + rest
        for place in range(come.shape[1]):
            used = np.isfinite(come[:, place])
            busy = np.where(used, np.maximum(busy, come[:, place]) + holds[:, place], busy)
        return begin, np.maximum(end, busy)
