"""How often nodes leave, estimated from departures that were seen.

A node leaves at a constant rate λ per second in which it is there, so that d departures in t
seconds have the likelihood λ^d·e^{-λt}, whose conjugate prior is Gamma(a, b): the mean afterwards
is (a + d)/(b + t). The prior of a node has the mean rate of its profile and the weight of one
departure, Gamma(1, 1/λ_profile). That of a profile has the mean rate of all nodes and the same
weight. The rate of all nodes is the total of departures over the total of time. So the estimate of
a node begins at that of its like, and goes to its own rate. Before any departure was seen, none is
expected.

A departure is seen where a pipeline lost a node, or where a node is absent before a round and was
there before the last. Of the latter, the time of the departure is taken to be the middle of that
round. A node without a part in a round that leaves and returns within it is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from collapipe_ns3.outcome import RoundOutcome

#: The weight of a prior, in departures.
_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Departures:
    """What has been seen of departures.

    `counts` and `up_s` are the departures and the seconds in which a node was there, by node. Of
    the last round, `absent` were away when it began, `lost` left while they were needed, and
    `round_s` is how long it took.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    up_s: Mapping[str, float] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    round_s: float = 0.0

    def seen_before(self, absent: Collection[str]) -> Self:
        """What is known when a round begins, before which these nodes are absent."""
        counts, up_s = dict(self.counts), dict(self.up_s)
        for node in sorted(set(absent) - self.absent - self.lost):
            if node in up_s:
                counts[node] = counts.get(node, 0) + 1
                up_s[node] -= self.round_s / 2
        return type(self)(counts, up_s, frozenset(absent), frozenset(), 0.0)

    def after(self, nodes: Iterable[str], outcome: RoundOutcome) -> Self:
        """What is known after a round, which these nodes might have taken part in."""
        counts, up_s = dict(self.counts), dict(self.up_s)
        round_s = outcome.duration_ns / 1e9
        left_s = {
            each.device: (each.at_ns - outcome.start_ns) / 1e9
            for pipeline in outcome.pipelines
            for each in pipeline.lost
        }
        for node in nodes:
            if node not in self.absent:
                up_s[node] = up_s.get(node, 0.0) + min(left_s.get(node, round_s), round_s)
                if node in left_s:
                    counts[node] = counts.get(node, 0) + 1
        return type(self)(counts, up_s, self.absent, frozenset(left_s), round_s)

    def hazards(self, profiles: Mapping[str, str]) -> dict[str, float]:
        """The estimated rate of every node, given the names of their profiles; none before any."""
        every = sum(self.counts.values())
        if not every:
            return {}
        overall = every / math.fsum(self.up_s.values())
        found = {}
        for profile in dict.fromkeys(profiles.values()):
            own = [node for node, name in profiles.items() if name == profile]
            count = sum(self.counts.get(node, 0) for node in own)
            like = _rate(overall, count, math.fsum(self.up_s.get(node, 0.0) for node in own))
            for node in own:
                found[node] = _rate(like, self.counts.get(node, 0), self.up_s.get(node, 0.0))
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "counts": dict(self.counts),
            "up_s": dict(self.up_s),
            "absent": sorted(self.absent),
            "lost": sorted(self.lost),
            "round_s": self.round_s,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """What `to_json` gave."""
        absent, lost = frozenset(data["absent"]), frozenset(data["lost"])
        return cls(dict(data["counts"]), dict(data["up_s"]), absent, lost, data["round_s"])


def _rate(prior: float, count: int, up_s: float) -> float:
    """The mean of the rate, whose prior has this mean."""
    return (_WEIGHT + count) / (_WEIGHT / prior + max(up_s, 0.0))
