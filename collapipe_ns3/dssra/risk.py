"""What a plan is expected to take, and to yield, while nodes may leave.

Devices with blocks are needed from when the control unit has the model until their segments are
gathered; their hazards add up to Λ. The control unit is needed until its upload has ended, and
nothing replaces it. By the policy of recovery, what is needed has these parts
(`collapipe_ns3.prediction.hazards`):

- `abandon`: distribution, local steps and gathering, without any loss.
- `restart`: the same as one part, as parameters are sent out again with it.
- `replicate`: as many local steps as lie between two copies, with the copy. The distribution
  belongs to the first part, the gathering to the last. A loss also costs the time for sending a
  segment and its states to another device.

A copy delays the local steps by as long as it takes, although it is sent while they go on: the
first and the last device need the same links for each micro-batch, which wait behind it.

The round ends with its last cluster: E[max] of the clusters' ends, which are independent and, with
so many losses, as late as on average.

What a lost cluster would have contributed is missing from the round's progress, Σ ρ_n·s_n, where s
is the probability that a cluster ends the round. So a round counts as V·E[T] / Σ ρ_n·s_n: the time
for the progress of a round without losses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.local_steps import candidates
from collapipe_ns3.plan import Recovery
from collapipe_ns3.prediction.arrays import Array, Ints, Mask
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.hazards import Parts, attempts, copies_apart, expected_maximum
from collapipe_ns3.prediction.round_costs import RoundCosts
from collapipe_ns3.prediction.round_time import PhaseEnds, aggregate_s
from collapipe_ns3.prediction.segments import Segments

#: The least progress that a round counts with, so that hopeless plans can be compared.
_LEAST_PROGRESS = 1e-9


@dataclass(frozen=True)
class Risk:
    """How often each node leaves, per second, (P, n), and how its cluster recovers."""

    hazards: Array
    recovery: Recovery

    def with_recovery(self, recovery: Recovery) -> Risk:
        """The same hazards under another recovery."""
        return replace(self, recovery=recovery)


@dataclass(frozen=True)
class Course:
    """A round of all clusters without losses, by the closed forms."""

    fleet: Fleet
    work: Workload
    segments: Segments
    costs: RoundCosts
    ends: PhaseEnds

    @property
    def begin_s(self) -> Array:
        """From when on devices are needed, (P,)."""
        return np.minimum(self.ends.downloaded, self.ends.distributed)

    @property
    def steps_s(self) -> Array:
        """How long all local steps take, (P,)."""
        return self.work.local_steps * self.costs.step

    @property
    def gather_s(self) -> Array:
        """How long the gathering takes, (P,)."""
        return self.ends.gathered - self.ends.trained

    @property
    def distribute_s(self) -> Array:
        """How long devices are needed before their local steps, (P,)."""
        return self.ends.trained - self.steps_s - self.begin_s

    @property
    def used(self) -> Mask:
        """Which devices have blocks, (P, n); control units are left out."""
        marked = np.zeros(self.fleet.flops_per_s.shape, dtype=bool)
        rows = np.arange(len(marked))[:, None]
        marked[rows, np.where(self.segments.counts > 0, self.segments.order, 0)] = True
        marked[:, 0] = False
        return marked

    @property
    def _copied(self) -> float:
        """The bytes of a copy, parameters and optimizer states, for each byte that is gathered."""
        states = sum(self.work.state_bytes) / (self.work.blocks * self.work.block.parameter_bytes)
        return (1 + states) / self.work.model.sent

    @property
    def copy_s(self) -> Array:
        """How long a copy of all segments takes, (P,)."""
        return self.costs.gather * self._copied

    def copies_s(self, recovery: Recovery) -> Array:
        """By how much the copies of a round without losses delay it, (P,)."""
        if recovery.policy != "replicate":
            return np.zeros_like(self.costs.step)
        return (-(-self.work.local_steps // recovery.copy_every) - 1) * self.copy_s

    def parts(self, recovery: Recovery) -> Parts:
        """The parts that begin again after a loss."""
        if recovery.policy != "replicate":
            whole = self.distribute_s + self.steps_s + self.gather_s
            one = np.ones((len(whole), 1), dtype=np.intp)
            return Parts(whole[:, None], one, np.zeros((len(whole), 1)))
        steps, step_s = self.work.local_steps, self.costs.step
        apart = min(recovery.copy_every, steps)
        copies = np.full(len(step_s), -(-steps // apart) - 1)
        last_s = (steps - copies * apart) * step_s + self.gather_s
        piece_s = apart * step_s + self.copy_s
        none = copies == 0
        moved_s = self.costs.distribute / np.maximum(self.segments.size, 1) * self._copied
        return Parts(
            np.stack([self.distribute_s + np.where(none, last_s, piece_s), piece_s, last_s], -1),
            np.stack([np.ones_like(copies), np.maximum(copies - 1, 0), 1 - none], -1),
            np.stack([np.zeros_like(moved_s), moved_s, moved_s], -1),
        )


@dataclass(frozen=True)
class Expectation:
    """What a round is expected to be.

    `times` (P,) are when each cluster has ended or failed, in seconds after the round's start,
    `kept` (P,) is the probability that it ends, and `share` (P,) its share of the data. `round_s`
    is how long the round takes.
    """

    times: Array
    kept: Array
    share: Array
    round_s: float

    @property
    def progress(self) -> float:
        """The part of the data whose contribution arrives."""
        return max(float((self.share * self.kept).sum()), _LEAST_PROGRESS)

    @property
    def counted_s(self) -> float:
        """The time for the progress of a round without losses."""
        return self.round_s / self.progress

    @property
    def missing_s(self) -> Array:
        """What each cluster's losses add to the time of the round, (P,)."""
        missing: Array = self.round_s / self.progress * self.share * (1 - self.kept)
        return missing


