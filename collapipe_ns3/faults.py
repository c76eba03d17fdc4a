"""Faults of a run as data: who is up, how much slower nodes compute, which links are out, and when.

All of these are exogenous: functions of the run's own time, in nanoseconds since the run began,
which do not depend on what the nodes do. Every scheme of a study with the same seed therefore meets
the same ones, and any round can be executed alone. What follows from work done (heat, charge) is
state of the run and not here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from collapipe_ns3.nodes import SERVER

#: A directed link: its sender and its receiver.
Pair = tuple[str, str]

#: What becomes of a transfer over a link that is out: it is continued when the link is back, or it
#: fails.
OnOutage = Literal["wait", "fail"]

#: The most changes that a computation can last through.
_MOST_CHANGES = 1_000_000


class Signal(Protocol):
    """A piecewise constant function of the run's time in nanoseconds."""

    def at(self, now_ns: int) -> float:
        """The value at an instant; a change holds from its own instant on."""
        ...

    def next_change_ns(self, after_ns: int) -> int | None:
        """The first instant after this one at which the value changes; None if it never does."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """A signal with given changes: `values[i]` holds from `times_ns[i]` on, `first` before all.

    The instants increase.
    """

    first: float
    times_ns: Sequence[int] = ()
    values: Sequence[float] = ()

    def at(self, now_ns: int) -> float:
        index = bisect_right(self.times_ns, now_ns)
        return self.values[index - 1] if index else self.first

    def next_change_ns(self, after_ns: int) -> int | None:
        index = bisect_right(self.times_ns, after_ns)
        return self.times_ns[index] if index < len(self.times_ns) else None


@dataclass(frozen=True, slots=True)
class Faults:
    """The exogenous faults of a run, and what becomes of transfers in an outage.

    - `up`: 1 while a node is there, 0 while it is away. A base station that is away neither sends
      nor receives; its edge server computes on.
    - `slowness`: the factor, at least 1, by which a node's computations take longer.
    - `links`: 1 while a directed link can be used, 0 while it is out.
    - `charging_w`: the power that charges a node's battery, in watts.
    - `hazards`: how often a node is expected to leave, per second of the time in which it is there,
      and `repair_s` how long it is then expected to be away, in seconds, where the study says that
      this is known.

    A node or a link that is missing is always up, never slower, and never charged.
    """

    up: Mapping[str, Signal] = field(default_factory=dict)
    slowness: Mapping[str, Signal] = field(default_factory=dict)
    links: Mapping[Pair, Signal] = field(default_factory=dict)
    charging_w: Mapping[str, Signal] = field(default_factory=dict)
    hazards: Mapping[str, float] = field(default_factory=dict)
    repair_s: Mapping[str, float] = field(default_factory=dict)
    on_outage: OnOutage = "wait"

    def __bool__(self) -> bool:
        return bool(self.up or self.slowness or self.links or self.charging_w)

    def is_up(self, node: str, now_ns: int) -> bool:
        """Whether a node is there."""
        return node not in self.up or self.up[node].at(now_ns) > 0

    def away(self, now_ns: int) -> frozenset[str]:
        """The nodes that are away."""
        return frozenset(node for node in self.up if not self.is_up(node, now_ns))

    def is_usable(self, src: str, dst: str, now_ns: int) -> bool:
        """Whether bytes can pass over a link: it is not out, and no base station of it is away."""
        if (src, dst) in self.links and not self.links[src, dst].at(now_ns):
            return False
        return all(self.is_up(end, now_ns) for end in (src, dst) if end.startswith(SERVER))

    def next_change_ns(self, after_ns: int, signals: Iterable[Signal] | None = None) -> int | None:
        """The first instant after this one at which anything changes; None if nothing ever does.

        `signals` restricts it to some of them.
        """
        every = (*self.up.values(), *self.slowness.values(), *self.links.values())
        found = (
            signal.next_change_ns(after_ns) for signal in (every if signals is None else signals)
        )
        return min((each for each in found if each is not None), default=None)

    def end_ns(self, node: str, start_ns: int, lasting_ns: int) -> int:
        """When a computation of a node ends that takes `lasting_ns` without any slow-down.

        With the slowness s(t), it ends when the integral of dt/s(t) has reached `lasting_ns`.
        """
        signal = self.slowness.get(node)
        if signal is None:
            return start_ns + lasting_ns
        now_ns, left_ns = start_ns, float(lasting_ns)
        for _ in range(_MOST_CHANGES):
            factor, change_ns = signal.at(now_ns), signal.next_change_ns(now_ns)
            if change_ns is None or now_ns + left_ns * factor <= change_ns:
                return round(now_ns + left_ns * factor)
            left_ns -= (change_ns - now_ns) / factor
            now_ns = change_ns
        raise ValueError(f"{node}: more than {_MOST_CHANGES} slow-downs in one computation")


#: Every node is always there.
NO_FAULTS = Faults()
