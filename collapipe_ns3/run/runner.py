"""Runs a study: each round is planned, executed in an ns-3 simulation of its own, and recorded."""

from __future__ import annotations

import dataclasses
import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.loop import simulated_loop, sleep_until_ns
from bridge.network import Network, positions
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.pipeline_step import first_of
from collapipe_ns3.engine.presence import Presence
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import ComputationFailed, Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.engine.usage import RoundStart
from collapipe_ns3.learning import registry
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.protocol import Learning
from collapipe_ns3.node_state import NodeState
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.phases import Phase
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.prediction.memory import PlannedHosts
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.model import new_model
from collapipe_ns3.run.planning import Pair, Planning, Soundings, check_network
from collapipe_ns3.run.records import NodeRecords, RoundCells, RoundRecord
from collapipe_ns3.topology import networks
from collapipe_ns3.topology.node_facts import node_facts
from collapipe_ns3.topology.stations import cells
from ns3_scenarios.handover import Attachment
from ns3_scenarios.traces import TraceFiles


class NobodyReturns(Exception):  # a way in which a run ends, and no error
    """No device can take part any more, and none ever returns; the message says why."""


class NoDevice(ValueError):
    """A device that torch can't use on this machine."""


def torch_device(name: str) -> torch.device:
    """The torch device of this name (`cpu`, `cuda`, `cuda:1`); raises `NoDevice`."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise NoDevice(f"torch can't use {name!r} here: {reason}") from None
    return device


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run: `step` of the round's `steps` has just ended.

    Local steps of all pipelines are counted. `simulated_s` is the simulated time since the run
    began, and `loss` the training loss of the step.
    """

    round: int
    step: int
    steps: int
    simulated_s: float
    loss: float


@dataclass(frozen=True, slots=True)
class Episode:
    """A round's plan, the links that it was made from, and its outcome.

    `nodes` has the positions of the nodes, and their energy budgets, and `cells` the cells of
    control units.
    """

    links: LinkBook
    plan: RoundPlan
    outcome: RoundOutcome
    planning_wall_s: float
    nodes: NodeRecords
    cells: RoundCells


