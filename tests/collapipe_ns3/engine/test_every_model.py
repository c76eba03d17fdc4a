"""The engine trains every model as one thread trains the uncut model.

Parameters and losses are equal to the bit. Against the library's own uncut models, those with an
embedding that first and last part share differ by 1e-6, as there the gradients of both uses are
added up in another order.

This file is also run with the oldest supported version of `transformers`, by
`test_huggingface_oldest.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from itertools import accumulate, pairwise, product
from typing import Any, NamedTuple

import lab
import pytest
import torch
from every_model import (
    CASES,
    LOCAL_STEPS,
    Alone,
    AloneInLibrary,
    AloneInParts,
    adamw,
    averaged,
    costs,
    in_parts,
)
from timelines import LabCosts, agree
from torch import Tensor

from bridge.fixed import Link
from bridge.payload import size_bytes
from collapipe_ns3.costs.measured import Bench
from collapipe_ns3.costs.optimizers import OPTIMIZERS
from collapipe_ns3.costs.parts import ModelCosts
from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.engine.state import TrainingState
from collapipe_ns3.eventgraph.timeline import build_timeline
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.outcome import RoundOutcome
from collapipe_ns3.plan import ClusterPlan, Pipeline, RoundPlan, Stage


class Way(NamedTuple):
    """How a model is trained in two rounds, each on another cut."""

    schedule: str
    sequences: int
    micro_batches: int
    cuts: tuple[tuple[int, ...], tuple[int, ...]]
    recompute: bool = False

    def plans(self) -> list[RoundPlan]:
        return [
            dataclasses.replace(
                lab.one_cluster(cut, self.micro_batches, self.schedule, recompute=self.recompute),
                round=number,
            )
            for number, cut in enumerate(self.cuts)
        ]

    def __str__(self) -> str:
        sizes = "uneven" if self.sequences % self.micro_batches else "even"
        cuts = " then ".join("+".join(map(str, cut)) for cut in self.cuts)
        return f"{self.schedule} {sizes} {cuts}{' recomputed' if self.recompute else ''}"


USUAL = Way("1f1b", 7, 3, ((2,), (1, 1)))
GPIPE = Way("gpipe", 8, 2, ((1, 1), (2,)))
ALL = [
    Way(schedule, *sizes, cuts, recompute)
    for schedule, cuts, (*sizes, recompute) in product(
        ("1f1b", "gpipe"),
        (((2,), (1, 1)), ((1, 1), (2,))),
        ((7, 3, False), (8, 2, False), (7, 3, True)),
    )
]
WAYS = [way if way == USUAL else pytest.param(way, marks=pytest.mark.slow) for way in ALL]
SOME = ("transformer", "relative bias", "bert token", "marian decoder")
SOME_FIRST = [
    name if name in SOME else pytest.param(name, marks=pytest.mark.slow) for name in CASES
]


def in_engine(
    name: str, dropout: float, way: Way, model_costs: ModelCosts
) -> tuple[TrainingState, list[RoundOutcome]]:
    case = CASES[name]
    # in evaluation mode, as after a round
    state = TrainingState(case.build(dropout).eval(), adamw, model_costs)
    before = torch.get_rng_state()
    outcomes = lab.run_rounds(
        way.plans(), state, local_steps=LOCAL_STEPS, draw_batches=case.batches(way.sequences)
    )
    assert torch.equal(torch.get_rng_state(), before), "the global generator was used"
    return state, outcomes


@cache
def alone(
    name: str, dropout: float, sequences: int, micro_batches: int
) -> tuple[SplitModel, list[float]]:
    """The model that one thread has trained, and the losses of its rounds."""
    trained = AloneInParts(CASES[name].build(dropout))
    losses = _losses(trained, name, sequences, micro_batches)
    return trained.model, losses


@cache
def in_library(name: str, sequences: int, micro_batches: int) -> tuple[SplitModel, list[float]]:
    """The library's uncut model, trained without dropout and then cut, and its losses."""
    case = CASES[name]
    assert case.library is not None
    trained = AloneInLibrary(case.library, case.head)
    losses = _losses(trained, name, sequences, micro_batches)
    return trained.cut(), losses


def _losses(trained: Alone, name: str, sequences: int, micro_batches: int) -> list[float]:
    drawn = CASES[name].batches(sequences)
    return [trained.round(drawn(0, number), micro_batches, (number, 0, 0)) for number in range(2)]


def differing(model: SplitModel, expected: Mapping[str, Tensor], tolerance: float = 0) -> list[str]:
    """The tensors of a model that are not as expected, by name."""
    found = model.state_dict()
    assert found.keys() == expected.keys()
    return [
        name
        for name, tensor in found.items()
        if tensor.dtype != expected[name].dtype
        or not torch.allclose(tensor, expected[name], rtol=tolerance, atol=tolerance)
    ]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("name", CASES)
def test_the_engine_trains_as_one_thread_does(name: str, dropout: float, way: Way) -> None:
    # What is charged does not matter here, and is measured once for each model.
    state, outcomes = in_engine(name, dropout, way, costs(name, 0.1))
    model, start = state.model, CASES[name].build(dropout)
    expected, losses = alone(name, dropout, way.sequences, way.micro_batches)
    assert [outcome.loss for outcome in outcomes] == losses
    assert not differing(model, expected.state_dict())
    trained = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained <= set(differing(start, model.state_dict())) <= trained | {"first.calls"}
    for later, first in model.tied.items():
        assert torch.equal(model.get_parameter(later), model.get_parameter(first))
    if CASES[name].library and dropout == 0:
        library, losses = in_library(name, way.sequences, way.micro_batches)
        tolerance = 1e-6 if model.tied else 0
        found = [outcome.loss for outcome in outcomes]
        assert found == pytest.approx(losses, rel=tolerance, abs=0)
        assert not differing(model, library.state_dict(), tolerance)


