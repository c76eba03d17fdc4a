"""A small laboratory for the engine: a tiny model, nodes of known speed, links of known rate."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import math
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from bridge.formats import Wire
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.power import RADIATED, EnergyModel, RadioPower
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import OptimizerMaker, TrainingState
from collapipe_ns3.exchange import PipelineId
from collapipe_ns3.fallback import AnyHosts, Hosts
from collapipe_ns3.faults import NO_FAULTS, Faults, Signal, Steps
from collapipe_ns3.learning.aggregation import Aggregator
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.local_term import NO_TERM, LocalTerm
from collapipe_ns3.learning.models.transformer import TranslationModel, build
from collapipe_ns3.learning.spec import ModelSpec
from collapipe_ns3.learning.updates import UpdateRule
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage

INSTANT_FLOPS = 1e30  # FLOP/s at which no computation takes any time
FAST = Link(rate_bps=8_000_000_000)  # a byte a nanosecond
SPEC = ModelSpec(
    source_vocabulary=11,
    target_vocabulary=13,
    width=8,
    heads=2,
    feed_forward=12,
    encoder_blocks=4,
    decoder_blocks=1,
    max_length=8,
)
COSTS = closed_form(SPEC)
LOCAL_COSTS = closed_form(SPEC, local_head=True)


@dataclass(frozen=True)
class Instant(Link):
    """A link that takes no time."""

    def airtime_ns(self, size_bytes: int) -> int:
        return 0


@dataclass(frozen=True)
class Hop(Link):
    """A link that takes ten microseconds, whatever it carries."""

    def airtime_ns(self, size_bytes: int) -> int:
        return 10_000


@dataclass
class Recording:
    """Makes SGD optimizers that keep a copy of every gradient they were given, in order."""

    learning_rate: float = 0.1
    gradients: dict[int, list[Tensor]] = field(default_factory=dict)

    def __call__(self, parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
        taken = self.gradients

        class Optimizer(torch.optim.SGD):
            def step(self, closure: object = None) -> None:  # type: ignore[override]
                for group in self.param_groups:
                    for parameter in group["params"]:
                        taken.setdefault(id(parameter), []).append(parameter.grad.clone())
                super().step()

        return Optimizer(parameters, lr=self.learning_rate)

    def by_name(self, model: TranslationModel) -> dict[str, list[Tensor]]:
        """The gradients of each parameter, a step an entry."""
        return {name: self.gradients[id(p)] for name, p in model.named_parameters()}


def adamw(parameters: Iterator[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2)


def model(spec: ModelSpec = SPEC) -> TranslationModel:
    return build(spec, seed=3)


def batches(cluster: int, round: int, size: int = 12) -> Iterator[Batch]:
    """Random token sequences with padding at their ends, the same at every call."""
    stream = torch.Generator().manual_seed(1000 * cluster + round)
    while True:
        source = tokens(stream, size, 11)
        yield translation_batch(source, tokens(stream, size, 13))


def translation_batch(source: Tensor, target: Tensor) -> Batch:
    """A batch of `TranslationModel`; 0 is padding."""
    return Batch((source,), (source == 0,), (target,), (target[:, 1:] != 0).sum(1))


def tokens(stream: torch.Generator, count: int, vocabulary: int) -> Tensor:
    drawn = torch.randint(3, vocabulary, (count, 6), generator=stream)
    lengths = torch.randint(2, 7, (count, 1), generator=stream)
    return torch.where(torch.arange(6) < lengths, drawn, 0)


def profiles(
    nodes: Sequence[str],
    busy_ns: Mapping[str, int],
    flops_per_s: float = INSTANT_FLOPS,
    energy: EnergyModel = RADIATED,
) -> dict[str, DeviceProfile]:
    """Nodes on which every computation takes `busy_ns` (by default 1000) and its FLOPs' time.

    At the socket a radio takes 0.05 W more while it receives than while it listens.
    """
    return {
        node: DeviceProfile(
            name=node,
            flops_per_s=flops_per_s,
            overhead_s=busy_ns.get(node, 1000) / 1e9,
            memory_bytes=2**30,
            active_power_w=5.0,
            max_tx_power_w=0.1,
            rx_power_w=0.05,
            source="made up",
            idle_power_w=2.0,
            radio=RadioPower(0.0, 0.25, 0.3, 0.5, 0.2),
            energy=energy,
        )
        for node in nodes
    }


def pipeline(
    cluster: int, cuts: Sequence[int], micro_batches: int, schedule: str, recompute: bool = False
) -> Pipeline:
    """Segments of as many blocks as `cuts` says, on the cluster's devices in order."""
    stages, first = [], 0
    for device, blocks in enumerate(cuts):
        stages.append(Stage(f"c{cluster}.d{device}", first, first + blocks - 1, recompute))
        first += blocks
    return Pipeline(tuple(stages), micro_batches, schedule)


