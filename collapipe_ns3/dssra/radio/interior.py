"""The bandwidths of all links at once: a convex program and its primal-dual interior-point method.

The time that a byte takes, y(b) = 8 / (η·b·log2(1 + c/b)) with c = p·g/n, is convex in b. So is

  minimise   V·T + Σ_ℓ e_ℓ·y_ℓ
  subject to T ≥ fixed_n + Σ_ℓ s_nℓ·y_ℓ + Σ_g w_ng·θ_ng      for every cluster n
             θ_ng ≥ k_r + Σ_ℓ R_rℓ·y_ℓ                        for every row r of the group g
             Σ b ≤ band                                       in every band

where θ are beats and the ends of transfers that run at the same time, s is what each link carries
one after another in bytes, and e are prices of energy. There is one band for each cluster, one for
all uplinks and one for all downlinks. A Newton step (Boyd & Vandenberghe 2004, section 11.7) is a
small dense system for each cluster and three unknowns that couple them, so its cost is linear in
the number of clusters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Mask

#: The columns of uplinks and downlinks in arrays over the links of a cluster.
UPLINK, DOWNLINK = -2, -1
_EDGE = slice(-2, None)  # both

_LEAST = 1e-4  # The least part of its band that a link gets.
_CENTRING = 0.15  # The part of the complementarity that a step aims to leave.
_TO_BOUNDARY = 0.95  # The part of the way to where a slack or dual would vanish.
_MOST_STEPS = 60
_LEAST_SLACK = 0.05  # to begin with
_SHORTER = 0.8  # A step that would leave a link too little of its band is shortened by this factor,
_MOST_CUTS = 100  # at most so often: the rest (2e-10 of the step) is not worth taking.


@dataclass(frozen=True)
class Program:
    """See the module: P clusters of L links, the last two up and down, with G groups and r rows.

    `capacity` is c in Hz and `rate` η in bit/s/Hz. Where `flat`, SINR does not depend on bandwidth,
    since the sender's power is spread over all that it is given; there `rate` includes
    log2(1 + SINR). `own` marks the links that share their cluster's band. Links that are not `free`
    keep their bandwidth: their terms are part of the constants.
    """

    capacity: Array  # (P, L)
    rate: Array  # (P, L)
    flat: Mask  # (P, L)
    free: Mask  # (P, L)
    band: Array  # (P, L): of the band that a link shares
    own: Mask  # (P, L)
    start: Array  # (P, L): bandwidths to begin with, within the bands
    fixed: Array  # (P,)
    fill: Array  # (P, L): s
    beat: Array  # (P, G): w
    rows: Array  # (P, r, L): R
    least: Array  # (P, r): k
    group: Mask  # (P, r, G): which group a row belongs to
    price: float  # V
    energy: Array  # (P, L): e


@dataclass(frozen=True)
class Solution:
    """Bandwidths (P, L), T, and the price of a second of each cluster (P,), whose sum is V.

    `gap` bounds how far the objective is above the optimum, in parts of V·T at the start.
    """

    bandwidth: Array
    time: float
    worth: Array
    gap: float
    steps: int


def solve(program: Program, tolerance: float = 1e-6) -> Solution:
    """The optimum to within `tolerance` of the objective."""
    return _Interior(program).run(tolerance)


def airtime(program: Program, hz: Array) -> tuple[Array, Array, Array]:
    """y(b) in seconds per byte and its first two derivatives, (P, L)."""
    ratio = program.capacity / hz
    # With φ(x) = log(1 + x) and x = c/b: r ∝ b·φ, r' ∝ φ - x/(1+x), r'' ∝ -x²/(b·(1+x)²).
    log = np.log1p(ratio)
    rate = np.where(program.flat, hz, hz * log / np.log(2))
    first = np.where(program.flat, 1.0, (log - ratio / (1 + ratio)) / np.log(2))
    second = np.where(program.flat, 0.0, -((ratio / (1 + ratio)) ** 2) / hz / np.log(2))
    scale = 8 / program.rate
    return (
        scale / rate,
        -scale * first / rate**2,
        scale * (2 * first**2 / rate**3 - second / rate**2),
    )


@dataclass(frozen=True)
class _Constraints:
    """A number for each constraint of the program: its value, its slack or its dual.

    `rows` (P, r) are those of θ, `time` (P,) of T, `band` (P,) of the clusters' bands, `edge` (2,)
    of the bands up and down, `least` (P, L) of the links' least shares.
    """

    rows: Array
    time: Array
    band: Array
    edge: Array
    least: Array

    @property
    def parts(self) -> tuple[Array, ...]:
        """All arrays, in order."""
        return self.rows, self.time, self.band, self.edge, self.least

    def __add__(self, other: _Constraints) -> _Constraints:
        return self._with(np.add, other)

    def __sub__(self, other: _Constraints) -> _Constraints:
        return self._with(np.subtract, other)

    def __mul__(self, other: _Constraints) -> _Constraints:
        return self._with(np.multiply, other)

    def __truediv__(self, other: _Constraints) -> _Constraints:
        return self._with(np.divide, other)

    def __neg__(self) -> _Constraints:
        return _Constraints(*(-part for part in self.parts))

    def times(self, factor: float) -> _Constraints:
        """All numbers times a factor."""
        return _Constraints(*(factor * part for part in self.parts))

    def all(self, number: float) -> _Constraints:
        """The same number for every constraint."""
        return _Constraints(*(np.full_like(part, number) for part in self.parts))

    def at_least(self, number: float) -> _Constraints:
        """These numbers, or `number` where it is higher."""
        return _Constraints(*(np.maximum(part, number) for part in self.parts))

    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return all(bool(np.isfinite(part).all()) for part in self.parts)

    def total(self) -> float:
        """The sum of all numbers."""
        return float(sum(part.sum() for part in self.parts))

    def along_gradients(self) -> Array:
        """The numbers in the order of `_Interior._gradient`, (P, r+2)."""
        return np.concatenate([self.rows, self.time[:, None], self.band[:, None]], -1)

    def _with(self, operation: np.ufunc, other: _Constraints) -> _Constraints:
        pairs = zip(self.parts, other.parts, strict=True)
        return _Constraints(*(operation(*pair) for pair in pairs))


class _Interior:
    """The state of the method: relative bandwidths `w` (P, L), `theta` (P, G), `time`, and duals.

    Bandwidths are relative to the bands, times to the time at the start, airtimes to those at the
    start.
    """

    def __init__(self, program: Program) -> None:
        # A link that starts below the least share could only move up, which a step might not do.
        least_hz = np.where(program.free, _LEAST * program.band, 0.0)
        program = replace(program, start=np.maximum(program.start, least_hz))
        start_y, _, _ = airtime(program, program.start)
        self.program = program
        self.base = np.where(program.free, start_y, 1.0)
        rows = np.where(program.free[:, None], program.rows, 0.0) * self.base[:, None]
        fill = np.where(program.free, program.fill, 0.0) * self.base
        theta = self._theta(rows.sum(-1) + program.least)
        self.unit = float((program.fixed + fill.sum(-1) + (program.beat * theta).sum(-1)).max())
        self.rows, self.least = rows / self.unit, program.least / self.unit
        self.fill, self.fixed = fill / self.unit, program.fixed / self.unit
        energy = np.where(program.free, program.energy, 0.0) * self.base
        self.energy = energy / (program.price * self.unit)
        self.groups = program.group.astype(float)
        self.own = (program.own & program.free).astype(float)
        self.banded = self.own.sum(-1) > 0
        self.links = rows.shape[-1]
        self.edge: Mask = np.any(program.free[:, _EDGE], axis=0)
        self.w = np.where(program.free, program.start / program.band, 1.0)
        self.theta, self.time = theta / self.unit, 1.0
        # Slacks are as they are, if not too small, and all duals have equal complementarity.
        self.slacks = (-self._values(self._y()[0])).at_least(_LEAST_SLACK)
        level = 1 / (1 / self.slacks.time).sum()
        self.duals = self.slacks.all(level) / self.slacks

    def run(self, tolerance: float) -> Solution:
        """Steps until the solution is within the tolerance, or no step can be made."""
        steps = 0
        # An overflow gives a direction that is not finite, and such a step is not taken.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            while steps < _MOST_STEPS and not self._done(tolerance) and self._step():
                steps += 1
        p = self.program
        hz = np.where(p.free, self.w * p.band, p.start)
        total = (hz * self.own).sum(-1, keepdims=True)
        full = np.where(p.own, np.divide(p.band, total, where=total > 0, out=np.ones_like(hz)), 1.0)
        for column, shared in zip((UPLINK, DOWNLINK), self.edge, strict=True):
            if shared:
                full[:, column] = p.band[:, column] / hz[:, column].sum()
        worth = self.duals.time * p.price
        hz = np.where(p.free, hz * full, p.start)
        return Solution(hz, self.time * self.unit, worth, self._gap(), steps)

    def _theta(self, values: Array) -> Array:
        """The highest row of every group."""
        highest = np.where(self.program.group, values[..., None], -np.inf).max(1)
        return np.where(np.isfinite(highest), highest, 0.0)

    def _y(self) -> tuple[Array, Array, Array]:
        """Relative airtimes and their derivatives by relative bandwidth; constants if not free."""
        p = self.program
        hz = np.where(p.free, self.w * p.band, p.start)
        y, first, second = airtime(p, hz)
        free = p.free
        return (
            np.where(free, y / self.base, 1.0),
            np.where(free, first * p.band / self.base, 0.0),
            np.where(free, second * p.band**2 / self.base, 0.0),
        )

    def _cluster_times(self, y: Array) -> Array:
        carried = (self.fill * y).sum(-1)
        times: Array = self.fixed + carried + (self.program.beat * self.theta).sum(-1)
        return times

    def _values(self, y: Array) -> _Constraints:
        """The values of the constraints, each at most 0."""
        values = self.least + (self.rows @ y[..., None])[..., 0]
        carried = (self.fill * y).sum(-1)
        times = self.fixed + carried + (self.program.beat * self.theta).sum(-1)
        return _Constraints(
            rows=values - (self.groups * self.theta[:, None]).sum(-1),
            time=times - self.time,
            band=np.where(self.banded, (self.own * self.w).sum(-1) - 1, -1.0),
            edge=np.where(self.edge, self.w[:, _EDGE].sum(0) - 1, -1.0),
            least=np.where(self.program.free, _LEAST - self.w, -1.0),
        )

    def _gap(self) -> float:
        return (self.slacks * self.duals).total()

    def _done(self, tolerance: float) -> bool:
        if self._gap() > tolerance:
            return False
        y, first, _ = self._y()
        pull, last = self._pull(self._gradient(first), first, self.duals)
        off = [np.abs(pull[:, : self.links] * self.program.free).max(), abs(last)]
        off += [np.abs(part).max() for part in (self._values(y) + self.slacks).parts]
        return float(max(off)) < float(np.sqrt(tolerance))

    def _gradient(self, first: Array) -> Array:
        """Gradients of each cluster's constraints by its links and groups, (P, r+2, L+G).

        The constraints are its rows, its time and its band, in this order.
        """
        rows = np.concatenate([self.rows * first[:, None], -self.groups], -1)
        time = np.concatenate([self.fill * first, self.program.beat], -1)[:, None]
        band = np.concatenate([self.own, np.zeros_like(self.theta)], -1)[:, None]
        return np.concatenate([rows, time, band], 1)

    def _pull(self, gradient: Array, first: Array, of: _Constraints) -> tuple[Array, float]:
        """∇objective + Σ of·∇constraint: by links and groups (P, L+G), and by T."""
        pull = (gradient.swapaxes(1, 2) @ of.along_gradients()[..., None])[..., 0]
        pull[:, : self.links] += self.energy * first - of.least * self.program.free
        pull[:, self.links - 2 : self.links] += np.where(self.edge, of.edge, 0.0)
        return pull, 1.0 - float(of.time.sum())

    def _step(self) -> bool:
        """Takes one step; false where none can be made, and then nothing has changed."""
        y, first, second = self._y()
        slacks, duals = self.slacks, self.duals
        off = self._values(y) + slacks
        aim = slacks.all(_CENTRING * self._gap() / sum(part.size for part in slacks.parts))
        gradient = self._gradient(first)
        ratio = duals / slacks
        pull, last = self._pull(gradient, first, aim / slacks + ratio * off)
        weighted = gradient * ratio.along_gradients()[..., None]
        hessian = weighted.swapaxes(1, 2) @ gradient
        curvature = self.energy + (duals.rows[:, None] @ self.rows)[:, 0]
        curvature = (curvature + duals.time[:, None] * self.fill) * second + ratio.least
        at = np.arange(self.links)
        hessian[:, at, at] += np.where(self.program.free, curvature, 1.0)
        pull[:, : self.links] *= self.program.free
        try:
            move, later, edge = self._directions(hessian, gradient[:, -2], ratio, pull, last)
        except np.linalg.LinAlgError:
            return False
        along = (gradient @ move[..., None])[..., 0]
        changes = _Constraints(
            rows=along[:, :-2],
            time=along[:, -2] - later,
            band=along[:, -1],
            edge=edge,
            least=-move[:, : self.links] * self.program.free,
        )
        slack_move = -(off + changes)
        dual_move = (aim - duals * (slacks + slack_move)) / slacks
        length = self._within(min(_longest(slacks, slack_move), 1.0), move[:, : self.links])
        finite = np.isfinite(move).all() and slack_move.finite() and dual_move.finite()
        if not (finite and np.isfinite(later) and length > 0):
            return False
        self.w = self.w + length * move[:, : self.links] * self.program.free
        self.theta = self.theta + length * move[:, self.links :]
        self.time += length * later
        self.slacks = slacks + slack_move.times(length)
        self.duals = duals + dual_move.times(min(_longest(duals, dual_move), 1.0))
        return True

    def _within(self, length: float, move: Array) -> float:
        """The length of a step, shortened until every link keeps a tenth of its least share."""
        for _ in range(_MOST_CUTS):
            if not ((self.w + length * move)[self.program.free] < _LEAST / 10).any():
                return length
            length *= _SHORTER
        return 0.0

    def _directions(
        self, hessian: Array, time_row: Array, ratio: _Constraints, pull: Array, last: float
    ) -> tuple[Array, float, Array]:
        """Where to move links and groups (P, L+G), T, and with them the sums of the two edge bands.

        Three unknowns are common to all clusters: the move of T, and what the bands up and down
        add to every cluster's equations.
        """
        coupled = -ratio.time[:, None] * time_row
        edge = np.zeros((*coupled.shape, 2))
        edge[:, self.links - 2, 0], edge[:, self.links - 1, 1] = self.edge
        across = np.concatenate([coupled[..., None], edge], -1)
        solved = np.linalg.solve(hessian, np.concatenate([pull[..., None], across], -1))
        inner = np.einsum("pik,pij->kj", across, solved)
        weight = np.where(self.edge, ratio.edge, 0.0)
        system = np.eye(3)
        system[0] = -inner[0, 1:]
        system[0, 0] += ratio.time.sum()
        system[1:] += weight[:, None] * inner[1:, 1:]
        known = np.concatenate([[-last + inner[0, 0]], -weight * inner[1:, 0]])
        common = np.linalg.solve(system, known)
        move = -solved[..., 0] - solved[..., 1:] @ common
        sums = np.where(self.edge, move[:, self.links - 2 : self.links].sum(0), 0.0)
        return move, float(common[0]), sums


def _longest(values: _Constraints, moves: _Constraints) -> float:
    """How far positive values may move and stay positive."""
    length = np.inf
    for value, move in zip(values.parts, moves.parts, strict=True):
        falling = move < 0
        if falling.any():
            length = min(length, float((-value[falling] / move[falling]).min()))
    return _TO_BOUNDARY * length
