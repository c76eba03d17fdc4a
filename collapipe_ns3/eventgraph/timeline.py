"""The timeline of a round, from an event graph of all its computations and transfers.

The graph is built from the schedule tables that `collapipe_ns3.engine.round` executes, with an edge
for everything that waits for something else. Where the times of all tasks are known, timeline and
engine agree to the nanosecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from typing import Protocol

from bridge.network import TransferKind
from collapipe_ns3.costs.parts import Message, PartCosts
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.eventgraph.graph import Claim, EventGraph, Execution, Hold, execute
from collapipe_ns3.eventgraph.slots import Lane
from collapipe_ns3.exchange import (
    Arrival,
    Leg,
    Legs,
    PipelineId,
    StateMove,
    Trained,
    overlap_ns,
    phase_ends_ns,
)
from collapipe_ns3.nodes import SERVER, cluster_of, control_unit, route
from collapipe_ns3.phases import Phase, durations_ns
from collapipe_ns3.plan import Deadline, Pipeline, RoundPlan, micro_batch_sizes
from collapipe_ns3.references import NO_REFERENCES, References, ShipmentSizes
from collapipe_ns3.schedule import (
    RECEIVES,
    SCHEDULES,
    SENDS,
    Action,
    ActionKind,
    Table,
    matching_send,
    with_branch,
)


@dataclass(frozen=True, slots=True)
class HopTransfer:
    """One transfer over one hop: how long it holds what it claims, and how much later it arrives.

    It has a latency for each receiver. On a slotted band it claims nothing but takes a lane, and
    `hold_ns` is for the whole band.
    """

    hold_ns: int
    latencies_ns: tuple[int, ...]
    claims: tuple[Claim, ...]
    lane: tuple[str, Lane] | None = None


class TaskCosts(Protocol):
    """How long computations and transfers take."""

    def processor_ns(self, node: str, flops: float) -> int:
        """How long a node computes."""
        ...

    def hop_transfer(
        self, src: str, receivers: tuple[str, ...], size_bytes: int, bulk: bool
    ) -> HopTransfer:
        """What a transfer takes over a link, or a multicast over the links to all receivers.

        `bulk` marks parameters and optimizer states.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bar:
    """A computation on a processor (`dst` empty) or a transfer over a link; `what` names it.

    A multicast has a bar for each receiver, of the receiver's cluster.
    """

    src: str
    dst: str
    cluster: int
    what: str
    start_ns: int
    end_ns: int


#: (src, dst, cluster, what) of a task, as in `Bar`.
Name = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class PipelineTimes:
    """When the phases and the training steps of one pipeline ended, in ns after the round began.

    `overlap_ns` is how long any of its parameters were on their way during its training steps.
    """

    cluster: int
    ends_ns: Mapping[Phase, int]
    steps_ns: tuple[int, ...]
    overlap_ns: int = 0

    @property
    def phases_ns(self) -> dict[Phase, int]:
        """How long each of its phases takes."""
        return durations_ns(0, self.ends_ns)


@dataclass(frozen=True, slots=True)
class Timeline:
    """A round in which everything takes as long as predicted.

    `names` are those of the tasks of `graph`, None for a task that only waits for others.
    """

    pipelines: tuple[PipelineTimes, ...]
    total_ns: int
    graph: EventGraph
    execution: Execution
    names: Sequence[Name | None]

    @property
    def bars(self) -> list[Bar]:
        """Everything that takes time, in the order of the tasks."""
        starts, ends = self.execution.start_ns, self.execution.end_ns
        return [
            Bar(*name, starts[task], ends[task])
            for task, name in enumerate(self.names)
            if name is not None
        ]


