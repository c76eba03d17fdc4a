"""Every node's joules in a round as the event graph has it, and by how much such figures are off.

The formulas are those of `prediction.energy`; here seconds are those of each transfer in
its turn. In a slot a node sends or receives for all of it, however little that is and whoever else
has a part of it; the base station's power alone is that of the whole band.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from collapipe_ns3.eventgraph.timeline import Timeline
from collapipe_ns3.nodes import SERVER
from collapipe_ns3.outcome import DeviceUse
from collapipe_ns3.prediction.directions import Pair, Places, place_of_link
from collapipe_ns3.prediction.fleet import Fleet
from collapipe_ns3.prediction.links import Links
from collapipe_ns3.prediction.radio_setting import RadioSetting
from collapipe_ns3.prediction.round_costs import Costs

#: A ratio is taken to be no more than this, either way: what is beyond was something else.
_MOST = 4.0


@dataclass(frozen=True, slots=True)
class NodeEnergy:
    """What one node takes in a round; `idle_j` what it would take that had no part in it."""

    compute_j: float
    tx_j: float
    rx_j: float
    idle_j: float

    @property
    def total_j(self) -> float:
        return self.compute_j + self.tx_j + self.rx_j

    def with_sounding(self, sounding_j: tuple[float, float]) -> NodeEnergy:
        """With what its radios had sent and received before the plan was made."""
        tx_j, rx_j = sounding_j
        idle_j = self.idle_j + tx_j + rx_j
        return NodeEnergy(self.compute_j, self.tx_j + tx_j, self.rx_j + rx_j, idle_j)


def energy_of_timeline(
    made: Timeline, places: Places, fleet: Fleet, radio: RadioSetting
) -> dict[str, NodeEnergy]:
    """By node, the base station's last."""
    account = _EnergySums(places, fleet, radio)
    account.take(made)
    return account.closed()


def energy_of_costs(found: Costs, places: Places) -> dict[str, NodeEnergy]:
    """By node, from the closed forms, which leave the base station out."""
    spent = found.spent
    parts = (spent.compute, spent.tx, spent.rx, spent.idle)
    return {node: NodeEnergy(*(float(part[at]) for part in parts)) for node, at in places.items()}


def radio_energy_ratios(
    before: Mapping[str, tuple[float, float]],
    predicted: Mapping[str, NodeEnergy],
    devices: Iterable[DeviceUse],
    sounding_j: Mapping[str, tuple[float, float]],
    weight: float,
) -> dict[str, tuple[float, float]]:
    """How many times as many joules nodes sent and received as the model has it.

    The ratios after a round that counts with `weight`, which was `predicted` with those `before`.
    """
    after = dict(before)
    for use in devices:
        if (expected := predicted.get(use.device)) is None:
            continue
        known = before.get(use.device, (1.0, 1.0))
        apart = sounding_j.get(use.device, (0.0, 0.0))
        measured = (use.tx_energy_j - apart[0], use.rx_energy_j - apart[1])
        first = 1.0 if use.device not in before else weight
        sent, received = (
            (1 - first) * ratio + first * _ratio(joules, made, ratio)
            for joules, made, ratio in zip(
                measured, (expected.tx_j, expected.rx_j), known, strict=True
            )
        )
        after[use.device] = (sent, received)
    return after


def _ratio(measured_j: float, predicted_j: float, known: float) -> float:
    """What the ratio would have had to be; as it was where nothing is known."""
    if not (measured_j > 0 and predicted_j > 0):
        return known
    return min(max(measured_j / predicted_j * known, 1 / _MOST), _MOST)


