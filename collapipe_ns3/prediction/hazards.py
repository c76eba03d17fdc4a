"""How long a part of a round is expected to take while nodes may leave, and how likely it succeeds.

A cluster needs its devices from the first byte that they receive until the last that they send.
Meanwhile one of them leaves with the hazard Λ = Σ λ_k, in 1/s; times between losses are
exponential. What is needed falls into parts, one after another: after a loss the present part
begins again, and those before it are kept. A loss also costs R seconds, in which parameters are
sent to other devices and nothing is lost. After more losses than are allowed, all fails.

- To `restart` has one part. Without a limit, E[T] = (e^{ΛT} - 1)·(1/Λ + R).
- To `replicate` has a part for every copy, each with its own such time.
- To `abandon` allows no loss: all succeeds with probability e^{-ΛT}.

A part of length T is begun again N times with P(N = j) = p·(1-p)^j, p = e^{-ΛT}, and each time is
cut after μ = 1/Λ - T/(e^{ΛT} - 1) on average. Losses come at the rate Λ of the time in which they
can come, so E[that time] = E[losses]/Λ, with or without a limit (Wald's identity).

What is neglected: the pipeline that goes on may be slower, and has another hazard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import lambertw

from collapipe_ns3.prediction.arrays import Array, Ints

#: Below this expected number of losses, differences of nearly equal numbers are avoided.
_RARE = 1e-6

#: With more expected losses in one part, it is as good as never done.
_HOPELESS = 200.0


@dataclass(frozen=True)
class Parts:
    """The parts of what is needed, by row, of K kinds.

    `seconds` (P, K) is how long a part of each kind takes, `counts` (P, K) how many there are of
    it, and `loss_s` (P, K) is R for a loss in one of them.
    """

    seconds: Array
    counts: Ints
    loss_s: Array

    @property
    def total_s(self) -> Array:
        """How long all parts take without any loss, (P,)."""
        total: Array = (self.seconds * self.counts).sum(-1)
        return total


@dataclass(frozen=True)
class Attempts:
    """What becomes of the parts of each row.

    `chances` (P, m+1) are the probabilities of 0, 1, … m losses after which all succeeds, and
    `seconds` (P, m+1) the mean times then. `failing_s` (P,) is the mean time until all has failed.
    """

    chances: Array
    seconds: Array
    failing_s: Array

    @property
    def success(self) -> Array:
        """The probability that all succeeds, (P,)."""
        chance: Array = np.minimum(self.chances.sum(-1), 1.0)
        return chance

    @property
    def expected_s(self) -> Array:
        """The mean time until all has succeeded or failed, (P,)."""
        ended = (self.chances * self.seconds).sum(-1)
        mean: Array = ended + (1 - self.success) * self.failing_s
        return mean


def attempts(hazard: Array, parts: Parts, most_losses: Ints) -> Attempts:
    """What becomes of these parts.

    By row (P,): `hazard` is Λ in 1/s, and `most_losses` the most losses after which the row goes
    on. The mean of all times is exact if R is the same for all parts of a row or losses have no
    limit; that after a given number of losses is exact if all parts of a row are alike.
    """
    most = int(most_losses.max(initial=0))
    allowed = np.arange(most + 1) <= most_losses[:, None]
    every = _chances(hazard, parts, most)
    chances = np.where(allowed, every, 0.0)
    lasting = np.minimum(hazard[:, None] * parts.seconds, _HOPELESS)
    again = np.expm1(lasting) * parts.counts  # (1-p)/p of each kind
    cut_s = _cut_after_s(hazard[:, None], parts.seconds)
    total = again.sum(-1)
    mean_cut_s, loss_s = (
        np.divide((again * each).sum(-1), total, out=np.zeros_like(total), where=total > 0)
        for each in (cut_s, parts.loss_s)
    )
    length_s = parts.total_s
    seconds = length_s[:, None] + np.arange(most + 1) * (mean_cut_s + loss_s)[:, None]
    fails = 1 - np.minimum(chances.sum(-1), 1.0)
    # E[min(N, m+1)] and E[min(N, m)], from P(N > i) for i = 0 … m.
    more = np.where(allowed, 1 - np.minimum(every.cumsum(-1), 1.0), 0.0)
    lost = more.sum(-1)
    replaced = lost - fails
    mean_s = lost / np.where(hazard > 0, hazard, 1.0) + loss_s * replaced
    outlived_s = (chances * seconds).sum(-1)
    often = hazard * length_s > _RARE
    failing_s = np.divide(
        mean_s - outlived_s, fails, out=length_s / 2, where=often & (fails > _RARE)
    )
    return Attempts(chances, seconds, np.maximum(failing_s, 0.0))


def _chances(hazard: Array, parts: Parts, most: int) -> Array:
    """The probabilities of 0 … `most` losses until all parts have succeeded, (P, most+1).

    For c parts of one kind they are C(c+j-1, j)·p^c·(1-p)^j; kinds are convolved.
    """
    found = np.zeros((len(hazard), most + 1))
    found[:, 0] = 1.0
    for seconds, counts in zip(parts.seconds.T, parts.counts.T, strict=True):
        lasting = hazard * seconds
        one = np.empty_like(found)
        one[:, 0] = np.exp(-lasting * counts)
        for j in range(1, most + 1):
            one[:, j] = one[:, j - 1] * (counts + j - 1) / j * -np.expm1(-lasting)
        found = np.stack([(found[:, : j + 1] * one[:, j::-1]).sum(-1) for j in range(most + 1)], -1)
    return found


def _cut_after_s(hazard: Array, seconds: Array) -> Array:
    """How long a part of this length has lasted on average when it is lost: μ of the module."""
    lasting = hazard * seconds
    few = lasting < 1e-4
    safe = np.clip(lasting, 1e-4, _HOPELESS)
    after_s: Array = seconds * np.where(few, 0.5 - lasting / 12, 1 / safe - 1 / np.expm1(safe))
    return after_s


def expected_maximum(values: Array, chances: Array) -> float:
    """E[max_n X_n] of independent X_n with the values (P, S), of probabilities `chances` (P, S)."""
    if len(values) == 1:
        return float((values * chances).sum())
    points = np.unique(values)
    below = np.ones(len(points))
    for own, likely in zip(values, chances, strict=True):
        order = np.argsort(own, kind="stable")
        cumulated = np.concatenate([[0.0], np.minimum(likely[order].cumsum(), 1.0)])
        cumulated[-1] = 1.0
        below = below * cumulated[np.searchsorted(own[order], points, side="right")]
    return float((points * np.diff(below, prepend=0.0)).sum())


def copies_apart(hazard: float, step_s: float, copy_s: float, steps: int) -> list[int]:
    """Numbers of local steps from one copy to the next, of `steps` in all, to compare.

    A copy delays the steps by C seconds. The least (e^{Λ(x+C)} - 1)/x, the expected time per second
    of progress, is at x = (1 + W₀(-e^{-ΛC-1}))/Λ with Lambert's function (Daly 2006), which is
    nearly √(2C/Λ) where losses are rare (Young 1974). These are the whole numbers of steps around
    it, those that divide all steps as evenly into as many parts or one fewer, as nothing is copied
    after the last step, and all steps.
    """
    if not (hazard > 0 and step_s > 0):
        return [steps]
    cost = hazard * copy_s
    if cost < _RARE:
        apart_s = math.sqrt(2 * cost) / hazard
    else:
        apart_s = (1 + float(lambertw(-math.exp(-cost - 1)).real)) / hazard
    best = min(apart_s / step_s, float(steps))
    around = {min(max(each, 1), steps) for each in (math.floor(best), math.ceil(best))}
    parts = {-(-steps // each) for each in around}
    even = {-(-steps // count) for most in parts for count in (most, max(most - 1, 1))}
    return sorted(around | even | {steps})