def build_timeline(
    plan: RoundPlan,
    work: Workload,
    costs: TaskCosts,
    moves: Mapping[int, Sequence[StateMove]] | None = None,
    references: References = NO_REFERENCES,
) -> Timeline:
    """When everything in a round happens. `moves` are those of each cluster's first pipeline.

    `references` say what nodes hold before the round, on which sizes depend where parameters travel
    as differences.

    Raises `collapipe_ns3.eventgraph.graph.TooManyEvents` where links are too slow to simulate.
    """
    work = replace(work, local_steps=plan.local_steps or work.local_steps)
    moved = {PipelineId(cluster, 0): each for cluster, each in (moves or {}).items()}
    bytes_of = ShipmentSizes(work.model.units_bytes, plan.routing(references))
    made = _RoundGraph(work, costs, plan.legs(bytes_of, moved))
    jobs = []
    for cluster in plan.clusters:
        sizes = cluster.sequences(work.batch_size)
        for index, (pipeline, size) in enumerate(zip(cluster.pipelines, sizes, strict=True)):
            jobs.append(made.job(PipelineId(cluster.cluster, index), pipeline, size))
    made.join(jobs)
    flops = work.aggregate_flops(len(jobs))
    made.compute(SERVER, -1, "aggregate", flops, [task for job in jobs for task in made.ends(job)])
    done = execute(made.graph)
    pipelines = tuple(made.times(job, done.end_ns) for job in jobs)
    total_ns = done.makespan_ns
    if plan.terms.deadline is not None and pipelines:
        stopped_ns = _until_deadline_ns(plan.terms.deadline, pipelines, work, costs)
        total_ns = min(total_ns, stopped_ns)
    return Timeline(
        pipelines=pipelines,
        total_ns=total_ns,
        graph=made.graph,
        execution=done,
        names=made.names,
    )


def _until_deadline_ns(
    deadline: Deadline, pipelines: Sequence[PipelineTimes], work: Workload, costs: TaskCosts
) -> int:
    """When a round ends in which the base station waits for no cluster that is late."""
    through_ns = [each.ends_ns[Phase.UPLOAD] for each in pipelines]
    clusters: dict[int, int] = {}
    for each, end_ns in zip(pipelines, through_ns, strict=True):
        clusters[each.cluster] = max(clusters.get(each.cluster, 0), end_ns)
    stop_ns = deadline.stop_ns(list(clusters.values()))
    arrived = sum(end_ns <= stop_ns for end_ns in through_ns)
    if not arrived:
        return stop_ns
    return stop_ns + costs.processor_ns(SERVER, work.aggregate_flops(arrived))


@dataclass(frozen=True, slots=True)
class _Job:
    """A pipeline in the graph: its nodes, and the tasks with which its training begins and ends.

    There is a task in `begins` for each stage with which its first step begins, one in `steps` for
    the end of each step, and one in `optimizers` for the last optimizer step of each stage.
    """

    id: PipelineId
    nodes: Sequence[str]
    begins: Sequence[int]
    steps: Sequence[int]
    optimizers: Sequence[int]


