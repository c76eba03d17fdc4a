"""The overhead of the engine over plain PyTorch: training steps per second of one cluster.

Both sides train the same model on the same micro-batches with AdamW in the same thread: one as a
plain loop, the other as rounds of a pipeline of three devices over a network of fixed rates. They
are measured alternately, and the medians compared.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator

import torch
from torch import nn

from bridge import loop as simulated
from bridge.compute import TorchThread
from bridge.fixed import FixedRateNetwork, Link
from collapipe_ns3.costs.devices import DeviceProfile, profile
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.predicted import closed_form
from collapipe_ns3.engine.pipeline_run import Training
from collapipe_ns3.engine.round import run_round
from collapipe_ns3.engine.site import Site
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.learning.batch import Batch
from collapipe_ns3.learning.numbers import Numbers
from collapipe_ns3.learning.protocol import Setup
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage, micro_batch_sizes

REPEATS = 7
STEPS = 20
MICRO_BATCHES = 4
MODEL = {"width": 64, "heads": 4, "feed_forward": 256, "encoder_blocks": 6, "decoder_blocks": 2}
DEVICES = ("c0.d0", "c0.d1", "c0.d2")


def measure() -> dict[str, float]:
    """`engine_ratio`, and the steps per second of both sides."""
    setup = Setup((4000,), batch_size=64, seed=1, model=MODEL)
    task = Numbers(setup, limit=1000, kinds=("cardinal",))
    batches = list(itertools.islice(task.batches(0, 0), STEPS))
    plain, state = task.model(1), TrainingState(task.model(1), adamw, closed_form(task.spec))
    optimizer = adamw(plain.parameters())
    with TorchThread() as thread:
        engine_s(thread, state, batches)  # makes the replica and its optimizers, as a run does once
        runs = [
            (
                thread.now(lambda: plain_s(plain, optimizer, batches)),
                engine_s(thread, state, batches),
            )
            for _ in range(REPEATS)
        ]
    return {
        "engine_ratio": statistics.median(alone_s / both_s for alone_s, both_s in runs),
        "engine_plain_steps_per_s": STEPS / statistics.median(alone_s for alone_s, _ in runs),
        "engine_steps_per_s": STEPS / statistics.median(both_s for _, both_s in runs),
    }


def adamw(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=2e-3)


def plain_s(model: SplitModel, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> float:
    """Wall time of a plain loop over the batches."""
    began = time.perf_counter()
    for batch in batches:
        for part in batch.split(micro_batch_sizes(batch.sequences, MICRO_BATCHES)):
            model.uncut_loss(part, batch.total).backward()
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def engine_s(thread: TorchThread, state: TrainingState, batches: list[Batch]) -> float:
    """Wall time of a round with as many local steps as there are batches."""
    nodes: dict[str, DeviceProfile] = {
        "bs": profile("edge-server"),
        "c0.cu": profile("jetson-nano"),
        **{device: profile("raspberry-pi-4") for device in DEVICES},
    }
    stages = tuple(Stage(device, 2 * k, 2 * k + 1) for k, device in enumerate(DEVICES))
    plan = RoundPlan(0, "benchmark", (ClusterPlan(0, (Pipeline(stages, MICRO_BATCHES, "gpipe"),)),))
    kind = OPTIMIZERS["adamw"]
    training = Training(lambda cluster, round: iter(batches), (1.0,), len(batches), kind)
    network = FixedRateNetwork(nodes, Link(rate_bps=100_000_000))
    site = Site(network, nodes, thread)
    began = time.perf_counter()
    simulated.run(network, run_round(site, state, plan, training))
    return time.perf_counter() - began


if __name__ == "__main__":
    for key, value in measure().items():
        print(f"{key:28} {value:.3f}")
