"""The section of a study for faults: who leaves, who computes more slowly, which links are out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Strict

from collapipe_ns3.config.section import Section
from collapipe_ns3.faults import OnOutage
from collapipe_ns3.quantity import Seconds, Watts

#: The latest instant of the run's time that a study can name.
LATEST_S = 1e9
_Instant = Annotated[Seconds, Field(ge=0, le=LATEST_S)]
_Mean = Annotated[Seconds, Field(ge=1e-3, le=LATEST_S)]
_Factor = Annotated[float, Field(ge=1, le=1e6)]

#: A beginning and an end in seconds of the run's time; null: it never ends.
Span = Annotated[
    tuple[_Instant | None, ...],
    Strict(False),
    Field(min_length=2, max_length=2),
]
_Spans = Annotated[tuple[Span, ...], Strict(False), Field(max_length=100_000)]


class Slowdown(Section):
    """Times in which nodes compute more slowly: given ones, or random ones for every node."""

    factor: Annotated[_Factor, Field(examples=[2.0])]
    """By which computations take longer; overlapping slow-downs multiply."""
    from_s: _Instant | None = None
    """When it begins."""
    to_s: _Instant | None = None
    """When it ends; by default never."""
    mean_between_s: _Mean | None = None
    """Instead of `from_s`: mean time between two of them, exponentially distributed."""
    mean_lasting_s: _Mean | None = None
    """Mean duration of one of them, exponentially distributed."""


class Battery(Section):
    """A battery, which is emptied by all that the node takes; the node leaves when it is empty."""

    capacity_j: Annotated[float, Field(gt=0, le=1e12, examples=[1000.0])]
    """What it holds in joules; 1 Wh is 3600 J."""
    charge_j: Annotated[float, Field(ge=0, le=1e12)] | None = None
    """What it holds at the beginning of the run; by default all."""
    return_at: Annotated[float, Field(gt=0, le=1)] = 0.2
    """State of charge, as a share of the capacity, at which the node returns."""


class Charging(Section):
    """A time in which a battery is charged; overlapping ones add up."""

    power_w: Annotated[Watts, Field(gt=0, le=1e6, examples=[5.0])]
    """The power that reaches the battery."""
    from_s: _Instant = 0.0
    """When it begins."""
    to_s: _Instant | None = None
    """When it ends; by default never."""


class Thermal(Section):
    """How nodes warm and throttle, by dT/dt = (P·R - (T - T_ambient))/τ with their power P."""

    k_per_w: Annotated[float, Field(gt=0, le=1e4, examples=[6.0])]
    """R: kelvins above the surroundings for each watt, in the end."""
    tau_s: Annotated[Seconds, Field(ge=0.1, le=1e6, examples=[60.0])]
    """τ: the time constant."""
    ambient_c: Annotated[float, Field(ge=-100, le=200)] = 25.0
    """Temperature of the surroundings in °C, and of the node at the beginning of the run."""
    limit_c: Annotated[float, Field(ge=-100, le=1000)] = 80.0
    """Above this the node throttles,"""
    resume_c: Annotated[float, Field(ge=-100, le=1000)] = 70.0
    """until it is below this."""
    factor: _Factor = 2.0
    """By which computations take longer while it throttles."""


class NodeFaults(Section):
    """Faults of some nodes; random ones are drawn for each node separately.

    A node that several entries select has the faults of all of them.
    """

    nodes: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] | None = None
    """Names of nodes, such as `c0.d1`, `c0.cu` or `bs`; by default all devices."""
    profile: str | None = None
    """Only those of this profile."""
    cluster: Annotated[int, Field(ge=0)] | None = None
    """Only those of this cluster, by its number."""
    away_s: _Spans = ()
    """When they are away: lists of two times, the second of which may be null (for good). A node
    that is away neither computes, sends nor receives; of a base station only the radio is off."""
    mtbf_s: _Mean | None = None
    """Mean time between failures: how long they are there, exponentially distributed."""
    mttr_s: _Mean | None = None
    """Mean time to repair: how long they are then away, exponentially distributed."""
    slow: Annotated[tuple[Slowdown, ...], Strict(False), Field(max_length=100_000)] = ()
    """When they compute more slowly."""
    battery: Battery | None = None
    """Of each of them."""
    charging: Annotated[tuple[Charging, ...], Strict(False), Field(max_length=10_000)] = ()
    """When their batteries are charged."""
    thermal: Thermal | None = None
    """Heat of each of them."""


class LinkFaults(Section):
    """Outages of the link between two nodes."""

    src: Annotated[str, Field(examples=["c0.cu"])]
    """The sender: a node of a cluster, or `bs`."""
    dst: Annotated[str, Field(examples=["bs"])]
    """The receiver: a node of the same cluster, or `bs` for a control unit."""
    both: bool = True
    """Whether the other direction is out too."""
    out_s: _Spans = ()
    """When it is out: lists of two times, the second of which may be null (for good)."""
    mtbf_s: _Mean | None = None
    """Mean time between outages: how long it can be used, exponentially distributed."""
    mttr_s: _Mean | None = None
    """Mean duration of an outage, exponentially distributed."""


class Faults(Section):
    """Nodes that leave, slow down and come back, and outages of links; see docs/dynamics.md.

    They depend on the seed and the run's time alone, so that every scheme meets the same ones; only
    heat and charge follow from what nodes do.
    """

    nodes: Annotated[tuple[NodeFaults, ...], Strict(False), Field(max_length=10_000)] = ()
    """Faults of nodes."""
    links: Annotated[tuple[LinkFaults, ...], Strict(False), Field(max_length=10_000)] = ()
    """Outages of links."""
    file: str | None = None
    """A CSV file with further events. Its name is relative to the study file; it is read with the
    study, whose resolved form has the events instead of the file."""
    on_outage: OnOutage = "wait"
    """What becomes of transfers over a link that is out, or to and from a base station that is
    away: they `wait` and are continued after the outage, or they `fail`."""
    known: bool = False
    """Whether schemes are shown how often nodes leave, and for how long (MTBF and MTTR)."""
