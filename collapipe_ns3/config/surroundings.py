"""The sections of a study for the motion of nodes and for interferers."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict, WithJsonSchema

from collapipe_ns3.config.section import Count, Keys, Position, Section
from collapipe_ns3.quantity import BitsPerSecond, Dbm, Metres, Seconds, to_w
from ns3_scenarios import interferers, mobility
from ns3_scenarios.mobility import Point, RandomWaypoint, Trajectory
from ns3_scenarios.movement_files import TraceMapping

HEAD_HEIGHT_M = 1.5

_Pair = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1e7)], ...],
    Strict(False),
    Field(min_length=2, max_length=2),
]
_Corner = Annotated[tuple[float, ...], Strict(False), Field(min_length=3, max_length=4)]


def point(position: tuple[float, ...], height_m: float = HEAD_HEIGHT_M) -> Point:
    """A position with its height, or with this height if it has none."""
    east, north, *height = position
    return (east, north, height[0] if height else height_m)


class Motion(Section):
    """How a node moves over the run's simulated time, in all rounds.

    `random-waypoint`: it walks to a position drawn from a disc, pauses, and repeats. `way`: it
    moves along straight lines between corners, which it passes at given times.
    """

    shorthand = "kind"
    chooses = "kind"
    only: ClassVar[Keys] = {
        **dict.fromkeys(("radius_m", "speed_m_s", "pause_s", "centre_m"), ("random-waypoint",)),
        "corners": ("way",),
    }
    needs: ClassVar[Keys] = {"way": ("corners",)}

    kind: Literal["random-waypoint", "way"] = "random-waypoint"
    """How it moves."""
    radius_m: Metres | None = None
    """Of the disc; 20 m."""
    speed_m_s: _Pair | None = None
    """The lowest and the highest speed; 0.5 and 1.5 m/s."""
    pause_s: _Pair | None = None
    """The shortest and the longest pause; none."""
    centre_m: Position | None = None
    """Of the disc; the node's initial position if left out."""
    corners: Annotated[
        tuple[_Corner, ...] | None, Strict(False), Field(examples=[[[0.0, 0.0, 0.0]]])
    ] = None
    """Lists of time in seconds, east, north, and height if it is not the node's own."""

    def motion(self, height_m: float) -> mobility.Motion:
        """The scenario's motion of a node at this height."""
        if self.kind == "way":
            corners = self.corners or ()
            return Trajectory(
                tuple((time_s, *point(tuple(at), height_m)) for time_s, *at in corners)
            )
        given = self.given("speed_m_s", "pause_s")
        centre = (self.centre_m[0], self.centre_m[1]) if self.centre_m else None
        return RandomWaypoint(self.radius_m or 20.0, centre_m=centre, **given)


def _as_text(name: object) -> object:
    return str(name) if isinstance(name, int) and not isinstance(name, bool) else name


