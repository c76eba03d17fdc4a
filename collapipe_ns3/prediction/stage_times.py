"""How long the stages of a pipeline compute, in closed form.

Arrays are (R, K + 2), a row for each pipeline: the control unit with the embedding, the devices in
order, the edge server with the decoder. Places that no device fills are zero.
"""

from __future__ import annotations

import numpy as np

from collapipe_ns3.costs.workload import Workload
from collapipe_ns3.prediction.arrays import Array
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.segments import Segments


def forward_s(fleet: Fleet, work: Workload, segments: Segments, sequences: Array) -> Array:
    """Seconds of a forward pass by stage. `sequences` (R,) are those of a micro-batch."""
    embedding, block, decoder = (
        sequences * part.forward_flops for part in (work.embedding, work.block, work.decoder)
    )
    return _stage_s(fleet, segments, work.control_stages, embedding, block, decoder)


def backward_s(fleet: Fleet, work: Workload, segments: Segments, sequences: Array) -> Array:
    """Seconds of a backward pass by stage. `sequences` (R,) are those of a micro-batch."""
    embedding, block, decoder = (
        sequences * part.backward_flops for part in (work.embedding, work.block, work.decoder)
    )
    return _stage_s(fleet, segments, work.control_stages, embedding, block, decoder)


def optimizer_s(fleet: Fleet, work: Workload, segments: Segments) -> Array:
    """Seconds of an optimizer step by stage."""
    embedding, block, decoder = (
        np.full(len(segments.order), work.step_flops(part.parameter_bytes))
        for part in (work.embedding, work.block, work.decoder)
    )
    return _stage_s(fleet, segments, work.control_stages, embedding, block, decoder)


def _stage_s(
    fleet: Fleet,
    segments: Segments,
    control_stages: int,
    embedding: Array,
    block: Array,
    decoder: Array,
) -> Array:
    """Seconds by stage, from the FLOPs (R,) of the embedding, of one block and of the decoder."""
    order, used = segments.order, segments.counts > 0
    speed = np.take_along_axis(fleet.flops_per_s, order, -1)
    fixed = np.take_along_axis(fleet.overhead_s, order, -1)
    devices = np.where(used, fixed + segments.counts * block[:, None] / speed, 0.0)
    control = control_stages * fleet.overhead_s[:, 0] + embedding / fleet.flops_per_s[:, 0]
    server = fleet.server.overhead_s + decoder / fleet.server.flops_per_s
    return np.concatenate([control[:, None], devices, server[:, None]], -1)