def expected(risk: Risk, course: Course, uploaded_s: Array | None = None) -> Expectation:
    """What the round is expected to be.

    `uploaded_s` (P,) are when the clusters' uploads end without losses, delayed by copies, if it is
    known better than by the closed forms; all of a cluster's times are in proportion to that.
    """
    hazard = (risk.hazards * course.used).sum(-1)
    return _expected(risk, course, hazard, uploaded_s)


def _expected(
    risk: Risk, course: Course, hazard: Array, uploaded_s: Array | None = None
) -> Expectation:
    ends_s = course.ends.uploaded
    scale = np.ones_like(ends_s)
    if uploaded_s is not None:
        scale = uploaded_s / (ends_s + course.copies_s(risk.recovery))
    parts = course.parts(risk.recovery)
    parts = replace(
        parts, seconds=parts.seconds * scale[:, None], loss_s=parts.loss_s * scale[:, None]
    )
    found = attempts(hazard, parts, _most_losses(risk, course))
    planned_s = scale * (course.distribute_s + course.steps_s + course.gather_s)
    late_s = (scale * ends_s - planned_s)[:, None] + found.seconds
    failed_s = scale * course.begin_s + found.failing_s
    values = np.concatenate([late_s, failed_s[:, None]], -1)
    chances = np.concatenate([found.chances, 1 - found.success[:, None]], -1)
    times = (values * chances).sum(-1)
    return Expectation(
        times=times,
        kept=(found.chances * np.exp(-risk.hazards[:, :1] * late_s)).sum(-1),
        share=course.fleet.share,
        round_s=expected_maximum(values, chances) + aggregate_s(course.fleet, course.work),
    )


def _most_losses(risk: Risk, course: Course) -> Ints:
    """After how many losses each cluster goes on, (P,): one device has to be left."""
    if risk.recovery.policy == "abandon":
        return np.zeros(course.fleet.clusters, dtype=np.intp)
    most: Ints = np.minimum(risk.recovery.most_losses, course.fleet.size - 1)
    return most


@dataclass(frozen=True)
class DeviceSeconds:
    """What the use of each node adds to a round, (P, n), in seconds.

    `time` is for its own cluster's end, `missing` for the progress that the round lacks.
    """

    time: Array
    missing: Array


def device_seconds(risk: Risk, course: Course) -> DeviceSeconds:
    """What the use of each device adds, in proportion to its hazard and at the present exposure.

    It is the slope of the line from a cluster without hazard to the cluster as it is, so that the
    sum over its devices is exact for the present plan.
    """
    now = (risk.hazards * course.used).sum(-1)
    now = np.where(now > 0, now, risk.hazards[:, 1:].max(-1, initial=0.0))
    here, free = (_expected(risk, course, each) for each in (now, np.zeros_like(now)))
    slopes = (
        np.divide(each, now, where=now > 0, out=np.zeros_like(now))
        for each in (here.times - free.times, here.missing_s - free.missing_s)
    )
    time, missing = (slope[:, None] * risk.hazards for slope in slopes)
    time[:, 0] = missing[:, 0] = 0.0
    return DeviceSeconds(time, missing)


def recoveries(risk: Risk, course: Course) -> list[Recovery]:
    """The recoveries to compare: every policy, with several intervals of copies.

    These are the best of each cluster by the closed form, which knows neither the distribution and
    the gathering nor the limit of losses, and a geometric series.
    """
    hazard = (risk.hazards * course.used).sum(-1)
    apart = set(candidates(1, course.work.local_steps))
    apart |= {
        each
        for rate, step_s, copy_s in zip(
            hazard.tolist(), course.costs.step.tolist(), course.copy_s.tolist(), strict=True
        )
        for each in copies_apart(rate, step_s, copy_s, course.work.local_steps)
    }
    plain = [Recovery("abandon"), Recovery("restart")]
    return [
        *plain,
        *(Recovery("replicate", each) for each in sorted(apart - {course.work.local_steps})),
    ]