def one_cluster(
    cuts: Sequence[int], micro_batches: int, schedule: str = "gpipe", *, recompute: bool = False
) -> RoundPlan:
    only = ClusterPlan(0, (pipeline(0, cuts, micro_batches, schedule, recompute),))
    return RoundPlan(0, "test", (only,))


def nodes(plan: RoundPlan) -> list[str]:
    names = ["bs"]
    for cluster in plan.clusters:
        names.append(f"c{cluster.cluster}.cu")
        names += [stage.device for pipe in cluster.pipelines for stage in pipe.stages]
    names += [node for link in plan.links for node in (link.src, link.dst)]
    return names


def run_rounds(
    plans: Sequence[RoundPlan],
    state: TrainingState,
    *,
    default: Link = FAST,
    links: Mapping[tuple[str, str], Link] | None = None,
    busy_ns: Mapping[str, int] | None = None,
    local_steps: int = 1,
    flops_per_s: float = INSTANT_FLOPS,
    shares: Sequence[float] = (1.0,),
    aggregator: Aggregator | None = None,
    updates: UpdateRule | None = None,
    draw_batches: Callable[[int, int], Iterator[Batch]] = batches,
    faults: Faults = NO_FAULTS,
    energy: EnergyModel = RADIATED,
    term: LocalTerm = NO_TERM,
    wire: Wire = "fp32",
    hosts: Callable[[PipelineId], Hosts] = lambda pipeline: AnyHosts(),
    spare: Sequence[str] = (),
) -> list[RoundOutcome]:
    """Executes plans one after the other, each on a network of its own, and checks the rows.

    Every network has the nodes of all plans, which may have optimizer states from rounds before,
    and the devices in `spare`.
    The run's time begins with the first of them.
    """
    outcomes = []
    now_ns = 0
    names = list(dict.fromkeys([*(name for plan in plans for name in nodes(plan)), *spare]))
    for plan in plans:
        network = FixedRateNetwork(names, default, links)
        steps_before = plan.round * local_steps
        training = Training(
            draw_batches,
            shares,
            local_steps,
            OPTIMIZERS["sgd"].with_term(term),
            wire,
            steps_before=steps_before,
            term=term,
            hosts=hosts,
        )
        if aggregator is not None:
            training = dataclasses.replace(training, aggregator=aggregator)
        if updates is not None:
            training = dataclasses.replace(training, updates=updates)
        with TorchThread() as thread:
            presence = Presence(faults, now_ns)
            known = profiles(names, busy_ns or {}, flops_per_s, energy)
            site = Site(network, known, thread, presence)
            outcome = simulated.run(network, without_leak(run_round(site, state, plan, training)))
        assert network.in_flight() == 0
        conserve(outcome)
        respect(outcome, presence, site.profiles)
        now_ns += outcome.duration_ns
        outcomes.append(outcome)
    return outcomes


async def without_leak(round: Coroutine[Any, Any, RoundOutcome]) -> RoundOutcome:
    """A round, after which no task may be left."""
    outcome = await round
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return outcome


def run_one(plan: RoundPlan, state: TrainingState | None = None, **how: object) -> RoundOutcome:
    """`run_rounds` of one plan, by default on a fresh model with SGD."""
    return run_rounds([plan], state or fresh(Recording()), **how)[0]  # type: ignore[arg-type]


def fresh(make_optimizer: OptimizerMaker, local_head: bool = False) -> TrainingState:
    made = model()
    if local_head:
        made.add_local_head(seed=4)
    return TrainingState(made, make_optimizer, LOCAL_COSTS if local_head else COSTS)


