"""Rounds of exchanges in formats other than fp32, without a network: only the tensors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import lab
import torch
from torch import Tensor

from bridge.formats import ParameterFormat
from collapipe_ns3.arrangement import Arrangement, Group, arranged
from collapipe_ns3.engine.parameters import Kept, ParameterExchange
from collapipe_ns3.exchange import Blocks, PipelineId, Placement, Units
from collapipe_ns3.learning.aggregation import Parameters
from collapipe_ns3.learning.split_model import SplitModel
from collapipe_ns3.nodes import control_unit
from collapipe_ns3.references import Routing

FIRST, SECOND = PipelineId(0, 0), PipelineId(1, 0)


def placed(cluster: int, *devices: str) -> Placement:
    """The four blocks of the lab's model on two devices, the embedding on the control unit."""
    halves = (Units(blocks=(Blocks(0, 1),)), Units(blocks=(Blocks(2, 3),)))
    units = dict(zip(devices, halves, strict=True))
    control = {control_unit(cluster): Units(embedding=True)}
    return Placement(PipelineId(cluster, 0), {**control, **units})


BOTH = (placed(0, "c0.d0", "c0.d1"), placed(1, "c1.d0", "c1.d1"))


def exchange(
    kept: Kept,
    round: int,
    down: ParameterFormat,
    up: ParameterFormat,
    placements: Sequence[Placement] = BOTH,
    model: SplitModel | None = None,
    seed: int = 5,
) -> ParameterExchange:
    """A round in which one multicast serves all clusters."""
    clusters = tuple(each.pipeline.cluster for each in placements)
    arrangement = Arrangement((Group(clusters, down),), uploads=dict.fromkeys(clusters, up))
    routing = Routing(arranged(placements, arrangement), placements, kept.references)
    model = model or lab.model()
    global_model = {name: tensor.clone() for name, tensor in model.averaged().items()}
    units_bytes = lab.COSTS.units_bytes
    return ParameterExchange(kept, model, routing, units_bytes, global_model, seed, round)


def rounds(
    kept: Kept,
    count: int,
    down: ParameterFormat,
    up: ParameterFormat,
    train: Callable[[int, PipelineId, Parameters], Parameters],
    failed: Mapping[int, Collection[PipelineId]] | None = None,
) -> list[tuple[dict[PipelineId, Parameters], dict[PipelineId, Parameters]]]:
    """What pipelines begin with and what comes back of them; the global model never changes."""
    found = []
    for round in range(count):
        made, lost = exchange(kept, round, down, up), (failed or {}).get(round, ())
        loaded = {each.pipeline: made.loaded(each.pipeline) for each in BOTH}
        returned = {
            pipeline: made.returned(pipeline, train(round, pipeline, began))
            for pipeline, began in loaded.items()
            if pipeline not in lost
        }
        made.end(lost)
        found.append((loaded, returned))
    return found


def moved(round: int, pipeline: PipelineId, began: Parameters) -> dict[str, Tensor]:
    """As if trained: every parameter is moved by a normal number."""
    stream = torch.Generator().manual_seed(100 * round + pipeline.cluster)
    return {
        name: tensor + 1e-2 * torch.randn(tensor.shape, generator=stream)
        for name, tensor in began.items()
    }
