"""The segment problem: all that segments are chosen by, and the cases that are compared.

Arrays are by cluster (P,), by case (R,) or, where the search for plans is, by row of its tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.energy import overhearing_price
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Loads


@dataclass(frozen=True)
class Prices:
    """What the objective charges each cluster.

    `time` (P,) is for a second of the cluster's round, `energy` (P, n) for a joule of each node,
    `divergence` (P,) for a unit of divergence. `listening` (P,) is for a second on the air, of all
    nodes that overhear it (`collapipe_ns3.prediction.energy.overhearing_price`). `use` (P, n) is
    for the use of each device, however many blocks it has, as it may leave; None where none does.
    """

    time: Array
    energy: Array
    divergence: Array
    listening: Array
    use: Array | None = None

    @classmethod
    def of(cls, fleet: Fleet, time: Array, energy: Array, divergence: Array) -> Self:
        """The prices, with that of overhearing on this fleet."""
        return cls(time, energy, divergence, overhearing_price(fleet, energy))

    def take(self, rows: Ints) -> Prices:
        """The prices of these clusters."""
        return Prices(
            self.time[rows],
            self.energy[rows],
            self.divergence[rows],
            self.listening[rows],
            None if self.use is None else self.use[rows],
        )

    def pick(self, nodes: Ints) -> Prices:
        """The prices with only these nodes of each cluster; `nodes` (P, n) are their numbers."""
        return replace(
            self,
            energy=np.take_along_axis(self.energy, nodes, -1),
            use=None if self.use is None else np.take_along_axis(self.use, nodes, -1),
        )


def divisors(batch: int, most: int | None = None) -> tuple[int, ...]:
    """The numbers of equal micro-batches that a batch can be cut into, in order."""
    return tuple(m for m in range(1, batch + 1) if batch % m == 0 and m <= (most or batch))


def sidelinks_used(size: Ints) -> Ints:
    """How many directed sidelinks pipelines of so many devices use: 4s - 2, or two if s is 1."""
    return np.maximum(4 * size - 2, 2)


@dataclass(frozen=True)
class Choices:
    """How batches may be cut: the numbers of micro-batches, and which schedules are allowed."""

    micro_batches: tuple[int, ...]
    gpipe: bool = True
    one_f_one_b: bool = True

    @property
    def schedules(self) -> tuple[bool, ...]:
        """The allowed schedules: false for GPipe, true for 1F1B."""
        return (False,) * self.gpipe + (True,) * self.one_f_one_b


@dataclass(frozen=True)
class Cases:
    """The cases that are compared, (R,): a cluster, its micro-batches, schedule and pipeline size.

    `cluster` are numbers of clusters, `size` numbers of devices in the pipeline.
    """

    cluster: Ints
    micro_batches: Ints
    one_f: Mask
    size: Ints

    @classmethod
    def every(cls, clusters: Ints, micro_batches: Ints, one_f: bool, size: int) -> Self:
        """Each cluster with each number of micro-batches, in this order, in pipelines of a size."""
        rows = len(clusters) * len(micro_batches)
        return cls(
            np.repeat(clusters, len(micro_batches)),
            np.tile(micro_batches, len(clusters)),
            np.full(rows, one_f),
            np.full(rows, size),
        )

    def take(self, rows: slice | Ints) -> Cases:
        """These of the cases."""
        return Cases(
            self.cluster[rows], self.micro_batches[rows], self.one_f[rows], self.size[rows]
        )

    def with_size(self, size: int | Ints) -> Cases:
        """The same cases in pipelines of other sizes, one for all or (R,)."""
        return replace(self, size=np.full(len(self), size))

    def __len__(self) -> int:
        return len(self.cluster)


@dataclass(frozen=True)
class SegmentProblem:
    """What segments are chosen by: all clusters, with the radio and the prices as they are.

    `loads` are what all clusters together ask of what they share. The tables leave 1F1B's windows
    out; with `windows`, the best plans of every number of micro-batches and of every size are
    compared with what the windows add. If the exchange is `streamed`, segments travel while the
    model still arrives, and leave while other segments are still uploaded: no time is charged.
    """

    fleet: Fleet
    work: Workload
    radio: RadioSetting
    prices: Prices
    loads: Loads
    noise: GradientNoise
    choices: Choices
    windows: bool = False
    streamed: bool = False

    def narrowed(self, clusters: Ints, devices: Ints) -> SegmentProblem:
        """The problem with only some devices of these clusters (C,), `devices` (C, k) from 0 on.

        Rows of other clusters have no meaning then.
        """
        nodes = np.zeros((self.fleet.clusters, devices.shape[1] + 1), dtype=np.intp)
        nodes[clusters, 1:] = devices + 1
        rows = np.arange(self.fleet.clusters)[:, None, None]
        power_w = self.radio.sidelink.power_w[rows, nodes[:, :, None], nodes[:, None, :]]
        return replace(
            self,
            fleet=self.fleet.pick(nodes),
            radio=self.radio.with_power_w(sidelink=power_w),
            prices=self.prices.pick(nodes),
        )


@dataclass(frozen=True)
class RowPlans:
    """The best plan found for each row of the tables.

    `cost` (R,) is J, infinite where there is no plan; `order` (R, K) are the devices from 0 on, the
    first of which hold `counts` (R, K) blocks, zero behind them.
    """

    cost: Array
    order: Ints
    counts: Ints

    @classmethod
    def none(cls, rows: int, devices: int) -> RowPlans:
        """No plan in any row."""
        nothing = np.zeros((rows, devices), dtype=np.intp)
        return cls(np.full(rows, np.inf), nothing, nothing.copy())

    @classmethod
    def concatenated(cls, parts: list[RowPlans]) -> RowPlans:
        """The rows of all parts, one after another."""
        return cls(
            np.concatenate([part.cost for part in parts]),
            np.concatenate([part.order for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    @property
    def size(self) -> Ints:
        """The number of devices in each pipeline, (R,)."""
        sizes: Ints = (self.counts > 0).sum(-1)
        return sizes

    def take(self, rows: Ints) -> RowPlans:
        """The plans of these rows."""
        return RowPlans(self.cost[rows], self.order[rows], self.counts[rows])

    def or_better(self, other: RowPlans) -> RowPlans:
        """These plans, or those of `other` where their cost is lower."""
        better = other.cost < self.cost
        return RowPlans(
            np.where(better, other.cost, self.cost),
            np.where(better[:, None], other.order, self.order),
            np.where(better[:, None], other.counts, self.counts),
        )