@pytest.mark.parametrize("name", SOME_FIRST)
def test_clusters_are_averaged_as_the_models_of_three_threads(name: str) -> None:
    """Two pipelines share the batches of the first cluster; the second has more data."""
    case, shares = CASES[name], (0.3, 0.7)
    places, weights = ((0, 0), (0, 1), (1, 0)), (0.15, 0.15, 0.7)
    halves = (
        Pipeline((Stage("c0.d0", 0, 1),), 2, "1f1b", share=0.5),
        Pipeline((Stage("c0.d1", 0, 0), Stage("c0.d2", 1, 1)), 2, "1f1b", share=0.5),
    )
    clusters = (ClusterPlan(0, halves), ClusterPlan(1, (lab.pipeline(1, (1, 1), 3, "gpipe"),)))
    plans = [RoundPlan(number, "test", clusters) for number in range(2)]
    state = TrainingState(case.build(0.1), adamw, costs(name, 0.1))
    how: dict[str, Any] = {
        "local_steps": LOCAL_STEPS,
        "shares": shares,
        "draw_batches": case.batches(8),
    }
    outcomes = lab.run_rounds(plans, state, **how)

    threads = [AloneInParts(case.build(0.1)) for _ in places]
    for number, outcome in enumerate(outcomes):
        losses = []
        for thread, (cluster, index) in zip(threads, places, strict=True):
            drawn = case.batches(8)(cluster, number)
            if cluster == 0:
                drawn = (batch.part(4 * index, 4 * index + 4) for batch in drawn)
            micro_batches = 3 if cluster else 2
            losses.append(thread.round(drawn, micro_batches, (number, cluster, index)))
        mean = math.fsum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        assert outcome.loss == pytest.approx(mean, rel=1e-12)
        average = averaged([thread.model for thread in threads], weights)
        for thread in threads:
            thread.model.load_state_dict(dict(average), strict=False)
    assert not differing(state.model, threads[0].model.state_dict())


@pytest.mark.parametrize(("dropout", "way"), [(0.1, USUAL), (0.0, GPIPE)], ids=str)
@pytest.mark.parametrize("name", SOME_FIRST)
def test_the_engine_charges_what_the_parts_take_at_each_shape(
    name: str, dropout: float, way: Way
) -> None:
    """FLOPs of every pass, and the peak memory of every node."""
    case = CASES[name]
    state, outcomes = in_engine(name, dropout, way, costs(name, dropout))
    bench = Bench(case.build(dropout), next(case.batches(4)(0, 0)), "float32")
    for number, (outcome, cut) in enumerate(zip(outcomes, way.cuts, strict=True)):
        drawn = case.batches(way.sequences)(0, number)
        steps = [
            [bench.run(part.shape) for part in in_parts(next(drawn), way.micro_batches)]
            for _ in range(LOCAL_STEPS)
        ]
        ends = list(accumulate((1, *cut, 1), initial=0))
        for stage, (first, end) in enumerate(pairwise(ends)):
            for m in range(way.micro_batches):
                figures = [[step[m][part] for part in range(first, end)] for step in steps]
                ahead = [sum(each.forward_flops for each in parts) for parts in figures]
                back = [sum(each.backward_flops for each in parts) for parts in figures]
                assert _flops(outcome, stage, m, "F") == ahead
                assert _flops(outcome, stage, m, "B") == back
            # the first step has the longest sequences, and the first micro-batches are the largest
            stages = len(ends) - 1
            in_flight = way.micro_batches if way.schedule == "gpipe" else stages - stage
            kept = sum(
                parts[part].kept_bytes
                for parts in steps[0][:in_flight]
                for part in range(first, end)
            )
            parts = list(state.model.parts().values())[first:end]
            parameters = [each for part in parts for each in part.parameters()]
            trained = [each for each in parameters if each.requires_grad]
            held = size_bytes(parameters) + (1 + 2) * size_bytes(trained) + 4 * len(trained)
            nodes = ["c0.cu", *(f"c0.d{device}" for device in range(len(cut))), "bs"]
            memory = {use.device: use.peak_memory_bytes for use in outcome.devices}
            assert memory[nodes[stage]] == held + kept


def _flops(outcome: RoundOutcome, stage: int, m: int, action: str) -> list[float]:
    """The FLOPs charged for an action on a micro-batch, a step an entry."""
    return [
        done.flops
        for done in outcome.computations
        if (done.stage, done.micro_batch, done.action) == (stage, m, action)
    ]


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
@pytest.mark.parametrize("name", ["bert token", "marian decoder"])
def test_the_event_graph_takes_as_long_as_the_engine(name: str, schedule: str) -> None:
    """On uneven micro-batches, and devices whose computations take as long as their FLOPs."""
    case, plan = CASES[name], lab.one_cluster((1, 1), 3, schedule)
    state = TrainingState(case.build(0.1), adamw, costs(name, 0.1))
    slow = Link(10**7, latency_ns=1001)
    links = {("c0.cu", "c0.d0"): slow, ("c0.d0", "c0.d1"): slow}
    how: dict[str, Any] = {"links": links, "flops_per_s": 1e8, "draw_batches": case.batches(7)}
    outcome = lab.run_one(plan, state, **how)
    shape = next(case.batches(7)(0, 0)).shape
    work = Workload.of(
        state.costs,
        batch_size=7,
        local_steps=1,
        optimizer=OPTIMIZERS["sgd"],
        source_length=shape.tokens,
        target_length=shape.targets,
    )
    profiles = lab.profiles(list(dict.fromkeys(lab.nodes(plan))), {}, 1e8)
    agree(build_timeline(plan, work, LabCosts(profiles, links)), outcome)
