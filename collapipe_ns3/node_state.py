"""Heat and charge of a node, which follow from the work that it does: pure state transitions.

Heat is a first-order model with the power P that the node takes:

  dT/dt = (P·R - (T - T_ambient)) / τ,  so that  T(t) = T_end + (T(0) - T_end)·exp(-t/τ)

with T_end = T_ambient + P·R for a constant P (a lumped RC network: Skadron et al.,
Temperature-aware microarchitecture, ACM TACO 1(1), 2004). Above a limit the node computes more
slowly until it has cooled down to a lower one.

A battery loses what the node takes and gains what charges it, within 0 and its capacity. The node
goes when it is empty, and returns at a given state of charge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from collapipe_ns3.faults import Signal


@dataclass(frozen=True, slots=True)
class Cooling:
    """How a node warms and cools, and when it throttles.

    `k_per_w` is how many kelvins it warms in the end for each watt, and `tau_s` the time constant.
    Above `limit_c` its computations take `factor` times as long, until it is below `resume_c`.
    """

    ambient_c: float
    k_per_w: float
    tau_s: float
    limit_c: float
    resume_c: float
    factor: float

    def end_c(self, power_w: float) -> float:
        """The temperature that a constant power leads to."""
        return self.ambient_c + power_w * self.k_per_w

    def after(self, temperature_c: float, power_w: float, seconds: float) -> float:
        """The temperature after a time with a constant power."""
        end_c = self.end_c(power_w)
        return end_c + (temperature_c - end_c) * math.exp(-seconds / self.tau_s)

    def reaches_s(self, temperature_c: float, power_w: float, target_c: float) -> float:
        """After how long a constant power leads from one temperature to another; infinity: never.

        The time is τ·ln((T(0) - T_end) / (T - T_end)).
        """
        end_c = self.end_c(power_w)
        if target_c == temperature_c:
            return 0.0
        if end_c == target_c or (temperature_c - end_c) / (target_c - end_c) < 1:
            return math.inf
        return self.tau_s * math.log((temperature_c - end_c) / (target_c - end_c))


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery of `capacity_j`, which is empty at 0; the node returns at `return_j`."""

    capacity_j: float
    return_j: float

    def after(
        self, charge_j: float, used_j: float, charging: Signal | None, begin_ns: int, end_ns: int
    ) -> float:
        """The charge after a time in which the node took `used_j` at a constant power.

        `charging` is the power in watts that charges it, a function of the run's time.
        """
        if end_ns <= begin_ns:
            return charge_j
        power_w = used_j / ((end_ns - begin_ns) / 1e9)
        for from_ns, to_ns, charging_w in _parts(charging, begin_ns, end_ns):
            charge_j += (charging_w - power_w) * (to_ns - from_ns) / 1e9
            charge_j = min(max(charge_j, 0.0), self.capacity_j)
        return charge_j

    def returns_ns(self, charge_j: float, charging: Signal | None, after_ns: int) -> int | None:
        """When a battery of a node that takes nothing reaches the charge to return with.

        None if it never does.
        """
        now_ns = after_ns
        while charge_j < self.return_j:
            charging_w = charging.at(now_ns) if charging is not None else 0.0
            change_ns = charging.next_change_ns(now_ns) if charging is not None else None
            needed_s = (self.return_j - charge_j) / charging_w if charging_w > 0 else math.inf
            if change_ns is None and needed_s == math.inf:
                return None
            if change_ns is None or needed_s * 1e9 <= change_ns - now_ns:
                return now_ns + math.ceil(needed_s * 1e9)
            charge_j += charging_w * (change_ns - now_ns) / 1e9
            now_ns = change_ns
        return now_ns


@dataclass(frozen=True, slots=True)
class NodeModel:
    """What of a node depends on its work: its heat, its charge, or both.

    `first_charge_j` is the charge at the beginning of the run.
    """

    cooling: Cooling | None = None
    battery: Battery | None = None
    first_charge_j: float = math.nan

    def first(self) -> NodeState:
        """The state at the beginning of the run: as warm as its surroundings."""
        ambient_c = math.nan if self.cooling is None else self.cooling.ambient_c
        state = NodeState(ambient_c, charge_j=self.first_charge_j)
        return replace(state, empty=self.battery is not None and state.charge_j <= 0)


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node's temperature and charge, nan where it has no model of them.

    `throttled`: it computes more slowly as it was too hot and has not cooled down yet. `empty`: it
    is away as its battery was empty and has not been charged enough yet.
    """

    temperature_c: float = math.nan
    throttled: bool = False
    charge_j: float = math.nan
    empty: bool = False

    def after(
        self,
        model: NodeModel,
        used_j: float,
        charging: Signal | None,
        begin_ns: int,
        end_ns: int,
    ) -> NodeState:
        """The state after a time in which the node took `used_j`, at a constant power."""
        if end_ns <= begin_ns:
            return self
        state, seconds = self, (end_ns - begin_ns) / 1e9
        if (cooling := model.cooling) is not None:
            now_c = cooling.after(self.temperature_c, used_j / seconds, seconds)
            limit_c = cooling.resume_c if self.throttled else cooling.limit_c
            state = replace(state, temperature_c=now_c, throttled=now_c > limit_c)
        if (battery := model.battery) is not None:
            charge_j = battery.after(self.charge_j, used_j, charging, begin_ns, end_ns)
            least_j = battery.return_j if self.empty else 0.0
            is_empty = charge_j < least_j if self.empty else charge_j <= least_j
            state = replace(state, charge_j=charge_j, empty=is_empty)
        return state


def _parts(signal: Signal | None, begin_ns: int, end_ns: int) -> Iterator[tuple[int, int, float]]:
    """An interval in parts in which a signal is constant, each with its value; 0 without one."""
    now_ns = begin_ns
    while now_ns < end_ns:
        change_ns = None if signal is None else signal.next_change_ns(now_ns)
        until_ns = end_ns if change_ns is None else min(change_ns, end_ns)
        yield now_ns, until_ns, 0.0 if signal is None else signal.at(now_ns)
        now_ns = until_ns