_FileNode = Annotated[
    str,
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
_Height = Annotated[Metres, Field(ge=0, le=1e6)]


class Mobility(Section):
    """A file of movements, in CSV (`time_s,node,x_m,y_m[,z_m]`) or in ns-2's format (`setdest`).

    Its path is relative to the study file; a file that isn't there may be a bundled study's. It is
    read with the study, whose resolved form has the nodes' motions instead of the file.
    """

    shorthand = "trace"

    trace: str | None = None
    """The name of the file."""
    nodes: dict[str, _FileNode] | None = None
    """The name in the file for each node of the study. If left out, a CSV file has the study's
    names, and `$node_(k)` of ns-2 is the k-th control unit or device, from 0, by clusters."""
    offset_m: Annotated[
        tuple[Annotated[Metres, Field(ge=-1e7, le=1e7)], ...],
        Strict(False),
        Field(min_length=2, max_length=2),
    ] = (0.0, 0.0)
    """Added to the file's positions, after scaling: east and north."""
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """The factor of the file's positions; heights are not scaled."""
    time_shift_s: Annotated[Seconds, Field(ge=-1e7, le=1e7)] = 0.0
    """Added to the file's times; with a negative one the run starts within the file."""
    height_m: _Height | None = None
    """Of all nodes in the file, instead of the file's heights."""
    heights_m: dict[str, _Height] = Field(default_factory=dict)
    """Of single nodes of the study, instead of the file's heights or `height_m`."""

    def mapping(self) -> TraceMapping:
        """The settings with which the file is read."""
        return TraceMapping(
            nodes=self.nodes,
            offset_m=(self.offset_m[0], self.offset_m[1]),
            scale=self.scale,
            time_shift_s=self.time_shift_s,
            height_m=self.height_m,
            heights_m=self.heights_m,
        )


class Interferer(Section):
    """A jammer, or background traffic: a pair of nodes that are not part of the study.

    A jammer's noise is flat over its band. Times are those of the run.
    """

    chooses = "kind"
    only: ClassVar[Keys] = {
        **dict.fromkeys(("position", "duty_cycle", "period_s", "motion"), ("jammer",)),
        **dict.fromkeys(("src", "dst", "rate_bps", "packet_bytes"), ("background",)),
    }
    needs: ClassVar[Keys] = {"jammer": ("position",), "background": ("src", "dst", "rate_bps")}

    kind: Annotated[Literal["jammer", "background"], Field(examples=["jammer"])]
    """What it is; each kind has keys of its own."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None = None
    """Its name; by default its kind and its number."""
    tx_power_dbm: Annotated[Dbm, Field(ge=-100, le=80, examples=[20.0])]
    """Its transmit power."""
    band: Literal["d2d", "uplink", "downlink"] = "d2d"
    """The band in which it sends."""
    channel: int | None = None
    """A Wi-Fi channel or an OFDMA sub-band; if left out, the default one, or all for a jammer."""
    on_s: Annotated[Seconds, Field(ge=0)] = 0.0
    """When it begins."""
    off_s: Annotated[Seconds, Field(gt=0)] | None = None
    """When it ends; by default never."""
    position: Annotated[Position | None, Field(examples=[[1e5, 1e5]])] = None
    """Of a jammer: east, north, and the height above ground, by default 1.5 m."""
    duty_cycle: float | None = None
    """The share of each period in which it is on; 1."""
    period_s: Seconds | None = None
    """The period of a jammer; 10 ms."""
    motion: Motion | None = None
    """Motion of a jammer; by default it stands still."""
    src: Annotated[Position | None, Field(examples=[[1e5, 1e5]])] = None
    """Position of the sender of background traffic."""
    dst: Annotated[Position | None, Field(examples=[[1e5, 1e5 + 9]])] = None
    """Position of the receiver of background traffic."""
    rate_bps: Annotated[BitsPerSecond | None, Field(gt=0, examples=[1e6])] = None
    """Rate of background traffic."""
    packet_bytes: Count | None = None
    """Payload of each datagram of background traffic; 1200 bytes."""

    def interferer(self, number: int) -> interferers.Interferer:
        """The scenario's interferer; the number is used for a name if none is given."""
        common: dict[str, Any] = {
            "name": self.name or f"{self.kind}{number}",
            "tx_power_w": to_w(self.tx_power_dbm),
            "band": self.band,
            "channel": self.channel,
            "on_s": self.on_s,
            "off_s": math.inf if self.off_s is None else self.off_s,
        }
        if self.kind == "background":
            return interferers.Background(
                src=point(self.src or (0.0, 0.0)),
                dst=point(self.dst or (0.0, 0.0)),
                **self.given("rate_bps", "packet_bytes"),
                **common,
            )
        place = point(self.position or (0.0, 0.0))
        motion = self.motion.motion(place[2]) if self.motion else None
        if isinstance(motion, Trajectory) and motion.corners:
            place = motion.initial_position()
        return interferers.Jammer(
            position=place, motion=motion, **self.given("duty_cycle", "period_s"), **common
        )