def conserve(outcome: RoundOutcome) -> None:
    """What holds in every round: bytes sent = delivered + lost, and busy ≤ elapsed."""
    end_ns = outcome.start_ns + outcome.duration_ns
    busy: dict[tuple[str, str], float] = {}
    for each in outcome.deliveries:
        lost = sum(end - start for start, end in each.lost)
        assert 0 <= lost <= each.size_bytes
        assert (lost == 0) == (each.outcome == "delivered")
        assert outcome.start_ns <= each.start_ns <= each.end_ns <= end_ns
        link = (each.src, each.dst)
        busy[link] = busy.get(link, 0.0) + each.airtime_s
    assert all(airtime_s <= outcome.duration_ns / 1e9 + 1e-12 for airtime_s in busy.values())
    by_node: dict[str, int] = {}
    for done in outcome.computations:
        assert outcome.start_ns <= done.start_ns <= done.end_ns <= end_ns
        assert done.start_ns >= by_node.get(done.node, 0), f"{done.node} does two things at once"
        by_node[done.node] = done.end_ns


def respect(
    outcome: RoundOutcome, presence: Presence, profiles: Mapping[str, DeviceProfile]
) -> None:
    """Nothing is sent or computed by nodes that are away, nor sent over links that are out.

    Nodes take energy for computing exactly as long as they compute, and at idle while they are
    there.
    """
    faults, began_ns, lasting_ns = presence.faults, presence.began_ns, outcome.duration_ns
    for each in outcome.deliveries:
        for node in (each.src, each.dst):
            assert _is_one(faults.up.get(node), began_ns + each.start_ns, began_ns + each.end_ns)
        link = faults.links.get((each.src, each.dst))
        assert _is_one(link, began_ns + each.start_ns, began_ns + each.end_ns)
    busy_ns = dict.fromkeys(profiles, 0)
    for done in outcome.computations:
        if not done.node.startswith("bs"):
            up = faults.up.get(done.node)
            assert _is_one(up, began_ns + done.start_ns, began_ns + done.end_ns)
        busy_ns[done.node] += done.end_ns - done.start_ns
    for use in outcome.devices:
        power = profiles[use.device].power
        joules = busy_ns[use.device] / 1e9 * power.computing_w
        assert math.isclose(use.compute_energy_j, joules, rel_tol=1e-9, abs_tol=1e-15)
        up = faults.up.get(use.device, Steps(1.0))
        if use.device.startswith("bs") or not isinstance(up, Steps):
            continue
        begin_ns, end_ns = began_ns + outcome.start_ns, began_ns + outcome.start_ns + lasting_ns
        edges_ns = sorted({begin_ns, end_ns, *(t for t in up.times_ns if begin_ns < t < end_ns)})
        up_ns = sum(b - a for a, b in itertools.pairwise(edges_ns) if up.at(a) > 0)
        joules = power.idle_w * up_ns / 1e9
        assert math.isclose(use.idle_energy_j, joules, rel_tol=1e-9, abs_tol=1e-15)


def _is_one(signal: Signal | None, begin_ns: int, end_ns: int) -> bool:
    """Whether a signal is 1 from an instant on to just before another."""
    if signal is None:
        return True
    change_ns = signal.next_change_ns(begin_ns)
    return begin_ns == end_ns or (
        signal.at(begin_ns) == 1 and (change_ns is None or change_ns >= end_ns)
    )


def away(*spans_ns: tuple[int, int | None]) -> Steps:
    """A node that is away, or a link that is out, from one instant to another, or for good."""
    changes = [(at, float(n)) for span in spans_ns for n, at in enumerate(span) if at is not None]
    return Steps(1.0, *zip(*changes, strict=True))


def story(outcome: RoundOutcome) -> list[str]:
    """What ended when, as text; of what ended at one time, transfers first, then by name."""
    ends = [(d.end_ns, 0, f"{d.src} → {d.dst} {d.kind}") for d in outcome.deliveries]
    for done in outcome.computations:
        micro_batch = "" if done.micro_batch < 0 else str(done.micro_batch)
        ends.append((done.end_ns, 1, f"{done.node} {done.action}{micro_batch}"))
    return [f"{at_ns // 1000:3} µs  {text}" for at_ns, _, text in sorted(ends)]
