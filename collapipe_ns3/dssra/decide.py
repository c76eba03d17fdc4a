"""From an observation to a decision: everything that DSSRA does for one round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from collapipe_ns3.dssra import segments
from collapipe_ns3.dssra.assess import Loads, Pace, Radio, aggregate_s
from collapipe_ns3.dssra.decision import (
    ClusterPrediction,
    Decision,
    Finalist,
    LinkView,
    Prediction,
    Terms,
)
from collapipe_ns3.dssra.delay import Array
from collapipe_ns3.dssra.divergence import GradientNoise
from collapipe_ns3.dssra.fleet import Fleet, Links
from collapipe_ns3.dssra.knowledge import Knowledge, Pair
from collapipe_ns3.dssra.objective import Problem, State, same, value
from collapipe_ns3.dssra.planner import NoRoom, divided, equal_shares, optimise
from collapipe_ns3.dssra.predict import (
    SCHEDULE,
    cluster_plans,
    moved_states,
    predict,
    used_links,
)
from collapipe_ns3.dssra.queues import Queues
from collapipe_ns3.dssra.settings import Settings
from collapipe_ns3.dssra.tables import Prices
from collapipe_ns3.dssra.timeline import Move, Timeline
from collapipe_ns3.dssra.workload import Workload
from collapipe_ns3.nodes import SERVER, control_unit
from collapipe_ns3.plan import LinkPlan, Pipeline, PlanError, RoundPlan
from collapipe_ns3.schemes import Observation

#: Tasks of an event graph up to which a whole round is predicted by it: some 50 ms of planning.
_MOST_TASKS = 20_000

#: Tasks up to which finalists are compared by their event graphs, one training step each.
_MOST_COMPARED = 3_000

#: Part of a cluster's band for each link that is needed for nothing but moving optimizer states.
_MOVING = 0.02


@dataclass(frozen=True)
class Memory:
    """What earlier rounds have left: figures, queues, and who holds what."""

    knowledge: Knowledge = field(default_factory=Knowledge)
    noise: GradientNoise = field(default_factory=GradientNoise)
    queues: Queues = field(default_factory=Queues)
    pipelines: Mapping[int, Pipeline] | None = None


def decide(
    round: int, scheme: str, observation: Observation, memory: Memory, settings: Settings
) -> Decision:
    """The plan for a round. Raises `PlanError` where no plan fits the devices' memory."""
    return _Round(round, scheme, observation, memory, settings).decision()


def unmeasured(observation: Observation, stale_s: float) -> list[Pair]:
    """The links that a plan might use of which nothing newer than `stale_s` is known."""
    known = {(link.src, link.dst) for link in observation.links if link.age_s <= stale_s}
    wanted: list[Pair] = []
    for n, devices in enumerate(observation.devices):
        nodes = [control_unit(n), *devices]
        wanted += [(a, b) for a in nodes for b in nodes if a != b]
        wanted += [(nodes[0], SERVER), (SERVER, nodes[0])]
    return [pair for pair in wanted if pair not in known]


def workload(observation: Observation, settings: Settings) -> Workload:
    """The work of a round, on batches as the observation has them."""
    longest = observation.model.max_length
    return Workload.of(
        observation.model,
        batch_size=observation.batch_size,
        local_steps=observation.local_steps,
        optimizer=observation.optimizer,
        source_length=observation.source_length or longest,
        target_length=observation.target_length or longest,
        wire=settings.wire,
    )


