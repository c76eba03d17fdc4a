"""DSSRA's input for one round: the observation as arrays, and what earlier rounds have left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np

from bridge.formats import FP32, kept_copies
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.dssra.local_steps import Drift
from collapipe_ns3.dssra.objective import Objective
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.risk import Risk
from collapipe_ns3.dssra.segments.problem import Choices, divisors
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.exchange import Exchange, StateMove
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.observed import MeasuredLink, Observation
from collapipe_ns3.plan import Pipeline, Recovery, RoundPlan
from collapipe_ns3.prediction.arrays import Array, Mask
from collapipe_ns3.prediction.departures import Departures
from collapipe_ns3.prediction.directions import Pair
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.fleet import Fleet, node_places, participants
from collapipe_ns3.prediction.format_noise import FormatNoise
from collapipe_ns3.prediction.knowledge import Knowledge
from collapipe_ns3.prediction.memory import recovery_copies
from collapipe_ns3.prediction.plan_timeline import cluster_plans, moved_states
from collapipe_ns3.prediction.round_time import STAR, ExchangeForm
from collapipe_ns3.prediction.segments import Segments
from collapipe_ns3.schedule import one_f_one_b_window

#: A factor of a link's gain over interference, 6 dB: more than a chance change of interference.
_CHANGED = 4.0


class Shared(NamedTuple):
    """Which links share their band without grants."""

    sidelinks: bool
    edge: bool  # uplinks and downlinks


#: The ways to use the bands.
BANDS = {
    "shared": Shared(sidelinks=True, edge=True),
    "divided to the base station": Shared(sidelinks=True, edge=False),
    "divided": Shared(sidelinks=False, edge=False),
}


@dataclass(frozen=True)
class Memory:
    """What earlier rounds have left: measurements, queues, and the pipelines of the last round.

    `correction` are the ratios of measured to predicted phases, see `forecast.Prediction`; `tried`
    are those of the training times of plans, see `collapipe_ns3.prediction.training_ratios`. By
    `drift` the number of local steps is chosen, see `collapipe_ns3.dssra.local_steps`. By
    `departures` hazards are estimated where the study does not say them.
    """

    knowledge: Knowledge = field(default_factory=Knowledge)
    correction: Mapping[str, float] = field(default_factory=dict)
    tried: Mapping[str, float] = field(default_factory=dict)
    noise: GradientNoise = field(default_factory=GradientNoise)
    format_noise: FormatNoise = field(default_factory=FormatNoise)
    queues: Queues = field(default_factory=Queues)
    drift: Drift = field(default_factory=Drift)
    departures: Departures = field(default_factory=Departures)
    pipelines: Mapping[int, Pipeline] | None = None


@dataclass(frozen=True)
class PlanningProblem:
    """A round to be planned. Clusters that take part are rows, in the order of their numbers."""

    observation: Observation
    memory: Memory
    settings: Settings
    objective: Objective

    @classmethod
    def of(cls, observation: Observation, memory: Memory, settings: Settings) -> Self:
        """The round's problem, whose objective has the queues as prices."""
        risk = _risk(observation, memory)
        recovery = _recovery(observation, risk)
        work = workload(observation, settings)
        work = work.keeping(recovery_copies(recovery, observation.optimizer))
        fleet = limited(Fleet.of(observation, memory.knowledge), work, settings)
        energy_prices = _energy_prices(observation, memory.queues, settings, fleet)
        idle_price = float((energy_prices * fleet.idle_w).sum())
        objective = Objective(
            fleet=fleet,
            work=work,
            noise=memory.noise,
            time_price=settings.v + idle_price,
            idle_price=idle_price,
            energy_prices=energy_prices,
            divergence_price=memory.queues.divergence / settings.divergence_budget,
            choices=Choices(
                divisors(observation.batch_size, settings.most_micro_batches),
                gpipe=settings.schedule != "1f1b",
                one_f_one_b=settings.schedule != "gpipe",
            ),
            least_sinr=10 ** (settings.least_sinr_db / 10),
            risk=risk,
        )
        return cls(observation, memory, settings, objective)

    def with_bands(self, bands: str) -> PlanningProblem:
        """The problem with those links left without grants that share their band (`BANDS`)."""
        shared = BANDS[bands]
        fleet = self.fleet.opened(sidelink=shared.sidelinks, edge=shared.edge)
        return replace(self, objective=replace(self.objective, fleet=fleet))

    def with_form(self, form: ExchangeForm) -> PlanningProblem:
        """The problem with parameters travelling in this way."""
        divergence, copies = 0.0, 0
        if form.encoded:
            up = [each.format for each in form.up] or [FP32] * self.fleet.clusters
            copies = max(kept_copies(form.down.format, each) for each in up)
            divergence = self.memory.format_noise.divergence(
                form.down.format, up, self.fleet.share.tolist(), self.work, self.memory.noise
            )
        objective = replace(self.objective, form=form, format_divergence=divergence)
        return replace(self, objective=objective)._keeping(copies)

    def with_recovery(self, recovery: Recovery) -> PlanningProblem:
        """The problem with this recovery, where nodes may leave."""
        assert self.objective.risk is not None
        risk = self.objective.risk.with_recovery(recovery)
        changed = replace(self, objective=replace(self.objective, risk=risk))
        return changed.with_form(self.objective.form)

    @property
    def recovery(self) -> Recovery:
        """How pipelines recover: as the study says, or as is chosen where nodes may leave."""
        return _recovery(self.observation, self.objective.risk)

    def _keeping(self, copies: int) -> PlanningProblem:
        """The problem where formats need so many copies of parameters, and the recovery its own."""
        copies += recovery_copies(self.recovery, self.observation.optimizer)
        work = self.work.keeping(copies)
        fleet = limited(self.fleet, work, self.settings)
        return replace(self, objective=replace(self.objective, work=work, fleet=fleet))

    def with_steps(self, steps: int) -> PlanningProblem:
        """The problem with so many local steps, on which the divergence of formats depends."""
        if steps == self.work.local_steps:
            return self
        objective = replace(self.objective, work=replace(self.work, local_steps=steps))
        return replace(self, objective=objective).with_form(objective.form)

    def exchange(self, plan: RoundPlan) -> Exchange | None:
        """The exchange of a plan: that of the study if it gives one, or of the objective's form.

        None stands for that of plans without one.
        """
        form, given = self.objective.form, self.observation.exchange
        if given is not None:  # candidates are compared with larger chunks
            return arranged(plan.placements(), replace(given, chunk_bytes=form.chunk_bytes))
        if form == STAR:
            return None
        rows = form.groups
        if not (rows or form.down.format.exact):  # a format is that of a group
            rows = tuple((row,) for row in range(len(self.clusters)))
        arrangement = Arrangement(
            groups=tuple(
                Group(tuple(self.clusters[n] for n in group), form.down.format) for group in rows
            ),
            uploads={self.clusters[row]: each.format for row, each in enumerate(form.up)},
            chunk_bytes=form.chunk_bytes,
            in_turn=form.in_turn and bool(form.groups),
        )
        return arranged(plan.placements(), arrangement)

    def pipelines(self, segments: Segments) -> dict[int, Pipeline]:
        """The segments as a pipeline for each cluster that takes part, by its number."""
        plans = cluster_plans(segments, self.devices)
        return {plan.cluster: plan.pipelines[0] for plan in plans}

    def state_moves(self, segments: Segments) -> dict[int, list[StateMove]]:
        """The optimizer states that would have to move to where these segments are, by cluster.

        States on a device that sits out can't be fetched, and start anew.
        """
        if self.memory.pipelines is None:
            return {}
        moved = moved_states(self.memory.pipelines, self.pipelines(segments), self.work)
        return {
            n: [move for move in moves if move.src in self.places] for n, moves in moved.items()
        }

    @property
    def devices(self) -> tuple[tuple[str, ...], ...]:
        """Each cluster's devices, none where it sits out."""
        return self.observation.devices

    @cached_property
    def clusters(self) -> list[int]:
        """The number of each row's cluster."""
        return participants(self.devices)

    @property
    def fleet(self) -> Fleet:
        return self.objective.fleet

    @property
    def work(self) -> Workload:
        return self.objective.work

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Row and node number of every control unit and device."""
        return node_places(self.devices)


def _risk(observation: Observation, memory: Memory) -> Risk | None:
    """How often nodes leave: as the study says or, otherwise, as far as it has been seen.

    None where no node is expected to leave. Where the recovery is DSSRA's choice, it begins with
    restarts.
    """
    seen = {node: each.name for node, each in observation.profiles.items() if node != SERVER}
    hazards = observation.hazards or memory.departures.hazards(seen)
    rows = _nodes(observation)
    table = np.zeros((len(rows), max(map(len, rows), default=0)))
    for n, row in enumerate(rows):
        for k, name in row:
            table[n, k] = hazards.get(name, 0.0)
    if not table.any():
        return None
    return Risk(table, observation.recovery or Recovery("restart"))


def _recovery(observation: Observation, risk: Risk | None) -> Recovery:
    """The recovery that a plan has to have memory for."""
    if risk is not None:
        return risk.recovery
    return observation.recovery or Recovery()


def limited(fleet: Fleet, work: Workload, settings: Settings) -> Fleet:
    """The fleet with the memory that a plan may use.

    The fair part of a device is less than what the largest segment of an even split needs with the
    activations of a whole batch, as GPipe keeps them; that holds for batches of the usual and of
    the greatest length. It is exactly that where batches can't be cut into enough micro-batches for
    1F1B to keep fewer than all. It is no limit in clusters where a device has less memory than
    that and what formats of the exchange need.
    """
    memory = fleet.memory_bytes
    fair, longest = fleet.fair_bytes, fleet.fair_longest_bytes
    if settings.memory_budget_bytes is not None:
        memory = np.minimum(memory, settings.memory_budget_bytes)
    if settings.memory == "fair":
        blocks = -(-work.blocks // np.minimum(fleet.size, work.blocks))
        finest = divisors(work.batch_size, settings.most_micro_batches)[-1]
        # The first of an even split's segments keeps the most; it follows the control unit.
        window = one_f_one_b_window(fleet.size + 2, 1)
        less = np.where(settings.schedule == "gpipe", 0, finest > window)
        most, usual = (
            blocks * (work.held_bytes + work.batch_size * saved) - less
            for saved in (work.saved_bytes, work.block.kept_bytes)
        )
        nodes = np.arange(fleet.nodes)
        needed = (most + blocks * work.format_bytes)[:, None]
        lacking = (nodes > 0) & (nodes <= fleet.size[:, None]) & (memory < needed)
        feasible: Mask = np.logical_not(lacking.any(-1))
        fair, longest = (np.where(feasible, each, np.inf) for each in (usual, most))
    return replace(fleet, memory_bytes=memory, fair_bytes=fair, fair_longest_bytes=longest)


def workload(observation: Observation, settings: Settings) -> Workload:
    """The work of a round, with batches as long as those observed."""
    longest = observation.model.longest
    return Workload.of(
        observation.model,
        batch_size=observation.batch_size,
        local_steps=observation.local_steps,
        optimizer=observation.optimizer,
        source_length=observation.source_length or longest.tokens,
        target_length=observation.target_length or longest.targets,
        wire=observation.wire,
        aggregation=observation.aggregation,
    )


def unmeasured(
    observation: Observation, before: Iterable[MeasuredLink], stale_s: float
) -> list[Pair]:
    """The links that a plan might use and that were not measured within the last `stale_s`.

    `before` are the links as the last plan was made from them. If the gain over interference of a
    link has changed by more than `_CHANGED` since, all links of its cluster are included: those
    that were not used were measured before the change.
    """
    known = {(link.src, link.dst): link for link in observation.links if link.age_s <= stale_s}
    was = {(link.src, link.dst): link for link in before}
    wanted: list[Pair] = []
    for row in _nodes(observation):
        names = [name for _, name in row]
        inside = [(a, b) for a in names for b in names if a != b]
        if any(
            pair in known and pair in was and _changed(was[pair], known[pair]) for pair in inside
        ):
            wanted += inside
        wanted += [pair for pair in inside if pair not in known]
        edge = [(names[0], SERVER), (SERVER, names[0])]
        wanted += [pair for pair in edge if pair not in known]
    return list(dict.fromkeys(wanted))


def _changed(old: MeasuredLink, new: MeasuredLink) -> bool:
    quality = [link.gain / max(link.interference_w_hz, 1e-30) for link in (old, new)]
    return new.age_s < old.age_s + 1e-9 and not (
        quality[0] / _CHANGED <= quality[1] <= quality[0] * _CHANGED
    )


def _nodes(observation: Observation) -> list[list[tuple[int, str]]]:
    """(number, name) of the nodes of every cluster that takes part, its control unit first."""
    return [
        list(enumerate([control_unit(n), *observation.devices[n]]))
        for n in participants(observation.devices)
    ]


def _energy_prices(
    observation: Observation, queues: Queues, settings: Settings, fleet: Fleet
) -> Array:
    """Q/Ē of every node, (P, n); zero for nodes without a budget."""
    budgets = settings.budgets_j(observation.devices)
    prices = np.zeros((fleet.clusters, fleet.nodes))
    for n, row in enumerate(_nodes(observation)):
        for k, name in row:
            if name in budgets:
                prices[n, k] = queues.energy.get(name, 0.0) / budgets[name]
    return prices
