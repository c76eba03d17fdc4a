"""Bandwidth for all links at once: a convex program, by a primal-dual interior-point method.

The time that a byte takes, y(b) = 8 / (η·b·log2(1 + c/b)) with c = p·g/n, is convex in b. So is

  minimise   V·T + Σ_ℓ e_ℓ·y_ℓ
  subject to T ≥ fixed_n + Σ_ℓ s_nℓ·y_ℓ + Σ_g w_ng·θ_ng      for every cluster n
             θ_ng ≥ k_r + Σ_ℓ R_rℓ·y_ℓ                        for every row r of the group g
             Σ b ≤ band                                       in every band

where θ are beats and the ends of transfers that run side by side, s counts what each link carries
one after another, and e prices energy. The bands are one a cluster, and one each up and down for
all. Newton steps (Boyd & Vandenberghe 2004, section 11.7) reduce to a small dense system a cluster
and three unknowns that couple them, so the cost grows with the number of clusters and no faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.prediction.arrays import Array, Mask

#: The columns of uplinks and downlinks in arrays over the links of a cluster.
UPLINK, DOWNLINK = -2, -1

_LEAST = 1e-4  # of its band that a link is left at least
_CENTRING = 0.15  # of the complementarity that a step aims to leave
_TO_THE_WALL = 0.95  # of the way to where a slack or dual would vanish
_MOST_STEPS = 60
_SHORTER = 0.8  # by what a step is shortened that would leave a link too little of its band,
_MOST_CUTS = 100  # and how often at most: what is then left of it (2e-10) is not worth taking


@dataclass(frozen=True)
class Program:
    """See the module: P clusters of L links, the last two up and down, with G groups and r rows.

    `capacity` is c in Hz and `rate` η in bit/s/Hz; where `flat`, SINR does not depend on bandwidth
    (the sender's power is spread over all it is given) and `rate` has log2(1 + SINR) in it. `own`
    marks the links that share their cluster's band. Links without `free` are left as they are:
    their terms belong to the constants. `group` are the rows' groups as numbers.
    """

    capacity: Array  # (P, L)
    rate: Array  # (P, L)
    flat: Mask  # (P, L)
    free: Mask  # (P, L)
    band: Array  # (P, L): of the band that a link shares
    own: Mask  # (P, L)
    start: Array  # (P, L): bandwidths to begin with, the bands not exceeded
    fixed: Array  # (P,)
    fill: Array  # (P, L): s
    beat: Array  # (P, G): w
    rows: Array  # (P, r, L): R
    least: Array  # (P, r): k
    group: Mask  # (P, r, G): which group a row is of
    price: float  # V
    energy: Array  # (P, L): e


@dataclass(frozen=True)
class Solution:
    """Bandwidths (P, L), T, and what a second of each cluster is worth (P,), Σ = V.

    `gap` bounds how far the objective is above the optimum, as a part of V·T at the start.
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
    """y(b) and its first two derivatives."""
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


class _Interior:
    """Works on relative quantities: bandwidths over bands, times over the first round's."""

    def __init__(self, program: Program) -> None:
        # A link that begins below the least share could only be moved up, which steps needn't do.
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
        self.ends: Mask = np.any(program.free[:, -2:], axis=0)
        self.w = np.where(program.free, program.start / program.band, 1.0)
        self.theta, self.time = theta / self.unit, 1.0
        # Slacks as they are, where not too small, and duals of equal complementarity.
        values = self._values(self._y()[0])
        self.slacks = {key: np.maximum(-value, 0.05) for key, value in values.items()}
        level = 1 / (1 / self.slacks["time"]).sum()
        self.duals = {key: level / slack for key, slack in self.slacks.items()}

    def run(self, tolerance: float) -> Solution:
        steps = 0
        # What overflows gives a direction that is not finite, and such a step is not taken.
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            while steps < _MOST_STEPS and not self._done(tolerance) and self._step():
                steps += 1
        p = self.program
        hz = np.where(p.free, self.w * p.band, p.start)
        total = (hz * self.own).sum(-1, keepdims=True)
        full = np.where(p.own, np.divide(p.band, total, where=total > 0, out=np.ones_like(hz)), 1.0)
        for at, column in enumerate((-2, -1)):
            if self.ends[at]:
                full[:, column] = p.band[:, column] / hz[:, column].sum()
        worth = self.duals["time"] * p.price
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

    def _values(self, y: Array) -> dict[str, Array]:
        """The constraints, each at most 0."""
        held = self.least + (self.rows @ y[..., None])[..., 0]
        bands = self.w[:, -2:].sum(0) - 1
        return {
            "rows": held - (self.groups * self.theta[:, None]).sum(-1),
            "time": self._cluster_times(y) - self.time,
            "band": np.where(self.banded, (self.own * self.w).sum(-1) - 1, -1.0),
            "ends": np.where(self.ends, bands, -1.0),
            "least": np.where(self.program.free, _LEAST - self.w, -1.0),
        }

    def _gap(self) -> float:
        return float(sum((self.slacks[key] * self.duals[key]).sum() for key in self.slacks))

    def _done(self, tolerance: float) -> bool:
        if self._gap() > tolerance:
            return False
        y, first, _ = self._y()
        pull, last = self._pull(self._gradient(first), first, self.duals)
        off = [np.abs(pull[:, : self.links] * self.program.free).max(), abs(last)]
        off += [np.abs(v + self.slacks[key]).max() for key, v in self._values(y).items()]
        return float(max(off)) < float(np.sqrt(tolerance))

    def _gradient(self, first: Array) -> Array:
        """Gradients of each cluster's constraints by its links and groups, (P, r+2, L+G)."""
        rows = np.concatenate([self.rows * first[:, None], -self.groups], -1)
        time = np.concatenate([self.fill * first, self.program.beat], -1)[:, None]
        band = np.concatenate([self.own, np.zeros_like(self.theta)], -1)[:, None]
        return np.concatenate([rows, time, band], 1)

    def _pull(self, gradient: Array, first: Array, of: dict[str, Array]) -> tuple[Array, float]:
        """∇objective + Σ of·∇constraint: by links and groups (P, L+G), and by T."""
        along = np.concatenate([of["rows"], of["time"][:, None], of["band"][:, None]], -1)
        pull = (gradient.swapaxes(1, 2) @ along[..., None])[..., 0]
        pull[:, : self.links] += self.energy * first - of["least"] * self.program.free
        pull[:, self.links - 2 : self.links] += np.where(self.ends, of["ends"], 0.0)
        return pull, 1.0 - float(of["time"].sum())

    def _step(self) -> bool:
        """Moves on by one step; false, and nothing has moved, where none can be made."""
        y, first, second = self._y()
        slacks, duals = self.slacks, self.duals
        off = {key: value + slacks[key] for key, value in self._values(y).items()}
        aim = _CENTRING * self._gap() / sum(s.size for s in slacks.values())
        gradient = self._gradient(first)
        ratio = {key: duals[key] / slacks[key] for key in slacks}
        push = {key: aim / slacks[key] + ratio[key] * off[key] for key in slacks}
        pull, last = self._pull(gradient, first, push)
        along = np.concatenate([ratio["rows"], ratio["time"][:, None], ratio["band"][:, None]], -1)
        hessian = (gradient * along[..., None]).swapaxes(1, 2) @ gradient
        bent = self.energy + (duals["rows"][:, None] @ self.rows)[:, 0]
        bent = (bent + duals["time"][:, None] * self.fill) * second + ratio["least"]
        at = np.arange(self.links)
        hessian[:, at, at] += np.where(self.program.free, bent, 1.0)
        pull[:, : self.links] *= self.program.free
        try:
            move, later, ends = self._directions(hessian, gradient[:, -2], ratio, pull, last)
        except np.linalg.LinAlgError:
            return False
        change = (gradient @ move[..., None])[..., 0]
        changes = {
            "rows": change[:, :-2],
            "time": change[:, -2] - later,
            "band": change[:, -1],
            "ends": ends,
            "least": -move[:, : self.links] * self.program.free,
        }
        slacker = {key: -(off[key] + changes[key]) for key in slacks}
        dearer = {
            key: (aim - duals[key] * (slacks[key] + slacker[key])) / slacks[key] for key in slacks
        }
        finite = [np.isfinite(each).all() for each in (move, *slacker.values(), *dearer.values())]
        length = self._within(min(_room(slacks, slacker), 1.0), move[:, : self.links])
        if not (all(finite) and np.isfinite(later) and length > 0):
            return False
        self.w = self.w + length * move[:, : self.links] * self.program.free
        self.theta = self.theta + length * move[:, self.links :]
        self.time += length * later
        self.slacks = {key: slacks[key] + length * slacker[key] for key in slacks}
        length = min(_room(duals, dearer), 1.0)
        self.duals = {key: duals[key] + length * dearer[key] for key in duals}
        return True

    def _within(self, length: float, move: Array) -> float:
        """The length of a step, shortened until every link keeps a tenth of its least share."""
        for _ in range(_MOST_CUTS):
            if not ((self.w + length * move)[self.program.free] < _LEAST / 10).any():
                return length
            length *= _SHORTER
        return 0.0

    def _directions(
        self, hessian: Array, time_row: Array, ratio: dict[str, Array], pull: Array, last: float
    ) -> tuple[Array, float, Array]:
        """Where to move links and groups (P, L+G), T, and so the sums of the two bands.

        Three unknowns are common to all clusters: the move of T, and what the bands up and down
        add to every cluster's equations.
        """
        coupled = -ratio["time"][:, None] * time_row
        ends = np.zeros((*coupled.shape, 2))
        ends[:, self.links - 2, 0], ends[:, self.links - 1, 1] = self.ends
        across = np.concatenate([coupled[..., None], ends], -1)
        solved = np.linalg.solve(hessian, np.concatenate([pull[..., None], across], -1))
        inner = np.einsum("pik,pij->kj", across, solved)
        weight = np.where(self.ends, ratio["ends"], 0.0)
        system = np.eye(3)
        system[0] = -inner[0, 1:]
        system[0, 0] += ratio["time"].sum()
        system[1:] += weight[:, None] * inner[1:, 1:]
        known = np.concatenate([[-last + inner[0, 0]], -weight * inner[1:, 0]])
        common = np.linalg.solve(system, known)
        move = -solved[..., 0] - solved[..., 1:] @ common
        sums = np.where(self.ends, move[:, self.links - 2 : self.links].sum(0), 0.0)
        return move, float(common[0]), sums


def _room(values: dict[str, Array], moves: dict[str, Array]) -> float:
    """How far positive values may move and stay positive."""
    length = np.inf
    for key, value in values.items():
        falling = moves[key] < 0
        if falling.any():
            length = min(length, float((-value[falling] / moves[key][falling]).min()))
    return _TO_THE_WALL * length