@dataclass(slots=True)
class _RoundGraph:
    """The graph of a round under construction. Methods return the numbers of the tasks they add."""

    work: Workload
    costs: TaskCosts
    legs: Legs
    graph: EventGraph = field(default_factory=EventGraph)
    names: list[Name | None] = field(default_factory=list)
    first: dict[int, int] = field(default_factory=dict)  # the first task of each leg
    arrivals: dict[Arrival, int] = field(default_factory=dict)
    trained: dict[Trained, list[int]] = field(default_factory=dict)

    def wait(self, after: Sequence[int]) -> int:
        """A task that ends when all of these have ended."""
        self.names.append(None)
        return self.graph.add(after)

    def compute(
        self, node: str, cluster: int, what: str, flops: float, after: Sequence[int]
    ) -> int:
        """A computation on a node."""
        self.names.append((node, "", cluster, what))
        hold_ns = self.costs.processor_ns(node, flops)
        return self.graph.add(after, hold_ns=hold_ns, claims=((node, Hold.ALONE),))

    def send(
        self,
        route: Sequence[str],
        size: int,
        cluster: int,
        what: str,
        after: Sequence[int],
        *,
        bulk: bool = True,
    ) -> int:
        """A transfer along a route, whole over each hop before the next begins; its last hop."""
        if len(route) == 1:
            return self.wait(after)
        task = -1
        for src, dst in pairwise(route):
            (task,) = self.hop(src, (dst,), size, cluster, what, after, bulk=bulk)
            after = [task]
        return task

    def hop(
        self,
        src: str,
        receivers: tuple[str, ...],
        size: int,
        cluster: int,
        what: str,
        after: Sequence[int],
        *,
        bulk: bool,
    ) -> list[int]:
        """A transfer over one hop; its arrival at each receiver."""
        transfer = self.costs.hop_transfer(src, receivers, size, bulk)
        first_ns, *others_ns = transfer.latencies_ns
        for dst in receivers:  # a multicast may be for several clusters
            whose = cluster if len(receivers) == 1 else cluster_of(dst)
            self.names.append((src, dst, whose, what))
        task = self.graph.add(
            after,
            hold_ns=transfer.hold_ns,
            latency_ns=first_ns,
            claims=transfer.claims,
            transfer=True,
            lane=transfer.lane,
        )
        return [task, *(self.graph.receive(task, latency_ns) for latency_ns in others_ns)]

    def job(self, id: PipelineId, pipeline: Pipeline, sequences: int) -> _Job:
        """Adds everything that a pipeline does in a round; its legs do not wait for anything yet.

        Tasks are in the order of the phases. A leg for several pipelines is added with the first.
        """
        own = [leg for leg in self.legs.all if id in leg.pipelines and leg.number not in self.first]
        for leg in own:
            if leg.phase is Phase.BROADCAST:
                self.add_leg(leg)
        job = self.steps(id, pipeline, sequences, self.wait([]))
        for leg in own:
            if leg.phase is not Phase.BROADCAST:
                self.add_leg(leg)
        return job

    def add_leg(self, leg: Leg) -> None:
        """The transfers of a leg; of no bytes, none."""
        self.first[leg.number] = len(self.graph)
        if not leg.size_bytes:
            tasks = [self.wait([])] * len(leg.receivers)
        else:
            size, cluster = leg.size_bytes, leg.pipelines[0].cluster
            if len(leg.receivers) == 1:
                tasks = [self.send(leg.route, size, cluster, leg.kind, [])]
            else:
                tasks = self.hop(leg.src, leg.receivers, size, cluster, leg.kind, [], bulk=True)
            if self.legs.streamed:  # chunks often arrive when activations do
                self.graph.defer(self.first[leg.number])
        for node, task in zip(leg.receivers, tasks, strict=True):
            self.arrivals[Arrival(leg.number, node)] = task

    def join(self, jobs: Sequence[_Job]) -> None:
        """Has every leg wait for others, and the training of each pipeline for its legs.

        What waits for the same leg is requested in the order in which it is linked here.
        """
        for job in jobs:
            self.trained[Trained(job.id)] = [job.steps[-1]]
            for node, task in zip(job.nodes, job.optimizers, strict=True):
                self.trained.setdefault(Trained(job.id, node), []).append(task)
        for leg in self.legs.all:
            for task in self.before(leg):
                self.graph.link(task, self.first[leg.number])
        for job in jobs:
            for begin, node in dict(zip(job.begins, job.nodes, strict=True)).items():
                for arrival in self.legs.needed[job.id, node]:
                    self.graph.link(self.arrivals[arrival], begin)

    def before(self, leg: Leg) -> Iterator[int]:
        """The tasks that have ended when a leg begins."""
        for what in leg.after:
            yield from [self.arrivals[what]] if isinstance(what, Arrival) else self.trained[what]

    def ends(self, job: _Job) -> list[int]:
        """The tasks that have all ended when a pipeline has."""
        return [job.steps[-1], *(self.arrivals[each] for each in self.legs.arrivals[job.id])]

    def times(self, job: _Job, end_ns: Sequence[int]) -> PipelineTimes:
        """The times of a pipeline, given when each task of the graph ends."""
        begun_ns = {
            leg.number: max((end_ns[task] for task in self.before(leg)), default=0)
            for leg in self.legs.of(job.id)
        }
        own = self.legs.arrivals[job.id]
        arrived_ns = {each: end_ns[self.arrivals[each]] for each in own}
        steps_ns = tuple(end_ns[task] for task in job.steps)
        ends_ns = phase_ends_ns(self.legs, job.id, job.nodes[0], arrived_ns, 0, steps_ns[-1])
        overlapping_ns = overlap_ns(self.legs, job.id, begun_ns, arrived_ns, ends_ns)
        return PipelineTimes(job.id.cluster, ends_ns, steps_ns, overlapping_ns)

    def steps(self, id: PipelineId, pipeline: Pipeline, sequences: int, begin: int) -> _Job:
        """All local steps, each of which is a copy of the first.

        In a streamed exchange each stage begins on its own; otherwise `begin` is for all of them.
        """
        nodes = self.nodes(id.cluster, pipeline)
        first = len(self.graph)
        begins = [begin] * len(nodes)
        if self.legs.streamed:
            begins = [self.wait([begin]) for _ in nodes]
        optimizers = self.step(id.cluster, pipeline, nodes, sequences, begins)
        ends = [self.wait(optimizers)]
        for _ in range(self.work.local_steps - 1):
            names = self.names[first : ends[-1] + 1]
            shift = ends[-1] + 1 - first
            first, last = len(self.graph), self.graph.repeat(begin, first, ends[-1])
            self.names += names
            begin = ends[-1]
            ends.append(last)
            optimizers = [task + shift for task in optimizers]
        return _Job(id, nodes, begins, ends, optimizers)

    def step(
        self,
        cluster: int,
        pipeline: Pipeline,
        nodes: Sequence[str],
        sequences: int,
        begins: Sequence[int],
    ) -> list[int]:
        """The optimizer steps that end a training step, after all that comes before them."""
        work = self.work
        parts = work.model.stages(pipeline)
        local_head = work.model.local_head is not None
        sizes = micro_batch_sizes(sequences, pipeline.micro_batches)
        shapes = [work.shape(size) for size in sizes]
        previous = list(begins)
        sent: dict[Action, int] = {}
        wanted: list[tuple[Action, int]] = []
        for stage, actions in enumerate(
            _table(pipeline.schedule, len(nodes), pipeline.micro_batches, local_head)
        ):
            part = parts[stage]
            received: list[Action] = []
            for action in actions:
                kind, m = action.kind, action.micro_batch
                if kind in RECEIVES:
                    received.append(action)
                elif kind in SENDS:
                    way, message = self.message(kind, stage, nodes, parts, control_unit(cluster))
                    size = message.bytes_on_air(work.wire, shapes[m])
                    what = f"{kind[-1]}{m}"
                    # What has been received since the last computation is sent on.
                    after = [previous[stage], *(sent[matching_send(each)] for each in received)]
                    sent[action] = self.send(way, size, cluster, what, after, bulk=False)
                else:
                    forward = kind is ActionKind.FORWARD
                    flops = (part.forward_flops if forward else part.backward_flops)(shapes[m])
                    previous[stage] = self.compute(
                        nodes[stage], cluster, f"{kind}{m}", flops, [previous[stage]]
                    )
                    wanted += [(receive, previous[stage]) for receive in received]
                    received = []
        for receive, task in wanted:
            self.graph.link(sent[matching_send(receive)], task)
        ready = [[done] for done in previous]
        if work.model.tied_bytes:
            way = route(nodes[0], nodes[-1], control_unit(cluster))
            for here, there, path in ((0, -1, way), (-1, 0, way[::-1])):
                size, what = work.model.tied_bytes, TransferKind.GRADIENT
                ready[there].append(self.send(path, size, cluster, what, [previous[here]]))
        return [
            self.compute(node, cluster, "step", work.step_flops(part.parameter_bytes), after)
            for node, part, after in zip(nodes, parts, ready, strict=True)
        ]

    def nodes(self, cluster: int, pipeline: Pipeline) -> list[str]:
        """The node of each stage of a pipeline."""
        local_head = self.work.model.local_head is not None
        return pipeline.nodes(control_unit(cluster), SERVER, local_head)

    def message(
        self,
        kind: ActionKind,
        stage: int,
        nodes: Sequence[str],
        parts: Sequence[PartCosts],
        control: str,
    ) -> tuple[Sequence[str], Message]:
        """The route of what a stage sends, and the message."""
        if kind is ActionKind.SEND_LABELS:
            return route(nodes[-1], nodes[0], control)[::-1], self.work.model.labels
        ahead = stage if kind is ActionKind.SEND_ACTIVATION else stage - 1
        way = route(nodes[ahead], nodes[ahead + 1], control)
        if kind is ActionKind.SEND_ACTIVATION:
            return way, parts[ahead].output
        return way[::-1], parts[ahead].gradient


@cache
def _table(schedule: str, stages: int, micro_batches: int, local_head: bool) -> Table:
    """The schedule's table, which is validated where it is executed."""
    if local_head:
        return with_branch(SCHEDULES[schedule](stages - 1, micro_batches))
    return SCHEDULES[schedule](stages, micro_batches)
