"""Faults of a run as data: who is up, how much slower nodes compute, which links are out, and when.

All of these are exogenous: functions of the run's own time, in nanoseconds since the run began,
which do not depend on what the nodes do. Every scheme of a study with the same seed therefore meets
the same ones, and any round can be executed alone. What follows from work done (heat, charge) is
state of the run and not here.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from collapipe_ns3.nodes import SERVER

if TYPE_CHECKING:
    import numpy as np

#: A directed link: its sender and its receiver.
Pair = tuple[str, str]

#: What becomes of a transfer over a link that is out: it is continued when the link is back, or it
#: fails.
OnOutage = Literal["wait", "fail"]

#: The most changes that a computation can last through.
_MOST_CHANGES = 1_000_000

#: How many times are drawn at once.
_DRAWN = 64


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


@dataclass(slots=True)
class Alternating:
    """A signal that alternates between two values after times that are drawn at random.

    It is `first` for an exponential time of mean `mean_first_s`, then `other` for one of mean
    `mean_other_s`, and so on. Times are whole nanoseconds, and at least one. They are drawn from
    `random` in their order and as far as they are needed, so that the signal is a function of time
    alone. Nothing else may draw from `random`.
    """

    mean_first_s: float
    mean_other_s: float
    random: np.random.Generator
    first: float = 1.0
    other: float = 0.0
    _changes_ns: list[int] = field(default_factory=lambda: [0])  # the instants, the first of them 0

    def at(self, now_ns: int) -> float:
        self._draw_beyond(now_ns)
        past = bisect_right(self._changes_ns, now_ns)
        return self.other if past and past % 2 == 0 else self.first

    def next_change_ns(self, after_ns: int) -> int | None:
        self._draw_beyond(after_ns)
        return self._changes_ns[max(bisect_right(self._changes_ns, after_ns), 1)]

    def _draw_beyond(self, now_ns: int) -> None:
        """Draws changes until there are some after this instant."""
        means_ns = self.mean_first_s * 1e9, self.mean_other_s * 1e9
        while self._changes_ns[-1] <= now_ns:
            for n, each in enumerate(self.random.standard_exponential(_DRAWN)):
                lasting_ns = max(round(float(each) * means_ns[n % 2]), 1)
                self._changes_ns.append(self._changes_ns[-1] + lasting_ns)


@dataclass(frozen=True, slots=True)
class Product:
    """The product of signals: a node is up while all of several causes leave it up.

    A product that stays the same for a million changes of its factors counts as one that never
    changes.
    """

    factors: Sequence[Signal]

    def at(self, now_ns: int) -> float:
        return math.prod(each.at(now_ns) for each in self.factors)

    def next_change_ns(self, after_ns: int) -> int | None:
        now_ns, value = after_ns, self.at(after_ns)
        for _ in range(_MOST_CHANGES):
            changes = [each.next_change_ns(now_ns) for each in self.factors]
            zero = [n for n, each in enumerate(self.factors) if each.at(now_ns) == 0]
            if zero:  # The product stays 0 until the last of them changes.
                ends = [changes[n] for n in zero]
                if None in ends:
                    return None
                next_ns = max(each for each in ends if each is not None)
            elif (found := min((c for c in changes if c is not None), default=None)) is None:
                return None
            else:
                next_ns = found
            if self.at(next_ns) != value:
                return next_ns
            now_ns = next_ns
        return None


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

    def up_ns(self, node: str, begin_ns: int, end_ns: int) -> int:
        """For how long a node is there between two instants."""
        if node not in self.up:
            return end_ns - begin_ns
        signal, total_ns, now_ns = self.up[node], 0, begin_ns
        while now_ns < end_ns:
            change_ns = signal.next_change_ns(now_ns)
            until_ns = end_ns if change_ns is None else min(change_ns, end_ns)
            total_ns += (until_ns - now_ns) * (signal.at(now_ns) > 0)
            now_ns = until_ns
        return total_ns

    def away(self, now_ns: int) -> frozenset[str]:
        """The nodes that are away."""
        return frozenset(node for node in self.up if not self.is_up(node, now_ns))

    def away_within(self, begin_ns: int, end_ns: int) -> frozenset[str]:
        """The nodes that are away at any instant from `begin_ns` to `end_ns`, both included.

        Base stations are left out: while the radio is off, the edge server keeps what it has.
        """
        return frozenset(
            node
            for node, signal in self.up.items()
            if not node.startswith(SERVER) and _is_zero(signal, begin_ns, end_ns)
        )

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


def _is_zero(signal: Signal, begin_ns: int, end_ns: int) -> bool:
    """Whether a signal is 0 at any instant of an interval, its ends included."""
    at_ns: int | None = begin_ns
    while at_ns is not None and at_ns <= end_ns:
        if not signal.at(at_ns):
            return True
        at_ns = signal.next_change_ns(at_ns)
    return False


#: Every node is always there.
NO_FAULTS = Faults()