class Run(Planning):
    """A study that is being run: the training state, and how many rounds have been executed.

    `now_ns` is the simulated time since the run began. `ended` says why there are no further
    rounds, where faults have ended the run; it is empty otherwise.
    """

    def __init__(
        self,
        config: StudyConfig,
        device: torch.device,
        watchdog_s: float | None = None,
        task: Learning | None = None,
    ) -> None:
        super().__init__(config, watchdog_s, task)
        self.device = device
        model = new_model(config, self.task).to(device)
        make = partial(config.training.kind.make, learning_rate=config.training.learning_rate)
        self.state = TrainingState(model, make, self.model_costs, config.training.precision)
        self.traces: TraceFiles | None = None
        self.noise = GradientNoise()
        self.ended = ""

    def rounds(
        self,
        until: int,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[RoundRecord]:
        """Runs the rounds before number `until`; yields each one's record when it has ended.

        There are fewer rounds if no device can take part any more; `ended` then says why.
        """
        with TorchThread() as thread:
            while self.next_round < until:
                try:
                    record = self._round(thread, on_progress)
                except NobodyReturns as end:
                    self.ended = str(end)
                    return
                yield record

    def _round(
        self,
        thread: TorchThread,
        on_progress: Callable[[Progress], None],
    ) -> RoundRecord:
        sounded = self.pairs_to_sound()
        late = [each.to_json() for each in self.state.late]
        episode = self.execute(self.plan, sounded, thread, on_progress)
        plan, outcome = episode.plan, episode.outcome
        self.noise = self.noise.learned(outcome.gradients)
        explanation: Mapping[str, Any] = {}
        if plan.has_pipelines:  # else the plan is not the scheme's
            explanation = self.scheme.explain(plan.round, outcome)
            self.scheme.learn(outcome)
        record = RoundRecord(
            plan=plan,
            outcome=outcome,
            links=tuple(episode.links.links.values()),
            metrics=thread.now(self._evaluated),
            start_ns=self.now_ns,
            planning_wall_s=episode.planning_wall_s,
            seed=self.seed,
            sounded=sounded,
            divergence=self.noise.measured(outcome.distortions),
            energy_queues=self.scheme.energy_queues(plan.round, self.profiles),
            explanation=explanation,
            nodes=episode.nodes,
            cells=episode.cells,
            late=late,
        )
        self.attach(episode.cells.end)
        self.references = self.state.kept.references
        self.late = self.state.late_ages()
        known = self.links.without(episode.cells.changed())
        self.links = known.after(outcome.links, outcome.duration_ns / 1e9)
        self.now_ns += outcome.duration_ns
        self.begin_with(self.node_states.states)
        self.steps_done += self.local_steps(plan) if plan.has_pipelines else 0
        self.next_round += 1
        return record

    def execute(
        self,
        plan_from: Callable[[LinkBook, Soundings], RoundPlan],
        sounded: Sequence[Pair],
        thread: TorchThread,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Episode:
        """Executes the next round in a simulation of its own.

        The links `sounded` are measured, `plan_from` makes a plan from the link book and what
        sounding took, and the plan is executed. Planning takes no simulated time. The training
        state then holds the new model.
        """
        with self._simulating():
            return self._executed(plan_from, sounded, thread, on_progress)

    def _executed(
        self,
        plan_from: Callable[[LinkBook, Soundings], RoundPlan],
        sounded: Sequence[Pair],
        thread: TorchThread,
        on_progress: Callable[[Progress], None],
    ) -> Episode:
        traces = self.traces and self.traces.of_round(self.next_round)
        net = networks.build(self.config, self._scenario(), tried=True, traces=traces)
        presence = Presence(self.faults, self.now_ns, self.node_states)
        site = Site(net, self.profiles, thread, presence)
        episode = self._episode(site, plan_from, sounded, on_progress)
        try:
            return simulated.run(net, episode, watchdog_s=self.watchdog_s)
        except BaseExceptionGroup as failures:
            raise self._named(first_of(failures)) from failures
        finally:
            net.close()

    def _named(self, error: BaseException) -> BaseException:
        """An error of a round; of the model's code, with the names of the task and the round."""
        if not isinstance(error, ComputationFailed):
            return error
        name, number = self.config.task.name, self.next_round
        return registry.TaskFailed(f"task {name}, training in round {number}: {error}")

    async def _episode(
        self,
        site: Site,
        plan_from: Callable[[LinkBook, Soundings], RoundPlan],
        sounded: Sequence[Pair],
        on_progress: Callable[[Progress], None],
    ) -> Episode:
        async with self.node_states.followed(site):
            episode = await self._followed_episode(site, plan_from, sounded, on_progress)
        nodes = dataclasses.replace(episode.nodes, states=self.node_states.states)
        return dataclasses.replace(episode, nodes=nodes)

    async def _followed_episode(
        self,
        site: Site,
        plan_from: Callable[[LinkBook, Soundings], RoundPlan],
        sounded: Sequence[Pair],
        on_progress: Callable[[Progress], None],
    ) -> Episode:
        start, placed = RoundStart.now(site), positions(site.network)
        links = await self._sounded(site.network, sounded)
        began = time.perf_counter()
        plan = plan_from(links, self._spent(site.network))
        planning_wall_s = time.perf_counter() - began
        check_network(site.network, plan)
        settings = self.config.training
        training = Training(
            batches=self._batches,
            shares=self.task.shares,
            local_steps=self.local_steps(plan),
            optimizer=settings.kind,
            aggregator=self.aggregator,
            term=settings.aggregation.term,
            wire=settings.wire,
            seed=self.seed,
            updates=settings.updates(self.config.rounds),
            steps_before=self.steps_done,
            hosts=partial(PlannedHosts.of, plan, self.observation(links)),
            on_step=self._step_reporter(site, plan, on_progress),
        )
        sounded_ns = simulated_loop().now_ns()
        if waits := not (plan.has_pipelines or self.state.late):
            await self._until_a_return(plan)
        outcome = await run_round(site, self.state, plan, training, start)
        if waits:
            outcome = _waited(outcome, sounded_ns)
        budgets_j = self.scheme.energy_budgets_j(plan.round, self.observation())
        nodes = NodeRecords(node_facts(self.config), placed, positions(site.network), budgets_j)
        return Episode(links, plan, outcome, planning_wall_s, nodes, self._cells(site.network))

    def _cells(self, network: Network) -> RoundCells:
        now, handover = cells(network), self.config.radio.handover
        interruption_s = handover.interruption if handover else 0.0
        return RoundCells(self.attachments, now.attachments, now.changes, interruption_s)

    async def _until_a_return(self, plan: RoundPlan) -> None:
        """Waits until a device can take part that can't now; raises `NobodyReturns`."""
        began_ns = simulated_loop().now_ns()
        return_ns = self.next_return_ns(self.now_ns + began_ns)
        if return_ns is None:
            when = f"{(self.now_ns + began_ns) / 1e9:.3f} s after the run began"
            raise NobodyReturns(
                f"no device can take part from round {plan.round} on, {when}, and none ever "
                f"returns: {plan.why_idle}"
            )
        await sleep_until_ns(return_ns - self.now_ns)

    def _step_reporter(
        self, site: Site, plan: RoundPlan, on_progress: Callable[[Progress], None]
    ) -> Callable[[float], None]:
        """Calls `on_progress` after each local step; called with the loss of the step."""
        pipelines = sum(len(cluster.pipelines) for cluster in plan.clusters)
        steps = self.local_steps(plan) * pipelines
        numbers = itertools.count(1)

        def on_step(loss: float) -> None:
            now_s = (self.now_ns + site.network.now_ns()) / 1e9
            on_progress(Progress(plan.round, next(numbers), steps, now_s, loss))

        return on_step

    def _evaluated(self) -> dict[str, float]:
        """The test metrics of the global model, the main one first; raises `TaskFailed`."""
        name, main = self.config.task.name, self.task.metric.name
        with registry.failing_as(name, f"evaluating the model after round {self.next_round}"):
            metrics = {
                key: float(value) for key, value in self.task.evaluate(self.state.model).items()
            }
        if main not in metrics:
            found = ", ".join(metrics) or "none"
            what = f"its main metric {main} is not among those of `evaluate`: {found}"
            raise registry.TaskFailed(f"task {name}: {what}")
        return {main: metrics[main], **metrics}

    def local_steps(self, plan: RoundPlan) -> int:
        """The local steps of a plan's round."""
        return plan.local_steps or self.config.training.least_steps

    def _batches(self, cluster: int, round: int) -> Iterator[Batch]:
        """A cluster's batches on the run's device; raises `TaskFailed`."""
        doing = f"making batches of cluster {cluster} for round {round}"
        with registry.failing_as(self.config.task.name, doing):
            batches = self.task.batches(cluster, round)
        while True:
            with registry.failing_as(self.config.task.name, doing):
                batch = next(batches, None)
            if batch is None:
                name = self.config.task.name
                raise registry.TaskFailed(f"task {name}, {doing}: the batches came to an end")
            yield batch.to(self.device)

    def checkpoint(self) -> bytes:
        """Everything that the next rounds depend on, as written by `torch.save`."""
        states = {node: dataclasses.asdict(s) for node, s in self.node_states.states.items()}
        state = {
            **({"node_states": states} if states else {}),
            "next_round": self.next_round,
            "steps_done": self.steps_done,
            "now_ns": self.now_ns,
            "links": [dataclasses.asdict(link) for link in self.links.links.values()],
            "noise": self.noise.to_json(),
            "scheme": self.scheme.memory(self.next_round),
            "training": self.state.to_checkpoint(),
        }
        if self.attachments:
            state["attachments"] = {
                unit: dataclasses.asdict(each) for unit, each in self.attachments.items()
            }
        file = io.BytesIO()
        torch.save(state, file)
        return file.getvalue()

    def resume(self, checkpoint: Path) -> None:
        """Continues from a checkpoint; the next round is the one after it was taken."""
        data: Mapping[str, Any] = torch.load(checkpoint, weights_only=True)
        self.next_round, self.now_ns = data["next_round"], data["now_ns"]
        # Earlier versions wrote no number of steps: it was the same in all rounds.
        earlier = self.next_round * self.config.training.least_steps
        self.steps_done = data.get("steps_done", earlier)
        links = [MeasuredLink(**link) for link in data["links"]]
        self.links = LinkBook({link.pair: link for link in links})
        self.attach(
            {unit: Attachment(**each) for unit, each in data.get("attachments", {}).items()}
        )
        self.noise = GradientNoise.from_json(data["noise"])
        if self.models:
            kept = data["node_states"].items()
            self.begin_with({node: NodeState(**each) for node, each in kept})
        self.scheme.remember(self.next_round, data["scheme"])
        self.state.load_checkpoint(data["training"])
        self.references = self.state.kept.references
        self.late = self.state.late_ages()


def _waited(outcome: RoundOutcome, sounded_ns: int) -> RoundOutcome:
    """The outcome of a round that waited from this instant on: that is its pipeline phase."""
    sounding_ns = sounded_ns - outcome.start_ns
    waited_ns = outcome.phases_ns[Phase.SOUNDING] - sounding_ns
    phases_ns = {
        **outcome.phases_ns,
        Phase.SOUNDING: sounding_ns,
        Phase.PIPELINE: outcome.phases_ns[Phase.PIPELINE] + waited_ns,
    }
    return dataclasses.replace(outcome, phases_ns=phases_ns, waited_ns=waited_ns)
