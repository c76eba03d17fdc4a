"""Runs a study: each round is planned, executed in an ns-3 episode of its own, and written down."""

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
from collapipe_ns3.config.study import StudyConfig
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.engine.round import RoundStart, Training, run_round
from collapipe_ns3.engine.site import CostBook, Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.engine.step import first_of
from collapipe_ns3.learning.task import Batch
from collapipe_ns3.learning.transformer import build
from collapipe_ns3.observed import MeasuredLink
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import RoundPlan
from collapipe_ns3.prediction.divergence import GradientNoise
from collapipe_ns3.run.link_book import LinkBook
from collapipe_ns3.run.planning import Pair, Planning, RadioJoules, spent_j
from collapipe_ns3.run.records import RoundRecord
from collapipe_ns3.streams import number
from collapipe_ns3.topology import networks
from ns3_scenarios.traces import TraceFiles


class NoDevice(ValueError):
    """A device that torch doesn't have here."""


def torch_device(name: str) -> torch.device:
    """torch's device of this name (`cpu`, `cuda`, `cuda:1`); raises `NoDevice`."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise NoDevice(f"torch can't use {name!r} here: {reason}") from None
    return device


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come: `step` of the round's `steps` (over all pipelines) has just ended."""

    round: int
    step: int
    steps: int
    simulated_s: float
    loss: float


@dataclass(frozen=True, slots=True)
class Episode:
    """A round as it was planned, from what, and what came of it."""

    shown: LinkBook
    plan: RoundPlan
    outcome: RoundOutcome
    planning_wall_s: float


class Run(Planning):
    """A study under way: what it trains, where it is, and the rounds still to come."""

    def __init__(
        self, config: StudyConfig, device: torch.device, watchdog_s: float | None = None
    ) -> None:
        super().__init__(config, watchdog_s)
        self.device = device
        model = build(self.spec, number(self.seed, "weights")).to(device)
        optimizer = OPTIMIZERS[config.training.optimizer]
        make = partial(optimizer.make, learning_rate=config.training.learning_rate)
        self.state = TrainingState(model, make)
        self.traces: TraceFiles | None = None
        self.noise = GradientNoise()

    def rounds(
        self,
        until: int,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Iterator[RoundRecord]:
        """Runs rounds up to number `until`, handing over each as it ends."""
        costs = CostBook()
        with TorchThread() as thread:
            while self.next_round < until:
                yield self._round(thread, costs, on_progress)

    def _round(
        self,
        thread: TorchThread,
        costs: CostBook,
        on_progress: Callable[[Progress], None],
    ) -> RoundRecord:
        sounded = self.pairs_to_sound()
        episode = self.execute(self.plan, sounded, thread, costs, on_progress)
        plan, outcome = episode.plan, episode.outcome
        self.noise = self.noise.learned(outcome.gradients)
        explanation = self.scheme.explain(plan.round, outcome)
        self.scheme.learn(outcome)
        record = RoundRecord(
            plan=plan,
            outcome=outcome,
            shown=tuple(episode.shown.links.values()),
            figures=thread.now(lambda: self.task.evaluate(self.state.model)),
            start_ns=self.now_ns,
            planning_wall_s=episode.planning_wall_s,
            seed=self.seed,
            sounded=sounded,
            divergence=self.noise.measured(outcome.distortions),
            energy_queues=self.scheme.energy_queues(plan.round, self.profiles),
            explanation=explanation,
        )
        self.links = self.links.after(outcome.links, outcome.duration_ns / 1e9)
        self.now_ns += outcome.duration_ns
        self.next_round += 1
        return record

    def execute(
        self,
        plan_from: Callable[[LinkBook, RadioJoules], RoundPlan],
        sounded: Sequence[Pair],
        thread: TorchThread,
        costs: CostBook,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Episode:
        """The next round in an episode of its own: links are sounded, a plan made and executed.

        Planning takes no simulated time. The training state then holds the new model.
        """
        with self._simulating():
            return self._executed(plan_from, sounded, thread, costs, on_progress)

    def _executed(
        self,
        plan_from: Callable[[LinkBook, RadioJoules], RoundPlan],
        sounded: Sequence[Pair],
        thread: TorchThread,
        costs: CostBook,
        on_progress: Callable[[Progress], None],
    ) -> Episode:
        traces = self.traces and self.traces.of_round(self.next_round)
        net = networks.build(self.config, self._scenario(), tried=True, traces=traces)
        site = Site(net, self.profiles, thread, costs)

        async def episode() -> Episode:
            start = RoundStart.now(site)
            links = await self._sounded(net, sounded)
            began = time.perf_counter()
            plan = plan_from(links, spent_j(net))
            planning_wall_s = time.perf_counter() - began
            steps = self.config.training.local_steps * sum(len(c.pipelines) for c in plan.clusters)
            done = itertools.count(1)

            def on_step(loss: float) -> None:
                now_s = (self.now_ns + net.now_ns()) / 1e9
                on_progress(Progress(plan.round, next(done), steps, now_s, loss))

            training = Training(
                batches=self._batches,
                shares=self.task.shares,
                local_steps=self.config.training.local_steps,
                optimizer=self.config.training.optimizer,
                wire=self.config.training.wire,
                seed=self.seed,
                on_step=on_step,
            )
            outcome = await run_round(site, self.state, plan, training, start)
            return Episode(links, plan, outcome, planning_wall_s)

        try:
            return simulated.run(net, episode(), watchdog_s=self.watchdog_s)
        except BaseExceptionGroup as failures:
            raise first_of(failures) from failures
        finally:
            net.close()

    def _batches(self, cluster: int, round: int) -> Iterator[Batch]:
        return (batch.to(self.device) for batch in self.task.batches(cluster, round))

    def checkpoint(self) -> bytes:
        """All that the coming rounds depend on: tensors and plain data, as `torch.save` has it."""
        kept = {
            "next_round": self.next_round,
            "now_ns": self.now_ns,
            "links": [dataclasses.asdict(link) for link in self.links.links.values()],
            "noise": self.noise.to_json(),
            "scheme": self.scheme.memory(self.next_round),
            "training": self.state.to_checkpoint(),
        }
        file = io.BytesIO()
        torch.save(kept, file)
        return file.getvalue()

    def resume(self, checkpoint: Path) -> None:
        """Goes on where `checkpoint` was taken."""
        data: Mapping[str, Any] = torch.load(checkpoint, weights_only=True)
        self.next_round, self.now_ns = data["next_round"], data["now_ns"]
        links = [MeasuredLink(**kept) for kept in data["links"]]
        self.links = LinkBook({link.pair: link for link in links})
        self.noise = GradientNoise.from_json(data["noise"])
        self.scheme.remember(self.next_round, data["scheme"])
        self.state.load_checkpoint(data["training"])
