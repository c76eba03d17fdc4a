"""The phases of a round, and how long each takes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """The phases of a round, in their order.

    Links are sounded, and the plan is made. Then each pipeline receives the global model
    (broadcast), does its local steps (pipeline), collects the parameters of its stages at the
    control unit (gather) and sends them to the base station (upload), which averages all models
    (aggregate).
    """

    SOUNDING = "sounding"
    BROADCAST = "broadcast"
    PIPELINE = "pipeline"
    GATHER = "gather"
    UPLOAD = "upload"
    AGGREGATE = "aggregate"


#: The phases that every pipeline goes through on its own.
PIPELINE_PHASES = (Phase.BROADCAST, Phase.PIPELINE, Phase.GATHER, Phase.UPLOAD)

#: The phases whose time depends on the plan: all but sounding, which comes before it.
PLANNED_PHASES = (*PIPELINE_PHASES, Phase.AGGREGATE)


def durations_ns(start_ns: int, ends_ns: Mapping[Phase, int]) -> dict[Phase, int]:
    """How long each of several consecutive phases took.

    `ends_ns` has the instants at which they ended, in order; the first one began at `start_ns`.
    """
    starts_ns = [start_ns, *ends_ns.values()]
    return {
        phase: end_ns - begin_ns
        for begin_ns, (phase, end_ns) in zip(starts_ns, ends_ns.items(), strict=False)
    }