class _Round:
    def __init__(
        self,
        round: int,
        scheme: str,
        observation: Observation,
        memory: Memory,
        settings: Settings,
    ) -> None:
        self.round, self.scheme = round, scheme
        self.observation, self.memory, self.settings = observation, memory, settings
        self.devices = observation.devices
        self.work = workload(observation, settings)
        self.fleet = Fleet.of(observation, memory.knowledge, settings.wire)
        most = settings.most_micro_batches
        self.problem = Problem(
            fleet=self.fleet,
            work=self.work,
            noise=memory.noise,
            second=settings.v,
            joule=self._joule_prices(),
            divergence=memory.queues.divergence / settings.divergence_budget,
            choices=segments.Choices(
                segments.divisors(observation.batch_size, most),
                gpipe=settings.schedule != "1f1b",
                one_f_one_b=settings.schedule != "gpipe",
            ),
            least_sinr=10 ** (settings.least_sinr_db / 10),
        )

    def _joule_prices(self) -> Array:
        """Q/Ē of every node, zero for those without a budget."""
        budgets = self.settings.budgets_j(self.devices)
        prices = np.zeros((self.fleet.clusters, self.fleet.nodes))
        for n, devices in enumerate(self.devices):
            for k, name in enumerate([control_unit(n), *devices]):
                queue = self.memory.queues.energy.get(name, 0.0)
                if name in budgets:
                    prices[n, k] = queue / budgets[name]
        return prices

    def decision(self) -> Decision:
        try:
            planned = optimise(self.problem, self.settings.most_sweeps)
        except NoRoom as error:
            raise PlanError(self._plan((), ()), self._shortages(error)) from None
        state, finalists = self._compared(planned.state, planned.others)
        now = value(self.problem, state)
        plans = cluster_plans(state.segments, self.devices)
        moves = self._moves(state)
        state = replace(state, radio=self._moving(state.radio, moves))
        plan = RoundPlan(self.round, self.scheme, plans, self._link_plans(state, moves))
        timeline = None
        if self._tasks(state) <= _MOST_TASKS:
            timeline = predict(plan, self.devices, self.fleet, self.work, state.radio, moves)
        return Decision(
            plan=plan,
            moves=planned.moves,
            finalists=finalists,
            terms=Terms(now.delay, float(now.energy.sum()), float(now.divergence.sum())),
            prediction=self._prediction(state, timeline),
            links=self._views(state, plan.links),
            energy_queues=dict(self.memory.queues.energy),
            divergence_queue=self.memory.queues.divergence,
            timeline=timeline,
        )

    def _plan(self, clusters: tuple[()], links: tuple[()]) -> RoundPlan:
        return RoundPlan(self.round, self.scheme, clusters, links)

    def _shortages(self, error: NoRoom) -> list[tuple[str, str]]:
        fleet, none = self.fleet, np.zeros((2, self.fleet.clusters))
        prices = Prices(np.ones(fleet.clusters), self.problem.joule, np.zeros(fleet.clusters))
        radio = Radio(*(np.zeros(0) for _ in range(6)))
        task = segments.Scheduling(
            fleet,
            self.work,
            radio,
            prices,
            Loads(none, none, none),
            self.memory.noise,
            self.problem.choices,
        )
        return [
            (f"cluster {n}", line)
            for n in np.flatnonzero(error.clusters)
            for line in segments.shortages(task, int(n), self.devices[n])
        ]

    def _compared(
        self, state: State, others: Sequence[State]
    ) -> tuple[State, tuple[Finalist, ...]]:
        """The best of the descent's plan, each schedule's and the last round's, in event graphs.

        Optimizer states that a plan would move count by their part of `move_rounds` rounds.
        """
        options = [("descent", state)]
        options += [("all " + SCHEDULE[bool(o.segments.one_f[0])], o) for o in others]
        if (before := self._before(state)) is not None:
            options.append(("last round", before))
        different: list[tuple[str, State]] = []
        for name, option in options:
            if not any(same(option, other) for _, other in different):
                different.append((name, option))
        if len(different) == 1 or sum(self._tasks(s, 1) for _, s in different) > _MOST_COMPARED:
            return state, ()
        ready = [(name, o if o is state else divided(self.problem, o)) for name, o in different]
        found = [(Finalist(name, self._graph_objective(o)), o) for name, o in ready]
        best = min(found, key=lambda pair: pair[0].objective)
        return best[1], tuple(finalist for finalist, _ in found)

    def _before(self, state: State) -> State | None:
        """The last round's segments on today's links, if they still fit."""
        pipelines = self.memory.pipelines
        clusters = range(len(self.devices))
        if pipelines is None or any(n not in pipelines for n in clusters):
            return None
        held = [pipelines[n] for n in clusters]
        known = [set(names) for names in self.devices]
        if any(s.device not in known[n] for n in clusters for s in held[n].stages):
            return None
        segs = segments.segments_of(held, self.devices)
        if not segments.fits(self.fleet, self.work, segs).all():
            return None
        return State(segs, equal_shares(self.fleet, state.radio, segs))

    def _graph_objective(self, state: State) -> float:
        """J with the round's time from the event graph of one training step, the rest alike."""
        once = replace(self.work, local_steps=1)
        plan = RoundPlan(self.round, self.scheme, cluster_plans(state.segments, self.devices))
        made = predict(plan, self.devices, self.fleet, once, state.radio)
        more = self.work.local_steps - 1
        moving = self._moving_s(state)
        ends = [
            times.upload_ns / 1e9
            + more * (times.steps_ns[0] - times.broadcast_ns) / 1e9
            + moving.get(times.cluster, 0.0) / self.settings.move_rounds
            for times in made.clusters
        ]
        now = value(self.problem, state)
        round_s = max(ends) + aggregate_s(self.fleet, self.work)
        return self.settings.v * round_s + float(now.penalties.sum())

    def _moves(self, state: State) -> dict[int, list[Move]]:
        if self.memory.pipelines is None:
            return {}
        plans = cluster_plans(state.segments, self.devices)
        after = {cluster.cluster: cluster.pipelines[0] for cluster in plans}
        return moved_states(self.memory.pipelines, after, self.work)

    def _moving_s(self, state: State) -> dict[int, float]:
        """Seconds that moving optimizer states would hold each cluster's links, one by one."""
        pace = Pace.of(self.fleet, equal_shares(self.fleet, state.radio, state.segments)).d2d
        total: dict[int, float] = {}
        for n, moves in self._moves(state).items():
            at = {name: k for k, name in enumerate(self.devices[n], start=1)}
            for move in moves:
                hops = pace[n, at[move.src], 0] if move.src in at else 0.0
                hops += pace[n, 0, at[move.dst]]
                total[n] = total.get(n, 0.0) + float(hops) * move.size_bytes
        return total

    def _moving(self, radio: Radio, moves: Mapping[int, Sequence[Move]]) -> Radio:
        """The radio with a little of each band for links that only moving states need."""
        if not self.fleet.d2d.grants or not moves:
            return radio
        hz = radio.d2d_hz.copy()
        for n, each in moves.items():
            at = {name: k for k, name in enumerate(self.devices[n], start=1)}
            pairs = {(at[move.src], 0) for move in each} | {(0, at[move.dst]) for move in each}
            missing = [pair for pair in pairs if hz[n][pair] <= 0]
            hz[n] *= 1 - _MOVING * len(missing)
            for pair in missing:
                hz[n][pair] = _MOVING * self.fleet.d2d.band_hz[n]
        return radio.with_(d2d_hz=hz)

    def _tasks(self, state: State, steps: int | None = None) -> int:
        """About how many tasks the round's event graph has."""
        each = state.segments.micro_batches * (4 * state.segments.size + 9)
        return int(each.sum()) * (steps or self.work.local_steps)

    def _link_plans(
        self, state: State, moves: Mapping[int, Sequence[Move]]
    ) -> tuple[LinkPlan, ...]:
        fleet, radio = self.fleet, state.radio
        found: list[LinkPlan] = []
        for plan in cluster_plans(state.segments, self.devices):
            n = plan.cluster
            pairs = used_links(plan.pipelines[0], n)
            for move in moves.get(n, ()):
                pairs += list(pairwise((move.src, control_unit(n), move.dst)))
            at = {name: k for k, name in enumerate([control_unit(n), *self.devices[n]])}
            for src, dst in dict.fromkeys(pairs):
                if dst == SERVER:
                    watts, hz, links = radio.up_w[n], radio.up_hz[n], fleet.up
                elif src == SERVER:
                    watts, hz, links = radio.down_w[n], radio.down_hz[n], fleet.down
                else:
                    i, j = at[src], at[dst]
                    watts, hz, links = radio.d2d_w[n, i, j], radio.d2d_hz[n, i, j], fleet.d2d
                most = self.observation.profiles[src].max_tx_power_w
                bandwidth = float(hz) if links.grants else None
                found.append(LinkPlan(src, dst, min(float(watts), most), bandwidth))
        return tuple(found)

    def _views(self, state: State, links: Sequence[LinkPlan]) -> tuple[LinkView, ...]:
        """The links of the plan as they were taken to be."""
        place = {
            name: (n, k)
            for n, devices in enumerate(self.devices)
            for k, name in enumerate([control_unit(n), *devices])
        }
        radio = state.radio
        views = []
        for link in links:
            at: tuple[int, ...]
            of: Links
            if link.dst == SERVER:
                at, of, hz = place[link.src][:1], self.fleet.up, radio.up_hz
            elif link.src == SERVER:
                at, of, hz = place[link.dst][:1], self.fleet.down, radio.down_hz
            else:
                (n, i), (_, j) = place[link.src], place[link.dst]
                at, of, hz = (n, i, j), self.fleet.d2d, radio.d2d_hz
            band, watts = float(hz[at]), float(link.tx_power_w or 0.0)
            sinr = watts * float(of.snr[at]) / band
            views.append(
                LinkView(
                    src=link.src,
                    dst=link.dst,
                    measured=bool(of.measured[at]),
                    power_w=watts,
                    bandwidth_hz=band,
                    sinr=sinr,
                    rate_bps=float(of.efficiency[at] * band * np.log2(1 + sinr)),
                    latency_s=float(of.latency[at]),
                    epsilon=float(of.epsilon[at]),
                )
            )
        return tuple(views)

    def _prediction(self, state: State, timeline: Timeline | None) -> Prediction:
        now = value(self.problem, state)
        begun, gathered, up = (each.tolist() for each in now.ends[1:])
        steps = self.work.local_steps
        if timeline is not None:
            clusters = tuple(
                ClusterPrediction(
                    times.cluster,
                    *(part / 1e9 for part in _parts(times.phases_ns, steps)),
                )
                for times in timeline.clusters
            )
            last = max(timeline.clusters, key=lambda times: times.upload_ns).cluster
            aggregate = (timeline.total_ns - max(t.upload_ns for t in timeline.clusters)) / 1e9
        else:
            step, gather = now.costs.step.tolist(), now.costs.gather.tolist()
            clusters = tuple(
                ClusterPrediction(
                    n,
                    begun[n],
                    step[n],
                    gathered[n] - gather[n] - begun[n],
                    gather[n],
                    up[n] - gathered[n],
                )
                for n in range(len(up))
            )
            last = int(np.argmax(up))
            aggregate = aggregate_s(self.fleet, self.work)
        slowest = clusters[last]
        energy = {
            name: float(now.costs.energy[n, k])
            for n, devices in enumerate(self.devices)
            for k, name in enumerate([control_unit(n), *devices])
        }
        return Prediction(
            by="event graph" if timeline is not None else "closed forms",
            broadcast_s=slowest.broadcast_s,
            pipeline_s=slowest.pipeline_s,
            gather_s=slowest.gather_s,
            upload_s=slowest.upload_s,
            aggregate_s=aggregate,
            clusters=clusters,
            energy_j=energy,
            divergence=float((self.fleet.share * now.gamma).sum()),
        )


def _parts(phases_ns: tuple[int, int, int, int], steps: int) -> tuple[float, ...]:
    broadcast, pipeline, gather, upload = phases_ns
    return broadcast, pipeline / steps, pipeline, gather, upload