class _EnergySums:
    """Sums by node, of what its radios do and of its processor."""

    def __init__(self, places: Places, fleet: Fleet, radio: RadioSetting) -> None:
        self.places, self.fleet, self.radio = places, fleet, radio
        names = [*places, SERVER]
        self.busy_s = dict.fromkeys(names, 0.0)
        self.tx_j = dict.fromkeys(names, 0.0)
        self.rx_s = dict.fromkeys(names, 0.0)
        # Of media that are overheard: all that is sent, what a node sends, and what it has part in.
        self.on_air_s = dict.fromkeys(fleet.medium.tolist(), 0.0)
        self.sent_s = dict.fromkeys(names, 0.0)
        self.own_s = dict.fromkeys(names, 0.0)

    def take(self, made: Timeline) -> None:
        """All of a round's computations and transfers."""
        air_s: dict[Pair, float] = {}
        band_s: dict[Pair, float] = {}  # what would take all of the band
        graph, done = made.graph, made.execution
        for task, name in enumerate(made.names):
            if name is None:
                continue
            src, dst, _, _ = name
            hold_ns = graph.hold_ns[task]
            if not dst:
                self.busy_s[src] += hold_ns / 1e9
                continue
            pair = (src, dst)
            band_s[pair] = band_s.get(pair, 0.0) + hold_ns / 1e9
            if graph.lanes[task] is None:
                if self._links(pair)[0].at_once:
                    hold_ns = done.end_ns[task] - graph.latency_ns[task] - done.start_ns[task]
                air_s[pair] = air_s.get(pair, 0.0) + hold_ns / 1e9
        slotted: set[Pair] = set()
        for lanes, slot_ns in (part for band in done.bands for part in band.used()):
            heard: dict[str, float] = {}
            for lane in lanes:
                pair = (str(lane.src), str(lane.dst))
                slotted.add(pair)
                air_s[pair] = air_s.get(pair, 0.0) + slot_ns / 1e9
                heard[pair[1]] = slot_ns / 1e9 * self._duty(pair)
            for node, seconds in heard.items():  # once, from however many
                self.rx_s[node] += seconds
        for pair, seconds in air_s.items():
            duty = self._duty(pair)
            self._carried(pair, seconds * duty, band_s[pair] * duty, pair in slotted)

    def _carried(self, pair: Pair, air_s: float, band_s: float, slotted: bool) -> None:
        src, dst = pair
        links, at = self._links(pair)
        if src == SERVER:
            watts = self.fleet.server_power_w if slotted else self._power_w(pair)
            self.tx_j[src] += watts * band_s
        else:
            self.tx_j[src] += self._power_w(pair) * air_s
        if dst == SERVER:
            self.tx_j[dst] += self.fleet.server_power_w * links.replies * band_s
        else:
            self.tx_j[dst] += self._power_w((dst, src)) * links.replies * air_s
        if SERVER not in pair and self.fleet.overhears[self.places[dst]]:
            self.on_air_s[int(self.fleet.medium[at[0]])] += (1 + links.replies) * air_s
            for node, part in ((src, 1.0), (dst, links.replies)):
                self.sent_s[node] += part * air_s
                self.own_s[node] += (1 + links.replies) * air_s
            return
        self.rx_s[src] += links.replies * air_s
        if not slotted:
            self.rx_s[dst] += band_s if dst == SERVER else air_s

    def closed(self) -> dict[str, NodeEnergy]:
        fleet = self.fleet
        found: dict[str, NodeEnergy] = {}
        for node, at in self.places.items():
            on_air_s = self.on_air_s[int(fleet.medium[at[0]])] if fleet.overhears[at] else 0.0
            rx_w = float(fleet.rx_power_w[at])
            compute_j = float(fleet.active_power_w[at]) * self.busy_s[node]
            rx_j = rx_w * (self.rx_s[node] + on_air_s - self.sent_s[node])
            # The control unit's part can't be given to others; all that it may leave is its power.
            idle_j = compute_j + rx_j if at[1] == 0 else rx_w * (on_air_s - self.own_s[node])
            found[node] = NodeEnergy(
                compute_j, float(fleet.tx_ratio[at]) * self.tx_j[node], rx_j, idle_j
            )
        compute_j = fleet.server_active_power_w * self.busy_s[SERVER]
        rx_j = fleet.server_rx_power_w * self.rx_s[SERVER]
        tx_j = fleet.server_tx_ratio * self.tx_j[SERVER]
        found[SERVER] = NodeEnergy(compute_j, tx_j, rx_j, compute_j + rx_j)
        return found

    def _links(self, pair: Pair) -> tuple[Links, tuple[int, ...]]:
        """The links of a link's direction, and its place among them."""
        direction, at = place_of_link(self.places, *pair)
        return self.fleet.links[direction], at

    def _duty(self, pair: Pair) -> float:
        links, at = self._links(pair)
        return float(links.duty[at])

    def _power_w(self, pair: Pair) -> float:
        """What the sender of a link radiates, in watts."""
        direction, at = place_of_link(self.places, *pair)
        return float(self.radio[direction].power_w[at])
