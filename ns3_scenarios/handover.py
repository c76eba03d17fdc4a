"""Handover between base stations: its settings, the state of control units, and what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from ns3_scenarios.problem import Problem

#: Most dB of offset and hysteresis, and most seconds to trigger (3GPP TS 38.331, 6.3.2).
MOST_DB = 15.0
MOST_TIME_TO_TRIGGER_S = 5.12

_LIMITS = (
    ("offset_db", -MOST_DB, MOST_DB),
    ("hysteresis_db", 0.0, MOST_DB),
    ("time_to_trigger_s", 0.0, MOST_TIME_TO_TRIGGER_S),
    ("interruption_s", 0.0, 60.0),
    ("measured_every_s", 1e-3, 60.0),
)


@dataclass(frozen=True, slots=True)
class Handover:
    """Event A3 (3GPP TS 38.331, 5.5.4.4), and what follows.

    A control unit measures the reference signals of all base stations at the multiples of
    `measured_every_s` in the run's time. It changes to a station whose signal has been stronger
    than that of its own by more than `offset_db` + `hysteresis_db` at all measurements of
    `time_to_trigger_s`; of several to the strongest. Its radio to base stations is then silent for
    `interruption_s`. Its transfers in both directions go on after that, or are lost.
    """

    offset_db: float = 3.0
    hysteresis_db: float = 1.0
    time_to_trigger_s: float = 0.16
    interruption_s: float = 0.05
    in_flight: Literal["continue", "lost"] = "continue"
    measured_every_s: float = 0.04


@dataclass(frozen=True, slots=True)
class Attachment:
    """A control unit's cell, and how close it is to a change; times of the run.

    `since_ns` has the first of the measurements at which each other station has fulfilled event
    A3's entry condition without a break, `next_ns` is the time of the next measurement, and
    `resumes_ns` the end of its latest interruption.
    """

    station: str
    since_ns: Mapping[str, int] = field(default_factory=dict)
    next_ns: int = 0
    resumes_ns: int = 0


@dataclass(frozen=True, slots=True)
class CellChange:
    """A handover of a control unit; `at_ns` is since the episode began."""

    node: str
    source: str
    target: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class Cells:
    """The present cells of the control units of a network with handover, and all changes so far."""

    attachments: Mapping[str, Attachment] = field(default_factory=dict)
    changes: tuple[CellChange, ...] = ()


@runtime_checkable
class Handing(Protocol):
    """A network whose control units may change their base station."""

    def cells(self) -> Cells:
        """Its cells; none without handover."""
        ...


def handover_problems(handover: Handover) -> Iterator[Problem]:
    """Values that are out of range."""
    for name, least, most in _LIMITS:
        value = getattr(handover, name)
        if not least <= value <= most:
            yield f"handover.{name}", f"expected {least:g} to {most:g}, not {value}"
    if handover.in_flight not in ("continue", "lost"):
        yield "handover.in_flight", f"expected continue or lost, not {handover.in_flight!r}"
