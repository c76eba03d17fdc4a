"""The overhead of the engine over plain PyTorch: training steps per second of one cluster.

Both sides train the same model on the same micro-batches with AdamW in the same thread: one as a
plain loop, the other as rounds of a pipeline of three devices over a network of fixed rates. They
are measured alternately, and the medians compared. Wall time counts the event loop, which runs in
the main thread; processor time is that of the torch thread alone, and hardly depends on the load of
the machine.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3.costs.devices import DeviceProfile, profile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.models import build_encoder, encoder_spec
from collapipe_ns3.learning.numbers import Numbers
from collapipe_ns3.learning.protocol import Setup
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage, micro_batch_sizes

MICRO_BATCHES = 4
DEVICES = ("c0.d0", "c0.d1", "c0.d2")
TRANSFORMER = {
    "width": 64,
    "heads": 4,
    "feed_forward": 256,
    "encoder_blocks": 6,
    "decoder_blocks": 2,
}
SMALL = {"width": 128, "heads": 4, "feed_forward": 512, "encoder_blocks": 4, "dropout": 0.1}
BASE = {"width": 768, "heads": 12, "feed_forward": 3072, "encoder_blocks": 12, "dropout": 0.1}
SIZES: dict[str, Any] = {"vocabulary": 2000, "longest": 32, "classes": 16, "head": "sequence"}


@dataclass(frozen=True, slots=True)
class Case:
    """A model to train on some batches, a step each, so many times on either side."""

    name: str
    model: Callable[[], SplitModel]
    costs: ModelCosts
    batches: Sequence[Batch]
    repeats: int


def measure() -> dict[str, float]:
    """Of every case, the ratios of wall and of processor time, and the engine's steps a second."""
    made: tuple[Callable[[], Case], ...] = (
        transformer,
        lambda: encoder("encoder", {"name": "encoder", **SMALL}, 64, steps=8, repeats=5),
        lambda: encoder("bert", {"name": "bert", **SMALL}, 64, steps=8, repeats=5),
        lambda: encoder("bert_base", {"name": "bert", **BASE}, 8, steps=2, repeats=2),
    )
    return {key: value for case in made for key, value in measured(case()).items()}


def transformer() -> Case:
    """The built-in encoder-decoder on the task `numbers`, without dropout."""
    setup = Setup((4000,), batch_size=64, seed=1, model=TRANSFORMER)
    task = Numbers(setup, limit=1000, kinds=("cardinal",))
    batches = list(itertools.islice(task.batches(0, 0), 12))
    assert task.spec is not None
    return Case("transformer", lambda: task.model(1), closed_form(task.spec), batches, 5)


def encoder(name: str, model: Mapping[str, Any], sequences: int, steps: int, repeats: int) -> Case:
    """An encoder with dropout on random sequences of 16 tokens.

    The simulated durations are those of the built-in encoder, which does not matter here.
    """
    stream = torch.Generator().manual_seed(1)
    batches = []
    for _ in range(steps):
        tokens = torch.randint(3, SIZES["vocabulary"], (sequences, 16), generator=stream)
        padding = torch.arange(16) >= torch.randint(8, 17, (sequences, 1), generator=stream)
        labels = torch.randint(SIZES["classes"], (sequences,), generator=stream)
        counts = torch.ones(sequences, dtype=torch.int64)
        batches.append(Batch((tokens.masked_fill(padding, 0),), (padding,), (labels,), counts))
    costs = closed_form(encoder_spec(model, **SIZES))
    return Case(
        name, lambda: build_encoder(model, **SIZES, seed=1).train(), costs, batches, repeats
    )


def measured(case: Case) -> dict[str, float]:
    """The figures of a case by name."""
    plain, state = case.model(), TrainingState(case.model(), adamw, case.costs)
    optimizer = adamw(plain.parameters())
    with TorchThread() as thread:
        engine_s(thread, state, case.batches)  # makes the replica and its optimizers, as a run does
        thread.now(lambda: plain_s(plain, optimizer, case.batches[:1]))
        runs = [
            (
                thread.now(lambda: plain_s(plain, optimizer, case.batches)),
                engine_s(thread, state, case.batches),
            )
            for _ in range(case.repeats)
        ]
    steps, name = len(case.batches), f"engine_{case.name}"
    return {
        f"{name}_ratio": statistics.median(alone[0] / both[0] for alone, both in runs),
        f"{name}_cpu_ratio": statistics.median(alone[1] / both[1] for alone, both in runs),
        f"{name}_steps_per_s": steps / statistics.median(both[0] for _, both in runs),
    }


def adamw(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=2e-3)


def plain_s(
    model: SplitModel, optimizer: torch.optim.Optimizer, batches: Sequence[Batch]
) -> tuple[float, float]:
    """Wall time and processor time of a plain loop over the batches."""
    began, began_cpu = time.perf_counter(), time.thread_time()
    for batch in batches:
        for part in batch.split(micro_batch_sizes(batch.sequences, MICRO_BATCHES)):
            model.uncut_loss(part, batch.total).backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began, time.thread_time() - began_cpu


def engine_s(
    thread: TorchThread, state: TrainingState, batches: Sequence[Batch]
) -> tuple[float, float]:
    """Wall time of a round with a local step for each batch, and the torch thread's own time."""
    nodes: dict[str, DeviceProfile] = {
        "bs": profile("edge-server"),
        "c0.cu": profile("jetson-nano"),
        **{device: profile("raspberry-pi-4") for device in DEVICES},
    }
    ends = [round(state.costs.encoder_blocks * k / len(DEVICES)) for k in range(len(DEVICES) + 1)]
    stages = tuple(
        Stage(device, first, end - 1)
        for device, (first, end) in zip(DEVICES, itertools.pairwise(ends), strict=True)
    )
    plan = RoundPlan(0, "benchmark", (ClusterPlan(0, (Pipeline(stages, MICRO_BATCHES, "gpipe"),)),))
    kind = OPTIMIZERS["adamw"]
    training = Training(lambda cluster, round: iter(batches), (1.0,), len(batches), kind)
    network = FixedRateNetwork(nodes, Link(rate_bps=100_000_000))
    site = Site(network, nodes, thread)
    began, began_cpu = time.perf_counter(), thread.now(time.thread_time)
    simulated.run(network, run_round(site, state, plan, training))
    return time.perf_counter() - began, thread.now(time.thread_time) - began_cpu


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key:28} {value:.3f}")
