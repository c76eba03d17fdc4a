"""A small laboratory for the engine: a tiny model, nodes of known speed, links of known rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3.costs.devices import DeviceProfile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import OptimizerMaker, TrainingState
from collapipe_ns3.learning.aggregation import Aggregator
from collapipe_ns3.learning.batch import Batch
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
    nodes: Sequence[str], busy_ns: Mapping[str, int], flops_per_s: float = INSTANT_FLOPS
) -> dict[str, DeviceProfile]:
    """Nodes on which every computation takes `busy_ns` (by default 1000) and its FLOPs' time."""
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
) -> list[RoundOutcome]:
    """Executes plans one after the other, each on a network of its own, and checks the rows.

    Every network has the nodes of all plans, which may have optimizer states from rounds before.
    """
    outcomes = []
    names = list(dict.fromkeys(name for plan in plans for name in nodes(plan)))
    for plan in plans:
        network = FixedRateNetwork(names, default, links)
        steps_before = plan.round * local_steps
        training = Training(
            draw_batches, shares, local_steps, OPTIMIZERS["sgd"], steps_before=steps_before
        )
        if aggregator is not None:
            training = dataclasses.replace(training, aggregator=aggregator)
        if updates is not None:
            training = dataclasses.replace(training, updates=updates)
        with TorchThread() as thread:
            site = Site(network, profiles(names, busy_ns or {}, flops_per_s), thread)
            outcome = simulated.run(network, run_round(site, state, plan, training))
        conserve(outcome)
        outcomes.append(outcome)
    return outcomes


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


def story(outcome: RoundOutcome) -> list[str]:
    """What ended when, as text; of what ended at one time, transfers first, then by name."""
    ends = [(d.end_ns, 0, f"{d.src} → {d.dst} {d.kind}") for d in outcome.deliveries]
    for done in outcome.computations:
        micro_batch = "" if done.micro_batch < 0 else str(done.micro_batch)
        ends.append((done.end_ns, 1, f"{done.node} {done.action}{micro_batch}"))
    return [f"{at_ns // 1000:3} µs  {text}" for at_ns, _, text in sorted(ends)]
